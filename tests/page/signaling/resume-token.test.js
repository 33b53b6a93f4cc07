import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isReloadOrBack, ResumeTokens } from '../../../public/signaling/resume-token.js';
import { settle } from '../harness/fakes.js';

class Storage {
  constructor(items = new Map()) { this.items = items; }
  getItem(key) { return this.items.get(key) ?? null; }
  setItem(key, value) { this.items.set(key, value); }
  removeItem(key) { this.items.delete(key); }
  keys() { return [...this.items.keys()]; }
  copy() { return new Storage(new Map(this.items)); }
}

/** One browser's locks, shared by its tabs. */
function makeLocks() {
  const held = new Set();
  return {
    held,
    async request(name, { mode }, body) {
      if (held.has(name)) return body(null);
      // A shared lock is only looked at: it is released at once.
      if (mode === 'shared') return body({ name });
      held.add(name);
      return Promise.resolve(body({ name })).finally(() => held.delete(name));
    },
  };
}

const HOUR = 3600_000;
const pause = async () => {};

/** The tokens of a tab, with its own storage unless one is given. */
const tabOf = (storage, locks, tab, { shared = new Storage(), today = () => 0, ...rest } = {}) =>
  new ResumeTokens({ storage, shared, locks, tab, pause, today, ...rest });
const tokenOf = async (seat, room = 'den') => (await seat.take(room))?.token;

test('a reload resumes with the saved token', async () => {
  const storage = new Storage();
  tabOf(storage, makeLocks(), 'one').save('den', 't1');
  const page = tabOf(storage, makeLocks(), 'two');
  assert.equal(await page.wasInterrupted('den'), true);
  assert.equal(await tokenOf(page), 't1');
});

test('a reload gets the host key back, and no other tab does', async () => {
  const [storage, shared] = [new Storage(), new Storage()];
  tabOf(storage, makeLocks(), 'one', { shared }).save('den', 't1', { key: 'sesame' });
  assert.equal((await tabOf(storage, makeLocks(), 'two', { shared }).take('den')).key, 'sesame');
  assert.equal((await tabOf(new Storage(), makeLocks(), 'three', { shared }).take('den')).key, undefined);
  assert.ok(!JSON.stringify([...shared.items]).includes('sesame'));
});

test('the servers are kept with the seat, until the person leaves it', () => {
  const [storage, shared] = [new Storage(), new Storage()];
  const nodes = ['b2.call.example', 'b1.call.example'];
  const page = tabOf(storage, makeLocks(), 'one', { shared });
  page.save('den', 't1', { nodes });
  assert.deepEqual(tabOf(storage, makeLocks(), 'two', { shared }).nodes('den'), nodes);
  assert.deepEqual(tabOf(new Storage(), makeLocks(), 'three', { shared }).nodes('den'), nodes);
  assert.equal(page.nodes('attic'), undefined);
  page.release('den');
  assert.equal(page.nodes('den'), undefined);
});

test('a duplicated tab does not use the copied token', async () => {
  const locks = makeLocks();
  const storage = new Storage();
  tabOf(storage, locks, 'one').save('den', 't1');
  await settle();
  const copy = tabOf(storage.copy(), locks, 'two');
  assert.equal(await copy.peek('den'), undefined);
  assert.equal(await copy.wasInterrupted('den'), false);
  assert.equal(await copy.take('den'), undefined);
  assert.equal(await copy.take('den'), undefined);
});

test('a new tab resumes the seat of a closed or killed one, and peeks it', async () => {
  const [locks, shared] = [makeLocks(), new Storage()];
  tabOf(new Storage(), locks, 'one', { shared }).save('den', 't1');
  await settle();
  const [second, third] = ['two', 'three'].map((tab) => tabOf(new Storage(), locks, tab, { shared }));
  assert.deepEqual([await second.peek('den'), await tokenOf(second)], [undefined, undefined], 'the first tab is alive');
  locks.held.clear();
  assert.deepEqual([await second.peek('den'), await third.peek('den')], ['t1', 't1'], 'a peek holds no lock');
  assert.equal(await second.wasInterrupted('den'), false, 'another tab was in the room: no rejoin');
  assert.equal(await tokenOf(second), 't1');
  assert.equal(await tokenOf(third), undefined);
  second.save('den', 't2');
  await settle();
  assert.equal(await tokenOf(third), undefined, 'the lock moves with the seat');
});

