import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SignalingClient } from '../../../public/signaling/client.js';
import { FakeSocket, makeClock, settle } from '../harness/fakes.js';

function makeHarness({ token } = {}) {
  const clock = makeClock();
  const sockets = [];
  const events = [];
  /** The seats of this tab by room: `{token, key, left}`. */
  const saved = new Map(token ? [['den', { token }]] : []);
  const beacons = [];
  const signaling = new SignalingClient({
    beacon: (path, body) => beacons.push([path, body]), url: 'wss://box/ws', clock, random: () => 1, emit: (event) => events.push(event),
    resumeTokens: {
      take: async (room) => saved.get(room), peek: async (room) => saved.get(room)?.token,
      save: (room, token, key) => saved.set(room, { token, key }),
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
    clock, sockets, events, saved, beacons, signaling, joined,
    last: () => sockets.at(-1),
    async joins(frame = joined) {
      sockets.at(-1).opens();
      await settle();
      sockets.at(-1).says(frame);
    },
    types: () => events.map((event) => event.type),
  };
}

test('a join says the room and keeps the token it is given', async () => {
  const harness = makeHarness();
  harness.signaling.join('den', { key: 'k' });
  await harness.joins();
  assert.deepEqual(harness.last().sent[0], { type: 'join', room: 'den', key: 'k' });
  assert.equal(harness.saved.get('den').token, 't1');
  assert.deepEqual(harness.types(), ['socket', 'resp-join']);
});

test('who is inside is asked at the door, again and again, and the same socket joins', async () => {
  const harness = makeHarness();
  const looks = () => harness.last().ofType('look').map((frame) => frame.room);
  harness.signaling.peek('d');
  await harness.clock.advance(100);
  harness.signaling.peek('den');
  await harness.clock.advance(1000);
  harness.last().opens();
  await settle();
  assert.deepEqual(looks(), ['den'], 'nothing while somebody types');
  harness.last().says({ type: 'room', room: 'den', seats: 1 });
  harness.last().says({ type: 'room', room: 'elsewhere', seats: 2 });
  assert.deepEqual(harness.events.at(-1), { type: 'room', room: 'den', seats: 1 });
  await harness.clock.advance(5000);
  assert.deepEqual(looks(), ['den', 'den']);
  harness.last().says({ type: 'room', room: 'den', seats: 1 });
  harness.signaling.join('den');
  await settle();
  assert.equal(harness.sockets.length, 1);
  assert.deepEqual(harness.last().sent.at(-1), { type: 'join', room: 'den' });
  harness.last().says(harness.joined);
  await harness.clock.advance(5000);
  assert.equal(looks().length, 2, 'inside there is no need to look');
});

test('a server that does not answer a look is no trouble: another socket joins', async () => {
  const harness = makeHarness();
  harness.signaling.peek('den');
  await harness.clock.advance(300);
  harness.last().opens();
  await settle();
  await harness.clock.advance(2500);
  assert.equal(harness.sockets[0].closedWith, 1005);
  assert.deepEqual(harness.types(), ['room'], 'nobody at the door is told of sockets');
  harness.signaling.join('den');
  await harness.joins();
  assert.equal(harness.sockets.length, 2);
  assert.equal(harness.last().sent[0].type, 'join');
});

test('a dead socket at the door does not hold up a join for long', async () => {
  const harness = makeHarness();
  harness.signaling.peek('den');
  await harness.clock.advance(300);
  harness.last().opens();
  await settle();
  harness.last().says({ type: 'room', room: 'den', seats: 0 });
  harness.signaling.join('den');
  await harness.clock.advance(3000 + 500);
  assert.equal(harness.sockets.length, 2);
  await harness.joins();
  assert.equal(harness.last().sent[0].type, 'join');
});

test('a join that looks have made too dear is said again on another socket', async () => {
  const harness = makeHarness();
  harness.signaling.peek('den');
  await harness.clock.advance(300);
  harness.last().opens();
  await settle();
  harness.signaling.join('den');
  await settle();
  harness.last().says({ type: 'error', code: 'rate-limited', message: '' });
  assert.ok(!harness.types().includes('refused'));
  await harness.clock.advance(500);
  await harness.joins();
  assert.equal(harness.last().sent[0].type, 'join');
});

test('who looks no more, or joins, lets go of the door', async () => {
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

test('a lost socket is replaced and the seat asked back', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins();
  harness.last().drops();
  await harness.clock.advance(500);
  assert.equal(harness.sockets.length, 2);
  await harness.joins({ ...harness.joined, resumed: true, resume: 't2' });
  assert.deepEqual(harness.last().sent[0], { type: 'join', room: 'den', resume: 't1' });
  assert.equal(harness.saved.get('den').token, 't2');
});

/** Loses the socket again and again: the next one is opened after each of these times, in milliseconds. */
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

test('waits double up to a quarter of a minute, and start afresh after a seat', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await waits(harness, [500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
  await harness.joins();
  harness.last().drops();
  await harness.clock.advance(500);
  assert.equal(harness.sockets.length, 9);
});

test('on the way back into a call a server that is not reached is tried each four seconds at the latest, for a minute', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins();
  await waits(harness, [500, 1000, 2000, ...Array(13).fill(4000), 15_000]);
});

for (const [how, lose] of [
  ['turns everybody away', (harness) => harness.joins({ type: 'error', code: 'shutting-down', message: '' })],
  ['has had enough of us', async (harness) => harness.last().drops(1008)],
]) {
  test(`on the way back into a call a server that ${how} is left in peace`, async () => {
    const harness = makeHarness();
    harness.signaling.join('den');
    await harness.joins();
    harness.last().drops();
    await harness.clock.advance(500);
    await waits(harness, [1000, 2000, 4000, 8000, 15_000], lose);
  });
}

test('a replaced seat is not fought for', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins();
  harness.last().drops(4001);
  await harness.clock.advance(120_000);
  assert.equal(harness.sockets.length, 1);
  assert.equal(harness.types().at(-1), 'replaced');
});

test('a ping goes out every five seconds, and silence ends the socket', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins();
  await harness.clock.advance(5000);
  harness.last().says({ type: 'pong' });
  await harness.clock.advance(5000);
  assert.equal(harness.last().ofType('ping').length, 2);
  await harness.clock.advance(2500);
  assert.equal(harness.sockets[0].closedWith !== null, true);
  assert.equal(harness.events.at(-1).open, false);
  assert.equal(harness.sockets.length, 2, 'another is opened at once');
});

test('a socket that never opens is given up', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.clock.advance(10_500);
  assert.equal(harness.sockets.length, 2);
});

