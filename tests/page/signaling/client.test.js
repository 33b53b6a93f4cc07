import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SignalingClient } from '../../../public/signaling/client.js';
import { FEATURES, knowsChannels } from '../../../public/signaling/protocol.js';
import { FakeSocket, makeClock, settle } from '../harness/fakes.js';

function makeHarness({ token } = {}) {
  const clock = makeClock();
  const sockets = [];
  const events = [];
  /** The seats of this tab by room: `{token, key, left}`. */
  const saved = new Map(token ? [['den', { token }]] : []);
  const beacons = [];
  /** Whether another tab of the browser has a seat in the room. */
  const elsewhere = { now: false };
  const signaling = new SignalingClient({
    beacon: (path, body) => beacons.push([path, body]), clock, random: () => 1, emit: (event) => events.push(event),
    resumeTokens: {
      take: async (room) => saved.get(room), peek: async (room) => saved.get(room)?.token, nodes: (room) => saved.get(room)?.nodes,
      isElsewhere: async () => elsewhere.now, takeOver: async () => ({ token: 'theirs' }),
      save: (room, token, seat) => saved.set(room, { token, ...seat }),
      release: (room) => { if (saved.has(room)) saved.get(room).left = true; },
      forget: (room) => saved.delete(room),
    },
    open: () => {
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket;
    },
  });
  const joined = { type: 'resp-join', id: 'me', room: 'den', peer: null, iceServers: [], ttl: 60, resume: 't1', resumed: false };
  return {
    clock, sockets, events, saved, elsewhere, beacons, signaling, joined,
    last: () => sockets.at(-1),
    async joins(frame = joined) {
      sockets.at(-1).opens();
      await settle();
      sockets.at(-1).receives(frame);
    },
    types: () => events.map((event) => event.type),
  };
}

test('a join sends the room and saves the token of the answer', async () => {
  const harness = makeHarness();
  harness.signaling.join('den', { key: 'k' });
  await harness.joins();
  assert.deepEqual(harness.last().sent[0], { type: 'join', room: 'den', features: ['data-channels'], key: 'k', wait: true });
  assert.equal(harness.saved.get('den').token, 't1');
  assert.deepEqual(harness.types(), ['socket', 'resp-join']);
});

test('the lobby peeks repeatedly, and the same socket joins', async () => {
  const harness = makeHarness();
  const looks = () => harness.last().ofType('look').map((frame) => frame.room);
  harness.signaling.peek('d');
  await harness.clock.advance(100);
  harness.signaling.peek('den');
  await harness.clock.advance(1000);
  harness.last().opens();
  await settle();
  assert.deepEqual(looks(), ['den'], 'nothing during typing');
  harness.last().receives({ type: 'room', room: 'den', seats: 1 });
  harness.last().receives({ type: 'room', room: 'elsewhere', seats: 2 });
  assert.deepEqual(harness.events.at(-1), { type: 'room', room: 'den', seats: 1 });
  await harness.clock.advance(5000);
  assert.deepEqual(looks(), ['den', 'den']);
  harness.last().receives({ type: 'room', room: 'den', seats: 1 });
  harness.signaling.join('den');
  await settle();
  assert.equal(harness.sockets.length, 1);
  assert.deepEqual(harness.last().sent.at(-1), { type: 'join', room: 'den', features: ['data-channels'], wait: true });
  harness.last().receives(harness.joined);
  await harness.clock.advance(5000);
  assert.equal(looks().length, 2, 'no peek after the join');
});

test('a server that does not answer a peek gets another socket', async () => {
  const harness = makeHarness();
  harness.signaling.peek('den');
  await harness.clock.advance(300);
  harness.last().opens();
  await settle();
  await harness.clock.advance(2500);
  assert.equal(harness.sockets[0].closedWith, 1005);
  assert.deepEqual(harness.types(), ['room'], 'no socket events in the lobby');
  harness.signaling.join('den');
  await harness.joins();
  assert.equal(harness.sockets.length, 2);
  assert.equal(harness.last().sent[0].type, 'join');
});

