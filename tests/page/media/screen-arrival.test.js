import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeScreenArrival } from '../../../public/media/screen-arrival.js';

const CAMERA = { screen: false, weak: false };
const SCREEN = { screen: true, weak: false };
const WAITS = { screen: false, weak: true };
const TRIED = { screen: true, weak: true };

/** For each pair of remote state and decoded frames: whether the screen has not arrived yet. */
const sent = (...readings) => {
  const arrival = makeScreenArrival();
  return readings.map(([theirs, decoded]) => arrival(theirs, decoded));
};

test('a screen announced during a pause arrives with its first frame', () => {
  assert.deepEqual(sent([CAMERA, 90], [WAITS, 90], [TRIED, 90], [TRIED, 90], [TRIED, 91], [TRIED, 91]), [false, false, true, true, false, false]);
  // The network recovers before the first frame.
  assert.deepEqual(sent([WAITS, 90], [TRIED, 90], [SCREEN, 90], [SCREEN, 95]), [false, true, true, false]);
});

test('on a good network a screen arrives at once and stays during a pause', () => {
  assert.deepEqual(sent([CAMERA, 90], [SCREEN, 90], [SCREEN, 120], [TRIED, 120], [TRIED, 120]), [false, false, false, false, false]);
});

test('a screen that ends before it arrived is dropped, and the next awaited', () => {
  assert.deepEqual(sent([TRIED, 90], [CAMERA, 90], [TRIED, 120], [TRIED, 121]), [true, false, true, false]);
});

test('a restarted frame counter delays at most one frame, no counter none', () => {
  assert.deepEqual(sent([TRIED, 90], [TRIED, 1], [TRIED, 2]), [true, true, false]);
  assert.deepEqual(sent([TRIED, 90], [TRIED, 0], [TRIED, 90], [TRIED, 91]), [true, true, true, false]);
});
