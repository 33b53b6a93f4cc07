import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeSeat } from '../../public/seat.js';
import { settle } from './stage.js';

class Storage {
  constructor(items = new Map()) { this.items = items; }
  getItem(key) { return this.items.get(key) ?? null; }
  setItem(key, value) { this.items.set(key, value); }
  removeItem(key) { this.items.delete(key); }
  copy() { return new Storage(new Map(this.items)); }
}

/** One browser's locks, shared by its tabs. */
function makeLocks() {
  const held = new Set();
  return {
    held,
    async request(name, _options, body) {
      if (held.has(name)) return body(null);
      held.add(name);
      return Promise.resolve(body({ name })).finally(() => held.delete(name));
    },
  };
}

const tabOf = (storage, locks, tab) => makeSeat({ storage, locks, tab, pause: async () => {} });

test('a reload takes the token back', async () => {
  const storage = new Storage();
  tabOf(storage, makeLocks(), 'one').keep('den', 't1');
  assert.equal(await tabOf(storage, makeLocks(), 'two').take('den'), 't1');
});

test('a duplicated tab does not use the token it was given with the rest', async () => {
  const locks = makeLocks();
  const storage = new Storage();
  tabOf(storage, locks, 'one').keep('den', 't1');
  await settle();
  const copy = tabOf(storage.copy(), locks, 'two');
  assert.equal(await copy.take('den'), undefined);
  assert.equal(await copy.take('den'), undefined);
});

test('the same tab comes back with the newest token, as often as it must', async () => {
  const seat = tabOf(new Storage(), makeLocks(), 'one');
  seat.keep('den', 't1');
  seat.keep('den', 't2');
  assert.equal(await seat.take('den'), 't2');
  assert.equal(await seat.take('den'), 't2');
});

test('a reload that comes before the old page is quite gone waits for it', async () => {
  const locks = makeLocks();
  locks.held.add('webrtc-box.one');
  let waits = 0;
  const storage = new Storage();
  makeSeat({ storage, locks: makeLocks(), tab: 'one', pause: async () => {} }).keep('den', 't1');
  const seat = makeSeat({ storage, locks, tab: 'two', pause: async () => { if ((waits += 1) === 3) locks.held.clear(); } });
  assert.equal(await seat.take('den'), 't1');
});

test('a seat given up is forgotten and free', async () => {
  const locks = makeLocks();
  const seat = tabOf(new Storage(), locks, 'one');
  seat.keep('den', 't1');
  await settle();
  seat.forget('den');
  await settle();
  assert.equal(await seat.take('den'), undefined);
  assert.equal(locks.held.size, 0);
});

test('rooms do not share tokens', async () => {
  const seat = tabOf(new Storage(), makeLocks(), 'one');
  seat.keep('den', 't1');
  assert.equal(await seat.take('attic'), undefined);
});
