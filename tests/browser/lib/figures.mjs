// Figures: what a scene measured beside what it should be. Printed every time; the machines are noisy, so only
// three times the goal fails.

import assert from 'node:assert/strict';
import { until } from './work.mjs';

const UNDISTURBED_MS = 2000;
/** Gaps that other work on the machine makes at any moment; no goal is below it. */
const BUSY_MACHINE_MS = 200;

/** Prints what was measured, in milliseconds, and fails beyond three times the goal. */
export function figure(what, measured, goal) {
  console.log(`figure: ${what}: ${Math.round(measured)} ms (goal ${Math.round(goal)} ms)`);
  assert.ok(measured <= 3 * goal, `${what} took ${Math.round(measured)} ms, more than three times ${Math.round(goal)} ms`);
}

/** How long two frames are apart at most while nothing happens, at each of them; from here on they are timed anew. */
export async function undisturbed(seats) {
  await Promise.all(seats.map((seat) => seat.timeFrames()));
  await new Promise((done) => { setTimeout(done, UNDISTURBED_MS); });
  const gaps = await Promise.all(seats.map(async (seat) => (await seat.frameTimes()).longest));
  await Promise.all(seats.map((seat) => seat.timeFrames()));
  return gaps;
}

/** Prints the longest gap at each since frames were timed anew; the goal is twice the undisturbed one. */
export async function gapsAgainst(what, seats, calm) {
  for (const [which, seat] of seats.entries()) {
    const where = `${which ? 'the other' : 'the one'} (undisturbed ${Math.round(calm[which])} ms)`;
    const goal = Math.max(2 * calm[which], BUSY_MACHINE_MS);
    figure(`${what}, longest gap between frames at ${where}`, (await seat.frameTimes()).longest, goal);
  }
}

/** Waits until ten frames more have been decoded, on this connection or the next. */
export async function framesAgain(seat) {
  let from = null;
  await until('frames to come again', async () => {
    const { frames } = await seat.stats();
    if (from === null || frames < from) from = frames;
    return frames >= from + 10;
  }, 60_000);
}