test('a dead socket in the lobby delays a join only briefly', async () => {
  const harness = makeHarness();
  harness.signaling.peek('den');
  await harness.clock.advance(300);
  harness.last().opens();
  await settle();
  harness.last().receives({ type: 'room', room: 'den', seats: 0 });
  harness.signaling.join('den');
  await harness.clock.advance(3000 + 500);
  assert.equal(harness.sockets.length, 2);
  await harness.joins();
  assert.equal(harness.last().sent[0].type, 'join');
});

test('a join refused because of earlier peeks is retried on another socket', async () => {
  const harness = makeHarness();
  harness.signaling.peek('den');
  await harness.clock.advance(300);
  harness.last().opens();
  await settle();
  harness.signaling.join('den');
  await settle();
  harness.last().receives({ type: 'error', code: 'rate-limited', message: '' });
  assert.ok(!harness.types().includes('refused'));
  await harness.clock.advance(500);
  await harness.joins();
  assert.equal(harness.last().sent[0].type, 'join');
});

test('ending the peek, or joining, releases the lobby\'s socket', async () => {
  const harness = makeHarness();
  harness.signaling.peek('den');
  await harness.clock.advance(300);
  harness.last().opens();
  await settle();
  harness.signaling.peek(null);
  assert.equal(harness.sockets[0].closedWith, 1000);
  await harness.clock.advance(60_000);
  assert.equal(harness.sockets.length, 1);
});

test('a lost socket is replaced and the seat resumed', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins();
  harness.last().drops();
  await harness.clock.advance(500);
  assert.equal(harness.sockets.length, 2);
  await harness.joins({ ...harness.joined, resumed: true, resume: 't2' });
  assert.deepEqual(harness.last().sent[0], { type: 'join', room: 'den', features: ['data-channels'], resume: 't1' });
  assert.equal(harness.saved.get('den').token, 't2');
});

/** Loses the socket repeatedly; the next one is opened after each of these times, in milliseconds. */
async function waits(harness, times, lose = async () => harness.last().drops()) {
  for (const wait of times) {
    const before = harness.sockets.length;
    await lose(harness);
    await harness.clock.advance(wait - 1);
    assert.equal(harness.sockets.length, before, `not before ${wait}`);
    await harness.clock.advance(1);
    assert.equal(harness.sockets.length, before + 1, `at ${wait}`);
  }
}

test('backoff doubles up to 15 s and restarts after a join', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await waits(harness, [500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
  await harness.joins();
  harness.last().drops();
  await harness.clock.advance(500);
  assert.equal(harness.sockets.length, 9);
});

test('while resuming, an unreachable server is retried within 4 s for 1 min', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins();
  await waits(harness, [500, 1000, 2000, ...Array(13).fill(4000), 15_000]);
});

for (const [how, lose] of [
  ['refuses every join', (harness) => harness.joins({ type: 'error', code: 'shutting-down', message: '' })],
  ['closes with 1008', async (harness) => harness.last().drops(1008)],
]) {
  test(`while resuming, a server that ${how} gets the full backoff`, async () => {
    const harness = makeHarness();
    harness.signaling.join('den');
    await harness.joins();
    harness.last().drops();
    await harness.clock.advance(500);
    await waits(harness, [1000, 2000, 4000, 8000, 15_000], lose);
  });
}

test('a replaced seat is not taken back', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins();
  harness.last().drops(4001);
  await harness.clock.advance(120_000);
  assert.equal(harness.sockets.length, 1);
  assert.equal(harness.types().at(-1), 'replaced');
});

test('a silent socket is replaced, also where the next one does not open', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins();
  await harness.clock.advance(5000);
  assert.equal(harness.last().ofType('ping').length, 1);
  await harness.clock.advance(2400);
  assert.equal(harness.sockets.length, 2, 'another is opened beside it');
  assert.equal(harness.sockets[0].closedWith, null);
  await harness.clock.advance(100);
  assert.notEqual(harness.sockets[0].closedWith, null);
  assert.equal(harness.events.at(-1).open, false);
  await harness.joins({ ...harness.joined, resumed: true });
  assert.equal(harness.sockets.length, 2);
  assert.equal(harness.events.at(-1).type, 'resp-join');
});

