import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeWakeLock } from '../../../public/lib/wake-lock.js';
import { settle } from '../harness/fakes.js';

/** A browser's wake locks; `held` are the active ones. */
function makeHarness() {
  const held = new Set();
  const requests = [];
  const api = {
    request: () => new Promise((grant, refuse) => {
      const lock = { get released() { return !held.has(lock); }, async release() { held.delete(lock); } };
      requests.push({ refuse, grant() { held.add(lock); grant(lock); } });
    }),
  };
  return { held, requests, wakeLock: makeWakeLock(api) };
}

test('the lock is held during the call and released after it', async () => {
  const { held, requests, wakeLock } = makeHarness();
  wakeLock.set(true);
  requests[0].grant();
  await settle();
  assert.equal(held.size, 1);
  wakeLock.set(false);
  assert.equal(held.size, 0);
});

test('a call that ends during the request holds no lock', async () => {
  const { held, requests, wakeLock } = makeHarness();
  wakeLock.set(true);
  wakeLock.set(false);
  requests[0].grant();
  await settle();
  assert.equal(held.size, 0);
});

test('a page that is visible again requests the lock again, once', async () => {
  const { held, requests, wakeLock } = makeHarness();
  wakeLock.set(true);
  wakeLock.set(true);
  requests[0].grant();
  await settle();
  held.clear();
  wakeLock.set(true);
  requests[1].grant();
  await settle();
  wakeLock.set(true);
  assert.deepEqual([held.size, requests.length], [1, 2]);
});

test('a refused or missing wake lock causes no error', async () => {
  const { requests, wakeLock } = makeHarness();
  wakeLock.set(true);
  requests[0].refuse(new Error('battery'));
  await settle();
  wakeLock.set(false);
  makeWakeLock(undefined).set(true);
  await settle();
});
