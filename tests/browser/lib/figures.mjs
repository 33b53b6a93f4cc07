// Figures: what a scene measured beside what it should be. Printed every time; the machines are noisy, so only
// three times the goal fails.

import assert from 'node:assert/strict';

/** Prints what was measured, in milliseconds, and fails beyond three times the goal. */
export function figure(what, measured, goal) {
  console.log(`figure: ${what}: ${Math.round(measured)} ms (goal ${Math.round(goal)} ms)`);
  assert.ok(measured <= 3 * goal, `${what} took ${Math.round(measured)} ms, more than three times ${Math.round(goal)} ms`);
}
