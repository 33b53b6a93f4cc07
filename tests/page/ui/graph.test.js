import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pointsOf, rangeOf, topOf } from '../../../public/ui/graph.js';

const frame = { width: 61, height: 11, slots: 61, top: 10 };

test('the newest value is at the right edge, the oldest a minute to the left', () => {
  assert.deepEqual(pointsOf([0], frame), [[{ x: 60.5, y: 10.5 }]]);
  const [line] = pointsOf(Array(80).fill(10), frame);
  assert.equal(line.length, 61);
  assert.deepEqual([line[0], line.at(-1)], [{ x: 0.5, y: 0.5 }, { x: 60.5, y: 0.5 }]);
});

test('a value outside the scale stays inside the frame', () => {
  const [line] = pointsOf([-5, 50], frame);
  assert.deepEqual(line.map(({ y }) => y), [10.5, 0.5]);
});

test('the line has a gap where nothing was measured', () => {
  assert.deepEqual(pointsOf([1, null, 2, 3, NaN], frame).map((line) => line.length), [1, 2]);
  assert.deepEqual(pointsOf([], frame), []);
});

test('the scale grows in steps of 1, 2 and 5 from its minimum', () => {
  assert.equal(topOf([], 30), 30);
  assert.equal(topOf([null, 12], 30), 30);
  assert.deepEqual([101, 201, 1000, 5100].map((value) => topOf([value], 100)), [200, 500, 1000, 10_000]);
  assert.ok(Math.abs(topOf([0.06], 0.05) - 0.1) < 1e-9);
});

test('the range ignores what was not measured', () => {
  assert.deepEqual(rangeOf([null, 3, 1]), { low: 1, high: 3 });
  assert.equal(rangeOf([null]), null);
});