test('in a call a silent socket is replaced in less than four seconds', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins({ ...harness.joined, peer: 'you' });
  await harness.clock.advance(3900);
  assert.equal(harness.sockets.length, 2);
  harness.signaling.send({ type: 'offer', target: 'you' });
  assert.equal(harness.sockets[0].ofType('offer').length, 0, 'it would be lost');
  await harness.joins({ ...harness.joined, peer: 'you', resumed: true });
  assert.deepEqual(harness.sockets[1].sent.map(({ type }) => type), ['join', 'offer']);
  assert.notEqual(harness.sockets[0].closedWith, null);
  assert.deepEqual(harness.types().slice(-3), ['socket', 'socket', 'resp-join']);
});

test('a socket that answers late is kept', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins({ ...harness.joined, peer: 'you' });
  await harness.clock.advance(2500 + 1250);
  assert.equal(harness.sockets.length, 2);
  harness.signaling.send({ type: 'offer', target: 'you' });
  harness.sockets[0].receives({ type: 'pong' });
  assert.equal(harness.sockets[0].ofType('offer').length, 1);
  assert.notEqual(harness.sockets[1].closedWith, null);
  harness.sockets[1].opens();
  await harness.clock.advance(2500 + 2400);
  assert.equal(harness.sockets.length, 2, 'a slow network gets no more sockets');
  assert.deepEqual(harness.types(), ['socket', 'resp-join']);
});

test('a socket beside a late one that fails is not the end of the late one', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins({ ...harness.joined, peer: 'you' });
  await harness.clock.advance(2500 + 1250);
  harness.sockets[1].drops();
  harness.signaling.send({ type: 'offer', target: 'you' });
  assert.equal(harness.sockets[0].ofType('offer').length, 1);
  await harness.clock.advance(1250);
  assert.equal(harness.sockets.length, 3, 'it has not answered');
});

test('a socket that never opens is dropped', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.clock.advance(10_500);
  assert.equal(harness.sockets.length, 2);
});

test('messages wait for the same seat while the socket is down', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins();
  harness.last().drops();
  harness.signaling.send({ type: 'offer', target: 'you' });
  await harness.clock.advance(500);
  await harness.joins({ ...harness.joined, resumed: true });
  assert.equal(harness.last().ofType('offer').length, 1);
});

test('messages of a lost seat are not sent from a new one', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins();
  harness.last().drops();
  harness.signaling.send({ type: 'offer', target: 'you' });
  await harness.clock.advance(500);
  await harness.joins({ ...harness.joined, id: 'another' });
  assert.equal(harness.last().ofType('offer').length, 0);
});

test('an unknown token is forgotten and the join repeated without it', async () => {
  const harness = makeHarness({ token: 'old' });
  harness.signaling.join('den');
  await harness.joins({ type: 'error', code: 'bad-resume', message: '' });
  await settle();
  assert.deepEqual(harness.last().ofType('join'), [{ type: 'join', room: 'den', features: ['data-channels'], resume: 'old', wait: true }, { type: 'join', room: 'den', features: ['data-channels'], wait: true }]);
});

test('a join with a token refused by the rate limit is repeated without it', async () => {
  const harness = makeHarness({ token: 'old' });
  harness.signaling.join('den');
  await harness.joins({ type: 'error', code: 'rate-limited', message: '' });
  await settle();
  assert.deepEqual(harness.last().ofType('join'), [{ type: 'join', room: 'den', features: ['data-channels'], resume: 'old', wait: true }, { type: 'join', room: 'den', features: ['data-channels'], wait: true }]);
  harness.last().receives({ type: 'error', code: 'rate-limited', message: '' });
  assert.deepEqual(harness.events.at(-1), { type: 'refused', code: 'rate-limited' });
});

test('a refused peek is not repeated for a minute', async () => {
  const harness = makeHarness();
  harness.signaling.peek('den');
  await harness.clock.advance(300);
  harness.last().opens();
  await settle();
  harness.last().receives({ type: 'error', code: 'rate-limited', message: '' });
  await harness.clock.advance(59_000);
  assert.equal(harness.last().ofType('look').length, 1);
  await harness.clock.advance(1000);
  await settle();
  assert.equal(harness.sockets.flatMap((socket) => socket.ofType('look')).length, 2);
});

