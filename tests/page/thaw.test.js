import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeThaw } from '../../public/thaw.js';

/** Readings as pairs of frames decoded and shown so far; gives how often the element began again. */
function told(...readings) {
  let [count, shown] = [0, 0];
  const thaw = makeThaw({ shown: () => shown, anew: () => { count += 1; } });
  for (const [decoded, seen] of readings) {
    shown = seen;
    thaw(decoded);
    // Whatever else changes in the page has it drawn again, with the same reading.
    thaw(decoded);
  }
  return count;
}

test('a picture that is decoded for three readings and not shown is put in anew', () => {
  assert.equal(told([30, 30], [60, 30], [90, 30]), 0);
  assert.equal(told([30, 30], [60, 30], [90, 30], [120, 30]), 1);
  assert.equal(told([30, 30], [60, 30], [90, 31], [120, 31]), 0);
});

test('a picture that stands still because little comes is left alone, and so is one that nobody counts', () => {
  assert.equal(told([30, 30], [31, 30], [32, 30], [33, 30], [34, 30]), 0);
  assert.equal(told([30, 0], [60, 0], [90, 0], [120, 0]), 0);
  // Another connection counts from nothing again.
  assert.equal(told([90, 90], [120, 90], [150, 90], [10, 90], [40, 100]), 0);
});
