import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeStore } from '../../../public/lib/storage.js';

const refuse = () => { throw new DOMException('The operation is insecure.', 'SecurityError'); };

test('without browser storage the page keeps values in memory', () => {
  const store = makeStore(refuse);
  assert.equal(store.getItem('a'), null);
  store.setItem('a', '1');
  assert.equal(store.getItem('a'), '1');
  assert.deepEqual(store.keys(), ['a']);
  store.removeItem('a');
  assert.equal(store.getItem('a'), null);
});

test('a value that no longer fits is kept in memory, and the newest wins', () => {
  let full = true;
  const stored = { a: 'old' };
  const real = {
    getItem: (key) => stored[key] ?? null, removeItem: (key) => { delete stored[key]; },
    setItem(key, value) {
      if (full) refuse();
      stored[key] = value;
    },
  };
  const store = makeStore(() => Object.setPrototypeOf(stored, real));
  store.setItem('a', 'new');
  assert.equal(store.getItem('a'), 'new');
  full = false;
  store.setItem('a', 'newest');
  assert.equal(stored.a, 'newest');
  stored.a = 'of another tab';
  assert.equal(store.getItem('a'), 'of another tab', 'a value of another tab is not hidden');
  assert.deepEqual(store.keys(), ['a']);
});