for (const code of ['room-full', 'bad-room', 'key-required', 'rate-limited', 'declined', 'try-later']) {
  test(`${code} ends the attempts`, async () => {
    const harness = makeHarness();
    harness.signaling.join('den');
    await harness.joins({ type: 'error', code, message: '' });
    assert.deepEqual(harness.events.at(-1), { type: 'refused', code });
    await harness.clock.advance(60_000);
    assert.equal(harness.sockets.length, 1);
  });
}

test('a server that is shutting down is retried later', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins({ type: 'error', code: 'shutting-down', message: '' });
  await harness.clock.advance(1000);
  assert.equal(harness.sockets.length, 2);
});

test('who waits keeps the place while the server drains', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins({ type: 'waiting', position: 1 });
  harness.last().receives({ type: 'error', code: 'shutting-down', message: '' });
  await harness.clock.advance(3000);
  assert.equal(harness.sockets.length, 1);
});

test('a clean leave forgets the token and stays disconnected', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins();
  harness.signaling.leave();
  assert.equal(harness.last().ofType('leave').length, 1);
  assert.ok(harness.saved.get('den').left);
  harness.last().drops(1000, true);
  assert.equal(harness.saved.has('den'), false);
  await harness.clock.advance(60_000);
  assert.equal(harness.sockets.length, 1);
});

test('after an unconfirmed leave the next call resumes the kept seat', async () => {
  for (const dead of [false, true]) {
    const harness = makeHarness();
    harness.signaling.join('den');
    await harness.joins();
    if (!dead) harness.last().drops();
    harness.signaling.leave();
    if (dead) harness.last().drops(1006, false);
    harness.signaling.join('den');
    await harness.joins({ ...harness.joined, resumed: true });
    assert.equal(harness.last().sent[0].resume, 't1');
    assert.ok(!harness.saved.get('den').left);
  }
});

test('a late confirmation of a leave does not drop a new call\'s seat', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins();
  const first = harness.last();
  harness.signaling.leave();
  harness.signaling.join('den');
  await harness.joins({ ...harness.joined, resumed: true });
  first.drops(1000, true);
  assert.equal(harness.saved.get('den').token, 't1');
});

test('our own seat is not counted in the lobby', async () => {
  const harness = makeHarness({ token: 'old' });
  harness.signaling.peek('den');
  await harness.clock.advance(300);
  harness.last().opens();
  await settle();
  assert.deepEqual(harness.last().sent, [{ type: 'look', room: 'den', resume: 'old' }]);
});

test('the host key is sent again when resuming, also after a reload', async () => {
  const harness = makeHarness();
  harness.signaling.join('den', { key: 'sesame' });
  await harness.joins();
  harness.last().drops();
  await harness.clock.advance(500);
  await harness.joins({ ...harness.joined, resume: 't2' });
  const again = { type: 'join', room: 'den', features: ['data-channels'], resume: 't1', key: 'sesame' };
  assert.deepEqual(harness.last().sent[0], again);
  assert.equal(harness.saved.get('den').key, 'sesame');

  const reloaded = makeHarness({ token: 't1' });
  reloaded.saved.get('den').key = 'sesame';
  reloaded.signaling.join('den');
  await reloaded.joins();
  assert.deepEqual(reloaded.last().sent[0], { ...again, wait: true });
  assert.equal(reloaded.saved.get('den').key, 'sesame');
});

test('a resuming participant retries until the host has opened the room', async () => {
  const harness = makeHarness();
  const refused = { type: 'error', code: 'key-required', message: '' };
  const receives = async (frame) => {
    for (const before = harness.sockets.length; harness.sockets.length === before;) await harness.clock.advance(250);
    await harness.joins(frame);
  };
  harness.signaling.join('den');
  await harness.joins();
  harness.last().drops();
  for (let tries = 1; tries < 8; tries += 1) await receives(refused);
  assert.ok(!harness.types().includes('refused'));
  await receives({ ...harness.joined, peer: 'host' });
  assert.equal(harness.types().at(-1), 'resp-join');
  harness.last().drops();
  for (let tries = 1; tries <= 8; tries += 1) await receives(refused);
  assert.deepEqual(harness.events.at(-1), { type: 'refused', code: 'key-required' });
  assert.ok(harness.saved.get('den').left, 'a reload does not rejoin by itself');
});

