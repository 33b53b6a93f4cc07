import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeAwake } from '../../public/lib/wake-lock.js';
import { settle } from './stage.js';

/** A browser's wake locks; `held` are those that keep the screen lit. */
function stageOf() {
  const held = new Set();
  const asked = [];
  const wakeLock = {
    request: () => new Promise((grant, refuse) => {
      const lock = { get released() { return !held.has(lock); }, async release() { held.delete(lock); } };
      asked.push({ refuse, grant() { held.add(lock); grant(lock); } });
    }),
  };
  return { held, asked, awake: makeAwake({ wakeLock }) };
}

test('the screen is lit during the call and not after it, however it ends', async () => {
  const { held, asked, awake } = stageOf();
  awake.lit(true);
  asked[0].grant();
  await settle();
  assert.equal(held.size, 1);
  awake.lit(false);
  assert.equal(held.size, 0);
});

test('a call that is over before the browser has lit the screen leaves it dark', async () => {
  const { held, asked, awake } = stageOf();
  awake.lit(true);
  awake.lit(false);
  asked[0].grant();
  await settle();
  assert.equal(held.size, 0);
});

test('a page that is seen again lights the screen again, once', async () => {
  const { held, asked, awake } = stageOf();
  awake.lit(true);
  awake.lit(true);
  asked[0].grant();
  await settle();
  held.clear();
  awake.lit(true);
  asked[1].grant();
  await settle();
  awake.lit(true);
  assert.deepEqual([held.size, asked.length], [1, 2]);
});

test('a browser that refuses, or has no such thing, is no trouble', async () => {
  const { asked, awake } = stageOf();
  awake.lit(true);
  asked[0].refuse(new Error('battery'));
  await settle();
  awake.lit(false);
  makeAwake({ wakeLock: undefined }).lit(true);
  await settle();
});