test('a second tab does not lose its own token to the first', async () => {
  const [locks, shared, own] = [makeLocks(), new Storage(), new Storage()];
  tabOf(new Storage(), locks, 'one', { shared }).save('den', 't1');
  tabOf(own, locks, 'two', { shared }).save('den', 't2');
  await settle();
  locks.held.delete('webrtc-box.two.den');
  assert.equal(await tokenOf(tabOf(own, locks, 'reloaded', { shared })), 't2');
});

test('the browser\'s copy expires after twelve hours', async () => {
  const shared = new Storage();
  tabOf(new Storage(), makeLocks(), 'one', { shared }).save('den', 't1');
  const at = (hours) => tabOf(new Storage(), makeLocks(), 'two', { shared, today: () => hours * HOUR });
  assert.equal(await at(11).peek('den'), 't1');
  at(12);
  assert.deepEqual(shared.keys(), [], 'also if that room is never used again');
});

test('a seat that was left is kept for the next join, not for a reload', async () => {
  const [storage, locks] = [new Storage(), makeLocks()];
  const seat = tabOf(storage, locks, 'one');
  seat.save('den', 't1');
  await settle();
  seat.release('den');
  await settle();
  assert.equal(locks.held.size, 0);
  assert.equal(await tabOf(storage, locks, 'two').wasInterrupted('den'), false);
  assert.equal(await tokenOf(seat), 't1');
});

test('a reload and a click on Join that wait together both get the token', async () => {
  const [storage, locks] = [new Storage(), makeLocks()];
  tabOf(storage, makeLocks(), 'one').save('den', 't1');
  locks.held.add('webrtc-box.one.den');
  let waits = 0;
  const seat = tabOf(storage, locks, 'two', { pause: async () => { if ((waits += 1) === 3) locks.held.clear(); } });
  assert.deepEqual(await Promise.all([seat.wasInterrupted('den'), tokenOf(seat)]), [true, 't1']);
  assert.equal(await tokenOf(seat), 't1');
});

test('without locks a tab resumes, and no other tab takes its seat', async () => {
  const [own, shared] = [new Storage(), new Storage()];
  tabOf(own, undefined, 'one', { shared }).save('den', 't1');
  const other = tabOf(new Storage(), undefined, 'two', { shared });
  assert.deepEqual([await other.peek('den'), await tokenOf(other)], [undefined, undefined]);
  const reloaded = tabOf(own, undefined, 'three', { shared });
  assert.deepEqual([await reloaded.peek('den'), await tokenOf(reloaded)], ['t1', 't1']);
});

test('a browser that refuses locks still returns the saved token', async () => {
  const seat = tabOf(new Storage(), { request: async () => { throw new DOMException('', 'SecurityError'); } }, 'one');
  seat.save('den', 't1');
  assert.deepEqual([await seat.peek('den'), await tokenOf(seat)], ['t1', 't1']);
});

test('entries of another format are no seat', async () => {
  for (const text of ['one\nt1', '{', '7', 'null', '{"token":7,"lock":"x"}']) {
    const storage = new Storage(new Map([['webrtc-box.seat.den', text]]));
    assert.equal(await tabOf(storage, makeLocks(), 'two', { shared: storage.copy() }).take('den'), undefined, text);
  }
});

test('the same tab resumes with its newest token, repeatedly', async () => {
  const seat = tabOf(new Storage(), makeLocks(), 'one');
  seat.save('den', 't1');
  seat.save('den', 't2');
  assert.equal(await tokenOf(seat), 't2');
  assert.equal(await tokenOf(seat), 't2');
});

test('a reload waits for the lock of the page before', async () => {
  const locks = makeLocks();
  locks.held.add('webrtc-box.one.den');
  let waits = 0;
  const storage = new Storage();
  tabOf(storage, makeLocks(), 'one').save('den', 't1');
  const seat = tabOf(storage, locks, 'two', { pause: async () => { if ((waits += 1) === 3) locks.held.clear(); } });
  assert.equal(await tokenOf(seat), 't1');
});