test('what is said while the socket is away waits for the same seat', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins();
  harness.last().drops();
  harness.signaling.send({ type: 'offer', target: 'you' });
  await harness.clock.advance(500);
  await harness.joins({ ...harness.joined, resumed: true });
  assert.equal(harness.last().ofType('offer').length, 1);
});

test('what was said from a seat that is gone is not said from the new one', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins();
  harness.last().drops();
  harness.signaling.send({ type: 'offer', target: 'you' });
  await harness.clock.advance(500);
  await harness.joins({ ...harness.joined, id: 'another' });
  assert.equal(harness.last().ofType('offer').length, 0);
});

test('a token the server does not know is forgotten and the join said again without it', async () => {
  const harness = makeHarness({ token: 'old' });
  harness.signaling.join('den');
  await harness.joins({ type: 'error', code: 'bad-resume', message: '' });
  await settle();
  assert.deepEqual(harness.last().ofType('join'), [{ type: 'join', room: 'den', resume: 'old' }, { type: 'join', room: 'den' }]);
});

test('where a join with a token is refused for too many tries it is said again without it', async () => {
  const harness = makeHarness({ token: 'old' });
  harness.signaling.join('den');
  await harness.joins({ type: 'error', code: 'rate-limited', message: '' });
  await settle();
  assert.deepEqual(harness.last().ofType('join'), [{ type: 'join', room: 'den', resume: 'old' }, { type: 'join', room: 'den' }]);
  harness.last().says({ type: 'error', code: 'rate-limited', message: '' });
  assert.deepEqual(harness.events.at(-1), { type: 'refused', code: 'rate-limited' });
});

test('a look that is refused is not said again for a minute', async () => {
  const harness = makeHarness();
  harness.signaling.peek('den');
  await harness.clock.advance(300);
  harness.last().opens();
  await settle();
  harness.last().says({ type: 'error', code: 'rate-limited', message: '' });
  await harness.clock.advance(59_000);
  assert.equal(harness.last().ofType('look').length, 1);
  await harness.clock.advance(1000);
  await settle();
  assert.equal(harness.sockets.flatMap((socket) => socket.ofType('look')).length, 2);
});

for (const code of ['room-full', 'bad-room', 'key-required', 'rate-limited']) {
  test(`${code} ends the asking`, async () => {
    const harness = makeHarness();
    harness.signaling.join('den');
    await harness.joins({ type: 'error', code, message: '' });
    assert.deepEqual(harness.events.at(-1), { type: 'refused', code });
    await harness.clock.advance(60_000);
    assert.equal(harness.sockets.length, 1);
  });
}

