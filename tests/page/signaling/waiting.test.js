import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SignalingClient } from '../../../public/signaling/client.js';
import { FakeSocket, makeClock, settle } from '../harness/fakes.js';

/** A client whose sockets and tokens the test controls. */
function makeHarness() {
  const clock = makeClock();
  const [sockets, events, forgotten, beacons] = [[], [], [], []];
  const tab = { elsewhere: false };
  const signaling = new SignalingClient({
    clock, random: () => 1, emit: (event) => events.push(event), beacon: (...sent) => beacons.push(sent),
    resumeTokens: {
      take: async () => undefined, peek: async () => undefined, nodes: () => undefined, isElsewhere: async () => tab.elsewhere,
      takeOver: async () => ({ token: 'of-the-other-tab' }), save() {}, release() {}, forget: (room) => forgotten.push(room),
    },
    open: () => {
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket;
    },
  });
  return {
    clock, sockets, events, forgotten, beacons, tab, signaling,
    last: () => sockets.at(-1),
    async answers(...frames) {
      sockets.at(-1).opens();
      await settle();
      for (const frame of frames) sockets.at(-1).receives(frame);
      await settle();
    },
    /** Joins the room named `den` and is told to wait. */
    async waits(options) {
      signaling.join('den', options);
      await this.answers({ type: 'waiting', position: 2 });
    },
    joined: { type: 'resp-join', id: 'me', room: 'den', peer: null, iceServers: [], ttl: 60, resume: 't1', resumed: false },
  };
}

test('a client that waits gets its position and keeps asking how many are in the room', async () => {
  const harness = makeHarness();
  await harness.waits();
  assert.deepEqual(harness.events, [{ type: 'socket', open: true }, { type: 'waiting', position: 2 }]);
  assert.deepEqual(harness.last().ofType('look'), [{ type: 'look', room: 'den' }]);
  harness.last().receives({ type: 'room', room: 'den', seats: 2 });
  assert.deepEqual(harness.events.at(-1), { type: 'room', room: 'den', seats: 2 });
  harness.last().receives({ type: 'waiting', position: 1 });
  assert.deepEqual(harness.events.at(-1), { type: 'waiting', position: 1 });
  await harness.clock.advance(5000);
  assert.equal(harness.last().ofType('look').length, 2);
  harness.last().receives(harness.joined);
  harness.last().receives({ type: 'pong' });
  await harness.clock.advance(5000);
  assert.equal(harness.last().ofType('look').length, 2, 'no more once seated');
});

test('a position that is none counts as the first', async () => {
  for (const position of [undefined, -3, 0, 1.5, 'x', 1e300]) {
    const harness = makeHarness();
    harness.signaling.join('den');
    await harness.answers({ type: 'waiting', position });
    assert.equal(harness.events.at(-1).position, 1);
  }
});

test('a client that waits joins again by itself after its socket is lost', async () => {
  const harness = makeHarness();
  await harness.waits({ name: 'Ada' });
  harness.last().drops(1012);
  await harness.clock.advance(500);
  assert.equal(harness.sockets.length, 2);
  await harness.answers();
  assert.deepEqual(harness.last().sent, [], 'those of the call return first');
  await harness.clock.advance(5000);
  harness.last().receives({ type: 'error', code: 'try-later', message: '' });
  assert.ok(!harness.events.some(({ type }) => type === 'refused'), 'others may have been faster');
  await harness.clock.advance(1000);
  await harness.answers();
  await harness.clock.advance(5000);
  harness.last().receives({ type: 'waiting', position: 1 });
  assert.deepEqual(harness.last().sent[0], { type: 'join', room: 'den', features: ['data-channels'], name: 'Ada', wait: true });
  assert.equal(harness.events.at(-1).position, 1);
});

test('a silent socket is noticed while waiting, and not given up for a late answer', async () => {
  const harness = makeHarness();
  await harness.waits();
  harness.last().receives({ type: 'room', room: 'den', seats: 2 });
  harness.signaling.checkConnection();
  await harness.clock.advance(2400);
  assert.equal(harness.sockets.length, 1, 'another socket would lose the place');
  await harness.clock.advance(100);
  assert.equal(harness.sockets.length, 2);
});

test('a refused question while waiting does not end the waiting', async () => {
  const harness = makeHarness();
  await harness.waits();
  harness.last().receives({ type: 'error', code: 'rate-limited', message: '' });
  assert.equal(harness.events.at(-1).type, 'waiting');
  harness.last().receives({ type: 'error', code: 'declined', message: '' });
  assert.deepEqual(harness.events.at(-1), { type: 'refused', code: 'declined' });
});

test('a page that closes while waiting has no seat to leave', async () => {
  const harness = makeHarness();
  await harness.waits({ transfer: 'one-time' });
  harness.signaling.pageClosing();
  assert.deepEqual(harness.beacons, []);
});

test('a seat that is lost is not waited for', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.answers(harness.joined);
  harness.last().drops();
  await harness.clock.advance(500);
  await harness.answers({ type: 'error', code: 'room-full', message: '' });
  assert.equal(harness.last().sent[0].wait, undefined);
  assert.deepEqual(harness.events.at(-1), { type: 'refused', code: 'room-full' });
});

test('a knock is answered only from a seat', async () => {
  const harness = makeHarness();
  await harness.waits();
  const requests = [{ type: 'admit', id: 'k1' }, { type: 'decline', id: 'k2' }, { type: 'transfer' }];
  for (const request of requests) harness.signaling.request(request);
  assert.deepEqual([...harness.last().ofType('admit'), ...harness.last().ofType('transfer')], []);
  harness.last().receives(harness.joined);
  for (const request of requests) harness.signaling.request(request);
  assert.deepEqual(harness.last().sent.slice(-3), requests);
});

test('a transfer token is sent until it is used, and never replaced by a place to wait', async () => {
  const harness = makeHarness();
  harness.signaling.join('den', { transfer: 'one-time' });
  await harness.answers();
  harness.last().drops();
  await harness.clock.advance(500);
  await harness.answers(harness.joined);
  for (const socket of harness.sockets) assert.equal(socket.sent[0].resume, 'one-time');
  harness.last().drops();
  await harness.clock.advance(500);
  await harness.answers();
  assert.equal(harness.last().sent[0].resume, undefined, 'the saved token is used from now on');

  const late = makeHarness();
  late.signaling.join('den', { transfer: 'one-time' });
  await late.answers({ type: 'error', code: 'bad-resume', message: '' });
  assert.deepEqual(late.events.at(-1), { type: 'refused', code: 'transfer-expired' });
  assert.equal(late.last().ofType('join').length, 1);
});

test('another tab with the seat is noticed in the lobby and can be replaced', async () => {
  const harness = makeHarness();
  const elsewhere = () => harness.events.filter(({ type }) => type === 'elsewhere').map((event) => event.elsewhere);
  harness.tab.elsewhere = true;
  harness.signaling.peek('den');
  await harness.clock.advance(300);
  assert.deepEqual(elsewhere(), [true]);
  await harness.answers({ type: 'room', room: 'den', seats: 2 });
  harness.tab.elsewhere = false;
  await harness.clock.advance(5000);
  assert.deepEqual(elsewhere(), [true, false], 'the other tab was closed');
  harness.signaling.join('den', { takeOver: true });
  await settle();
  assert.equal(harness.last().ofType('join')[0].resume, 'of-the-other-tab');
  harness.last().receives({ type: 'error', code: 'bad-resume', message: '' });
  await settle();
  assert.equal(harness.last().ofType('join')[1].resume, undefined, 'an expired seat is tried once');
});