test('a reload on a busy device waits for seconds, and left meanwhile it keeps its token', async () => {
  const locks = makeLocks();
  locks.held.add('webrtc-box.one.den');
  const storage = new Storage();
  tabOf(storage, makeLocks(), 'one').save('den', 't1');
  let waits = 0;
  // Left by Forward after two seconds: the rest of this page never runs.
  tabOf(storage, locks, 'two', { pause: () => ((waits += 1) < 20 ? Promise.resolve() : new Promise(() => {})) }).wasInterrupted('den');
  await settle();
  assert.equal(waits, 20);
  const next = tabOf(storage, locks, 'three', { pause: async () => { if ((waits += 1) === 60) locks.held.clear(); } });
  assert.equal(await next.wasInterrupted('den'), true);
  assert.equal(await tokenOf(next), 't1');
});

test('a forgotten seat is removed and unlocked', async () => {
  const locks = makeLocks();
  const shared = new Storage();
  const seat = tabOf(new Storage(), locks, 'one', { shared });
  seat.save('den', 't1');
  await settle();
  seat.forget('den');
  await settle();
  assert.equal(await seat.take('den'), undefined);
  assert.deepEqual([locks.held.size, shared.keys()], [0, []]);
});

test('rooms do not share tokens', async () => {
  const seat = tabOf(new Storage(), makeLocks(), 'one');
  seat.save('den', 't1');
  assert.equal(await seat.take('attic'), undefined);
});

test('a reload or an early Back resumes; a late or restored one does not', () => {
  const left = String(20 * HOUR);
  const rows = [['reload', null, true], ['reload', left, true], ['back_forward', left, true], ['navigate', left, false],
    ['prerender', left, false], [undefined, left, false], ['back_forward', null, false], ['back_forward', 'nonsense', false],
    ['back_forward', String(20 * HOUR - 120_000), false], ['back_forward', String(21 * HOUR), false]];
  for (const [type, leftAt, joins] of rows) assert.equal(isReloadOrBack(type, leftAt, 20 * HOUR + 1000), joins, `${type} ${leftAt}`);
});

test('a seat in another live tab is known, and taken over only on demand', async () => {
  const [locks, shared] = [makeLocks(), new Storage()];
  const storage = new Storage();
  const first = tabOf(storage, locks, 'one', { shared });
  first.save('den', 't1');
  await settle();
  const [second, copy] = [tabOf(new Storage(), locks, 'two', { shared }), tabOf(storage.copy(), locks, 'three', { shared })];
  assert.deepEqual(await Promise.all([first, second, copy].map((each) => each.isElsewhere('den'))), [false, true, true]);
  assert.equal(await second.isElsewhere('attic'), false);
  assert.equal(await tokenOf(second), undefined);
  assert.equal((await second.takeOver('den')).token, 't1');
  second.save('den', 't2');
  await settle();
  first.forget('den');
  assert.deepEqual(await Promise.all([first, second].map((each) => each.isElsewhere('den'))), [true, false]);
  assert.equal((await first.takeOver('den')).token, 't2', 'and back');
});

test('without locks no other tab is known', async () => {
  const shared = new Storage();
  tabOf(new Storage(), undefined, 'one', { shared }).save('den', 't1');
  const second = tabOf(new Storage(), undefined, 'two', { shared });
  assert.equal(await second.isElsewhere('den'), false);
  assert.equal(await second.takeOver('den'), undefined);
});

test('a tab that left or was closed is not elsewhere', async () => {
  const [locks, shared] = [makeLocks(), new Storage()];
  const first = tabOf(new Storage(), locks, 'one', { shared });
  first.save('den', 't1');
  await settle();
  first.release('den');
  await settle();
  assert.equal(await tabOf(new Storage(), locks, 'two', { shared }).isElsewhere('den'), false);
});

test('looking for the token and for another tab at once finds a free lock free', async () => {
  const shared = new Storage();
  tabOf(new Storage(), makeLocks(), 'one', { shared }).save('den', 't1');
  /** As in a browser: exclusive by default, granted a moment later and held until the body has run. */
  const holders = [];
  const locks = {
    async request(name, { mode = 'exclusive' }, body) {
      await Promise.resolve();
      if (holders.some((each) => mode === 'exclusive' || each === 'exclusive')) return body(null);
      holders.push(mode);
      await body({ name });
      await Promise.resolve();
      holders.splice(holders.indexOf(mode), 1);
    },
  };
  const tab = tabOf(new Storage(), locks, 'two', { shared });
  assert.deepEqual(await Promise.all([tab.isElsewhere('den'), tab.peek('den'), tab.isElsewhere('den')]), [false, 't1', false]);
});
