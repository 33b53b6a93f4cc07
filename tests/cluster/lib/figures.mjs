// Figures of many samples, and ratios of two figures of the same run.

import assert from 'node:assert/strict';

/** The sample below which this share of all lies. */
export const percentile = (samples, share) => samples.toSorted((a, b) => a - b)[Math.min(samples.length - 1, Math.floor(samples.length * share))];

/** A measurement of a few milliseconds varies by as much. */
const NOISE_MS = 5;

/** Prints `ms` as a ratio to the baseline of the same run; fails beyond three times the goal. */
export function reportRatio(name, ms, baselineMs, goal) {
  console.log(`measurement: ${name}: ${ms.toFixed(1)} ms, ${(ms / baselineMs).toFixed(2)} times the ${baselineMs.toFixed(1)} ms of before (goal ${goal})`);
  assert.ok(ms <= 3 * goal * baselineMs + NOISE_MS, `${name}: ${ms.toFixed(1)} ms, more than ${3 * goal} times ${baselineMs.toFixed(1)} ms`);
}