test('malformed messages are ignored, and a ping is answered', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins();
  const before = harness.events.length;
  for (const junk of ['', '{', 'null', '[]', '{"type":7}', '"x"']) harness.last().receives(junk);
  assert.equal(harness.events.length, before);
  harness.last().receives({ type: 'ping' });
  assert.deepEqual(harness.last().sent.at(-1), { type: 'pong' });
});

test('in doubt a socket has half a second to answer', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins();
  harness.signaling.checkConnection();
  await harness.clock.advance(400);
  harness.last().receives({ type: 'pong' });
  await harness.clock.advance(1000);
  assert.equal(harness.sockets.length, 1);
  harness.signaling.checkConnection();
  await harness.clock.advance(500);
  assert.equal(harness.sockets.length, 2);
});

test('after a lost path another socket is opened at once, and the first that works is used', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins({ ...harness.joined, peer: 'you' });
  harness.signaling.checkConnection(true);
  assert.equal(harness.sockets.length, 2);
  harness.signaling.send({ type: 'offer', target: 'you' });
  harness.sockets[0].receives({ type: 'pong' });
  assert.deepEqual(harness.sockets[0].sent.map(({ type }) => type), ['join', 'ping', 'offer']);
  assert.notEqual(harness.sockets[1].closedWith, null);
  harness.signaling.checkConnection(true);
  harness.signaling.checkConnection(true);
  await harness.clock.advance(600);
  assert.equal(harness.sockets.length, 3, 'one at a time');
  await harness.joins({ ...harness.joined, peer: 'you', resumed: true });
  assert.notEqual(harness.sockets[0].closedWith, null);
});

test('a server that accepts sockets without joins is not retried sooner', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  harness.last().opens();
  await harness.clock.advance(10_000);
  assert.equal(harness.sockets.length, 2);
});

test('checkConnection connects at once instead of waiting', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins();
  harness.last().drops();
  harness.signaling.checkConnection();
  assert.equal(harness.sockets.length, 2);
});

test('while resuming, another socket is opened beside one that does not open', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins();
  harness.last().drops();
  await harness.clock.advance(500);
  const opened = [];
  const closed = new Map();
  for (let ms = 0; ms < 20_000; ms += 250) {
    while (opened.length < harness.sockets.length) opened.push(ms);
    harness.sockets.forEach((socket, index) => { if (socket.readyState === 3 && !closed.has(index)) closed.set(index, ms); });
    assert.ok(harness.sockets.filter(({ readyState }) => readyState !== 3).length <= 2);
    await harness.clock.advance(250);
  }
  assert.ok(opened.every((ms, index) => index === 0 || ms - opened[index - 1] <= 3500), `${opened}`);
  const longest = Math.max(...[...closed].map(([index, ms]) => ms - opened[index]));
  assert.ok(longest >= 6000, `a slow network gets ${longest} ms`);
  harness.last().opens();
  await settle();
  harness.last().receives({ ...harness.joined, resumed: true });
  assert.equal(harness.sockets.filter(({ readyState }) => readyState !== 3).length, 1);
  assert.equal(harness.types().at(-1), 'resp-join');
});

test('a closing page sends its token only without an open socket', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  harness.signaling.pageClosing();
  harness.last().opens();
  await harness.joins();
  harness.signaling.pageClosing();
  assert.deepEqual(harness.beacons, []);
  harness.last().drops();
  harness.signaling.pageClosing();
  assert.deepEqual(harness.beacons, [['/leave', 't1']]);
});

test('a seat moves to a WebSocket that opens after all; before the join nothing moves', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  harness.last().onupgrade();
  assert.equal(harness.sockets.length, 1);
  await harness.joins();
  harness.last().onupgrade();
  assert.equal(harness.sockets.length, 2);
  await harness.joins({ ...harness.joined, resumed: true });
  assert.equal(harness.last().sent[0].resume, 't1');
  assert.equal(harness.sockets[0].readyState, 3);
});

test('only a client that says so knows our data channels', () => {
  for (const features of [undefined, null, [], 'data-channels', ['other'], { length: 1 }]) assert.equal(knowsChannels(features), false);
  assert.ok(knowsChannels(['other', ...FEATURES]));
});