test('a server that is shutting down is asked again later', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins({ type: 'error', code: 'shutting-down', message: '' });
  await harness.clock.advance(1000);
  assert.equal(harness.sockets.length, 2);
});

test('leaving says so, forgets the seat once that was events, and stays away', async () => {
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

test('who leaves while the socket is away, or dead without our knowing, calls again with the seat that is still kept', async () => {
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

test('a farewell that is events late does not lose the seat of who has called again', async () => {
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

test('at the door our own seat is not counted among the others', async () => {
  const harness = makeHarness({ token: 'old' });
  harness.signaling.peek('den');
  await harness.clock.advance(300);
  harness.last().opens();
  await settle();
  assert.deepEqual(harness.last().sent, [{ type: 'look', room: 'den', resume: 'old' }]);
});

test('the host key is said again on the way back, also after a reload', async () => {
  const harness = makeHarness();
  harness.signaling.join('den', { key: 'sesame' });
  await harness.joins();
  harness.last().drops();
  await harness.clock.advance(500);
  await harness.joins({ ...harness.joined, resume: 't2' });
  const again = { type: 'join', room: 'den', resume: 't1', key: 'sesame' };
  assert.deepEqual(harness.last().sent[0], again);
  assert.equal(harness.saved.get('den').key, 'sesame');

  const reloaded = makeHarness({ token: 't1' });
  reloaded.saved.get('den').key = 'sesame';
  reloaded.signaling.join('den');
  await reloaded.joins();
  assert.deepEqual(reloaded.last().sent[0], again);
  assert.equal(reloaded.saved.get('den').key, 'sesame');
});

test('a guest who is back before the host asks again for a while, and comes in after them', async () => {
  const harness = makeHarness();
  const refused = { type: 'error', code: 'key-required', message: '' };
  const hears = async (frame) => {
    for (const before = harness.sockets.length; harness.sockets.length === before;) await harness.clock.advance(250);
    await harness.joins(frame);
  };
  harness.signaling.join('den');
  await harness.joins();
  harness.last().drops();
  for (let tries = 1; tries < 8; tries += 1) await hears(refused);
  assert.ok(!harness.types().includes('refused'));
  await hears({ ...harness.joined, peer: 'host' });
  assert.equal(harness.types().at(-1), 'resp-join');
  harness.last().drops();
  for (let tries = 1; tries <= 8; tries += 1) await hears(refused);
  assert.deepEqual(harness.events.at(-1), { type: 'refused', code: 'key-required' });
  assert.ok(harness.saved.get('den').left, 'a reload does not go in by itself');
});

test('frames that are not frames are passed over, and a ping is answered', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins();
  const before = harness.events.length;
  for (const junk of ['', '{', 'null', '[]', '{"type":7}', '"x"']) harness.last().says(junk);
  assert.equal(harness.events.length, before);
  harness.last().says({ type: 'ping' });
  assert.deepEqual(harness.last().sent.at(-1), { type: 'pong' });
});

test('in doubt the socket has a second to prove itself', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins();
  harness.signaling.checkConnection();
  await harness.clock.advance(900);
  harness.last().says({ type: 'pong' });
  await harness.clock.advance(1000);
  assert.equal(harness.sockets.length, 1);
  harness.signaling.checkConnection();
  await harness.clock.advance(1000);
  assert.equal(harness.sockets.length, 2);
});

test('a server that takes sockets and seats nobody is not hurried', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  harness.last().opens();
  await harness.clock.advance(10_000);
  assert.equal(harness.sockets.length, 2);
});

test('waking looks at once instead of waiting', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins();
  harness.last().drops();
  harness.signaling.checkConnection();
  assert.equal(harness.sockets.length, 2);
});

test('on the way back a socket that does not open is given up sooner, but gets longer with each try', async () => {
  const harness = makeHarness();
  harness.signaling.join('den');
  await harness.joins();
  harness.last().drops();
  await harness.clock.advance(500);
  assert.equal(harness.sockets.length, 2);
  await harness.clock.advance(3000);
  await harness.clock.advance(999);
  assert.equal(harness.sockets.length, 2, 'three seconds to open, and one until the next');
  await harness.clock.advance(1);
  assert.equal(harness.sockets.length, 3);
  await harness.clock.advance(6000);
  await harness.clock.advance(2000);
  assert.equal(harness.sockets.length, 4);
});

test('a page that is closed without an open socket says so with its token, and with one says nothing', async () => {
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
