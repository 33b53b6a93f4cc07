import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pointsOf, rangeOf, topOf } from '../../public/ui/graph.js';

const frame = { width: 61, height: 11, slots: 61, top: 10 };

test('the newest reading is at the right edge, the oldest a minute to the left', () => {
  assert.deepEqual(pointsOf([0], frame), [[{ x: 60.5, y: 10.5 }]]);
  const [piece] = pointsOf(Array(80).fill(10), frame);
  assert.equal(piece.length, 61);
  assert.deepEqual([piece[0], piece.at(-1)], [{ x: 0.5, y: 0.5 }, { x: 60.5, y: 0.5 }]);
});

test('what is beyond the scale stays inside the frame', () => {
  const [piece] = pointsOf([-5, 50], frame);
  assert.deepEqual(piece.map(({ y }) => y), [10.5, 0.5]);
});

test('where nothing was measured the line is parted', () => {
  assert.deepEqual(pointsOf([1, null, 2, 3, NaN], frame).map((piece) => piece.length), [1, 2]);
  assert.deepEqual(pointsOf([], frame), []);
});

test('the scale grows in steps of 1, 2 and 5 and never falls below the least', () => {
  assert.equal(topOf([], 30), 30);
  assert.equal(topOf([null, 12], 30), 30);
  assert.deepEqual([101, 201, 1000, 5100].map((value) => topOf([value], 100)), [200, 500, 1000, 10_000]);
  assert.ok(Math.abs(topOf([0.06], 0.05) - 0.1) < 1e-9);
});

test('the range is of what was measured', () => {
  assert.deepEqual(rangeOf([null, 3, 1]), { low: 1, high: 3 });
  assert.equal(rangeOf([null]), null);
});
