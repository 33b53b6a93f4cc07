import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeSignaling } from '../../public/signaling/client.js';
import { FakeSocket, makeClock, settle } from './stage.js';

function stageOf({ token } = {}) {
  const clock = makeClock();
  const sockets = [];
  const heard = [];
  /** The seats of this tab by room: `{token, key, left}`. */
  const kept = new Map(token ? [['den', { token }]] : []);
  const beacons = [];
  const signaling = makeSignaling({
    beacon: (path, body) => beacons.push([path, body]), url: 'wss://box/ws', clock, random: () => 1, tell: (event) => heard.push(event),
    seat: {
      take: async (room) => kept.get(room), peek: async (room) => kept.get(room)?.token,
      keep: (room, token, key) => kept.set(room, { token, key }),
      leave: (room) => { if (kept.has(room)) kept.get(room).left = true; },
      forget: (room) => kept.delete(room),
    },
    open: () => {
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket;
    },
  });
  const seated = { type: 'resp-join', id: 'me', room: 'den', peer: null, iceServers: [], ttl: 60, resume: 't1', resumed: false };
  return {
    clock, sockets, heard, kept, beacons, signaling, seated,
    last: () => sockets.at(-1),
    async sit(frame = seated) {
      sockets.at(-1).opens();
      await settle();
      sockets.at(-1).says(frame);
    },
    types: () => heard.map((event) => event.type),
  };
}

test('a join says the room and keeps the token it is given', async () => {
  const stage = stageOf();
  stage.signaling.join('den', { key: 'k' });
  await stage.sit();
  assert.deepEqual(stage.last().sent[0], { type: 'join', room: 'den', key: 'k' });
  assert.equal(stage.kept.get('den').token, 't1');
  assert.deepEqual(stage.types(), ['socket', 'resp-join']);
});

test('who is inside is asked at the door, again and again, and the same socket joins', async () => {
  const stage = stageOf();
  const looks = () => stage.last().ofType('look').map((frame) => frame.room);
  stage.signaling.look('d');
  await stage.clock.advance(100);
  stage.signaling.look('den');
  await stage.clock.advance(1000);
  stage.last().opens();
  await settle();
  assert.deepEqual(looks(), ['den'], 'nothing while somebody types');
  stage.last().says({ type: 'room', room: 'den', seats: 1 });
  stage.last().says({ type: 'room', room: 'elsewhere', seats: 2 });
  assert.deepEqual(stage.heard.at(-1), { type: 'room', room: 'den', seats: 1 });
  await stage.clock.advance(5000);
  assert.deepEqual(looks(), ['den', 'den']);
  stage.last().says({ type: 'room', room: 'den', seats: 1 });
  stage.signaling.join('den');
  await settle();
  assert.equal(stage.sockets.length, 1);
  assert.deepEqual(stage.last().sent.at(-1), { type: 'join', room: 'den' });
  stage.last().says(stage.seated);
  await stage.clock.advance(5000);
  assert.equal(looks().length, 2, 'inside there is no need to look');
});

test('a server that does not answer a look is no trouble: another socket joins', async () => {
  const stage = stageOf();
  stage.signaling.look('den');
  await stage.clock.advance(300);
  stage.last().opens();
  await settle();
  await stage.clock.advance(2500);
  assert.equal(stage.sockets[0].closedWith, 1005);
  assert.deepEqual(stage.types(), ['room'], 'nobody at the door is told of sockets');
  stage.signaling.join('den');
  await stage.sit();
  assert.equal(stage.sockets.length, 2);
  assert.equal(stage.last().sent[0].type, 'join');
});

test('a dead socket at the door does not hold up a join for long', async () => {
  const stage = stageOf();
  stage.signaling.look('den');
  await stage.clock.advance(300);
  stage.last().opens();
  await settle();
  stage.last().says({ type: 'room', room: 'den', seats: 0 });
  stage.signaling.join('den');
  await stage.clock.advance(3000 + 500);
  assert.equal(stage.sockets.length, 2);
  await stage.sit();
  assert.equal(stage.last().sent[0].type, 'join');
});

test('a join that looks have made too dear is said again on another socket', async () => {
  const stage = stageOf();
  stage.signaling.look('den');
  await stage.clock.advance(300);
  stage.last().opens();
  await settle();
  stage.signaling.join('den');
  await settle();
  stage.last().says({ type: 'error', code: 'rate-limited', message: '' });
  assert.ok(!stage.types().includes('refused'));
  await stage.clock.advance(500);
  await stage.sit();
  assert.equal(stage.last().sent[0].type, 'join');
});

test('who looks no more, or joins, lets go of the door', async () => {
  const stage = stageOf();
  stage.signaling.look('den');
  await stage.clock.advance(300);
  stage.last().opens();
  await settle();
  stage.signaling.look(null);
  assert.equal(stage.sockets[0].closedWith, 1000);
  await stage.clock.advance(60_000);
  assert.equal(stage.sockets.length, 1);
});

test('a lost socket is replaced and the seat asked back', async () => {
  const stage = stageOf();
  stage.signaling.join('den');
  await stage.sit();
  stage.last().drops();
  await stage.clock.advance(500);
  assert.equal(stage.sockets.length, 2);
  await stage.sit({ ...stage.seated, resumed: true, resume: 't2' });
  assert.deepEqual(stage.last().sent[0], { type: 'join', room: 'den', resume: 't1' });
  assert.equal(stage.kept.get('den').token, 't2');
});

/** Loses the socket again and again: the next one is opened after each of these times, in milliseconds. */
async function waits(stage, times, lose = async () => stage.last().drops()) {
  for (const wait of times) {
    const before = stage.sockets.length;
    await lose(stage);
    await stage.clock.advance(wait - 1);
    assert.equal(stage.sockets.length, before, `not before ${wait}`);
    await stage.clock.advance(1);
    assert.equal(stage.sockets.length, before + 1, `at ${wait}`);
  }
}

test('waits double up to a quarter of a minute, and start afresh after a seat', async () => {
  const stage = stageOf();
  stage.signaling.join('den');
  await waits(stage, [500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
  await stage.sit();
  stage.last().drops();
  await stage.clock.advance(500);
  assert.equal(stage.sockets.length, 9);
});

test('on the way back into a call a server that is not reached is tried each four seconds at the latest, for a minute', async () => {
  const stage = stageOf();
  stage.signaling.join('den');
  await stage.sit();
  await waits(stage, [500, 1000, 2000, ...Array(13).fill(4000), 15_000]);
});

for (const [how, lose] of [
  ['turns everybody away', (stage) => stage.sit({ type: 'error', code: 'shutting-down', message: '' })],
  ['has had enough of us', async (stage) => stage.last().drops(1008)],
]) {
  test(`on the way back into a call a server that ${how} is left in peace`, async () => {
    const stage = stageOf();
    stage.signaling.join('den');
    await stage.sit();
    stage.last().drops();
    await stage.clock.advance(500);
    await waits(stage, [1000, 2000, 4000, 8000, 15_000], lose);
  });
}

test('a replaced seat is not fought for', async () => {
  const stage = stageOf();
  stage.signaling.join('den');
  await stage.sit();
  stage.last().drops(4001);
  await stage.clock.advance(120_000);
  assert.equal(stage.sockets.length, 1);
  assert.equal(stage.types().at(-1), 'replaced');
});

test('a ping goes out every five seconds, and silence ends the socket', async () => {
  const stage = stageOf();
  stage.signaling.join('den');
  await stage.sit();
  await stage.clock.advance(5000);
  stage.last().says({ type: 'pong' });
  await stage.clock.advance(5000);
  assert.equal(stage.last().ofType('ping').length, 2);
  await stage.clock.advance(2500);
  assert.equal(stage.sockets[0].closedWith !== null, true);
  assert.equal(stage.heard.at(-1).open, false);
  assert.equal(stage.sockets.length, 2, 'another is opened at once');
});

test('a socket that never opens is given up', async () => {
  const stage = stageOf();
  stage.signaling.join('den');
  await stage.clock.advance(10_500);
  assert.equal(stage.sockets.length, 2);
});

test('what is said while the socket is away waits for the same seat', async () => {
  const stage = stageOf();
  stage.signaling.join('den');
  await stage.sit();
  stage.last().drops();
  stage.signaling.send({ type: 'offer', target: 'you' });
  await stage.clock.advance(500);
  await stage.sit({ ...stage.seated, resumed: true });
  assert.equal(stage.last().ofType('offer').length, 1);
});

test('what was said from a seat that is gone is not said from the new one', async () => {
  const stage = stageOf();
  stage.signaling.join('den');
  await stage.sit();
  stage.last().drops();
  stage.signaling.send({ type: 'offer', target: 'you' });
  await stage.clock.advance(500);
  await stage.sit({ ...stage.seated, id: 'another' });
  assert.equal(stage.last().ofType('offer').length, 0);
});

test('a token the server does not know is forgotten and the join said again without it', async () => {
  const stage = stageOf({ token: 'old' });
  stage.signaling.join('den');
  await stage.sit({ type: 'error', code: 'bad-resume', message: '' });
  await settle();
  assert.deepEqual(stage.last().ofType('join'), [{ type: 'join', room: 'den', resume: 'old' }, { type: 'join', room: 'den' }]);
});

test('where a join with a token is refused for too many tries it is said again without it', async () => {
  const stage = stageOf({ token: 'old' });
  stage.signaling.join('den');
  await stage.sit({ type: 'error', code: 'rate-limited', message: '' });
  await settle();
  assert.deepEqual(stage.last().ofType('join'), [{ type: 'join', room: 'den', resume: 'old' }, { type: 'join', room: 'den' }]);
  stage.last().says({ type: 'error', code: 'rate-limited', message: '' });
  assert.deepEqual(stage.heard.at(-1), { type: 'refused', code: 'rate-limited' });
});

test('a look that is refused is not said again for a minute', async () => {
  const stage = stageOf();
  stage.signaling.look('den');
  await stage.clock.advance(300);
  stage.last().opens();
  await settle();
  stage.last().says({ type: 'error', code: 'rate-limited', message: '' });
  await stage.clock.advance(59_000);
  assert.equal(stage.last().ofType('look').length, 1);
  await stage.clock.advance(1000);
  await settle();
  assert.equal(stage.sockets.flatMap((socket) => socket.ofType('look')).length, 2);
});

for (const code of ['room-full', 'bad-room', 'key-required', 'rate-limited']) {
  test(`${code} ends the asking`, async () => {
    const stage = stageOf();
    stage.signaling.join('den');
    await stage.sit({ type: 'error', code, message: '' });
    assert.deepEqual(stage.heard.at(-1), { type: 'refused', code });
    await stage.clock.advance(60_000);
    assert.equal(stage.sockets.length, 1);
  });
}

test('a server that is shutting down is asked again later', async () => {
  const stage = stageOf();
  stage.signaling.join('den');
  await stage.sit({ type: 'error', code: 'shutting-down', message: '' });
  await stage.clock.advance(1000);
  assert.equal(stage.sockets.length, 2);
});

test('leaving says so, forgets the seat once that was heard, and stays away', async () => {
  const stage = stageOf();
  stage.signaling.join('den');
  await stage.sit();
  stage.signaling.leave();
  assert.equal(stage.last().ofType('leave').length, 1);
  assert.ok(stage.kept.get('den').left);
  stage.last().drops(1000, true);
  assert.equal(stage.kept.has('den'), false);
  await stage.clock.advance(60_000);
  assert.equal(stage.sockets.length, 1);
});

test('who leaves while the socket is away, or dead without our knowing, calls again with the seat that is still kept', async () => {
  for (const dead of [false, true]) {
    const stage = stageOf();
    stage.signaling.join('den');
    await stage.sit();
    if (!dead) stage.last().drops();
    stage.signaling.leave();
    if (dead) stage.last().drops(1006, false);
    stage.signaling.join('den');
    await stage.sit({ ...stage.seated, resumed: true });
    assert.equal(stage.last().sent[0].resume, 't1');
    assert.ok(!stage.kept.get('den').left);
  }
});

test('a farewell that is heard late does not lose the seat of who has called again', async () => {
  const stage = stageOf();
  stage.signaling.join('den');
  await stage.sit();
  const first = stage.last();
  stage.signaling.leave();
  stage.signaling.join('den');
  await stage.sit({ ...stage.seated, resumed: true });
  first.drops(1000, true);
  assert.equal(stage.kept.get('den').token, 't1');
});

test('at the door our own seat is not counted among the others', async () => {
  const stage = stageOf({ token: 'old' });
  stage.signaling.look('den');
  await stage.clock.advance(300);
  stage.last().opens();
  await settle();
  assert.deepEqual(stage.last().sent, [{ type: 'look', room: 'den', resume: 'old' }]);
});

test('the host key is said again on the way back, also after a reload', async () => {
  const stage = stageOf();
  stage.signaling.join('den', { key: 'sesame' });
  await stage.sit();
  stage.last().drops();
  await stage.clock.advance(500);
  await stage.sit({ ...stage.seated, resume: 't2' });
  const again = { type: 'join', room: 'den', resume: 't1', key: 'sesame' };
  assert.deepEqual(stage.last().sent[0], again);
  assert.equal(stage.kept.get('den').key, 'sesame');

  const reloaded = stageOf({ token: 't1' });
  reloaded.kept.get('den').key = 'sesame';
  reloaded.signaling.join('den');
  await reloaded.sit();
  assert.deepEqual(reloaded.last().sent[0], again);
  assert.equal(reloaded.kept.get('den').key, 'sesame');
});

test('a guest who is back before the host asks again for a while, and comes in after them', async () => {
  const stage = stageOf();
  const refused = { type: 'error', code: 'key-required', message: '' };
  const hears = async (frame) => {
    for (const before = stage.sockets.length; stage.sockets.length === before;) await stage.clock.advance(250);
    await stage.sit(frame);
  };
  stage.signaling.join('den');
  await stage.sit();
  stage.last().drops();
  for (let tries = 1; tries < 8; tries += 1) await hears(refused);
  assert.ok(!stage.types().includes('refused'));
  await hears({ ...stage.seated, peer: 'host' });
  assert.equal(stage.types().at(-1), 'resp-join');
  stage.last().drops();
  for (let tries = 1; tries <= 8; tries += 1) await hears(refused);
  assert.deepEqual(stage.heard.at(-1), { type: 'refused', code: 'key-required' });
  assert.ok(stage.kept.get('den').left, 'a reload does not go in by itself');
});

test('frames that are not frames are passed over, and a ping is answered', async () => {
  const stage = stageOf();
  stage.signaling.join('den');
  await stage.sit();
  const before = stage.heard.length;
  for (const junk of ['', '{', 'null', '[]', '{"type":7}', '"x"']) stage.last().says(junk);
  assert.equal(stage.heard.length, before);
  stage.last().says({ type: 'ping' });
  assert.deepEqual(stage.last().sent.at(-1), { type: 'pong' });
});

test('in doubt the socket has a second to prove itself', async () => {
  const stage = stageOf();
  stage.signaling.join('den');
  await stage.sit();
  stage.signaling.wake();
  await stage.clock.advance(900);
  stage.last().says({ type: 'pong' });
  await stage.clock.advance(1000);
  assert.equal(stage.sockets.length, 1);
  stage.signaling.wake();
  await stage.clock.advance(1000);
  assert.equal(stage.sockets.length, 2);
});

test('a server that takes sockets and seats nobody is not hurried', async () => {
  const stage = stageOf();
  stage.signaling.join('den');
  stage.last().opens();
  await stage.clock.advance(10_000);
  assert.equal(stage.sockets.length, 2);
});

test('waking looks at once instead of waiting', async () => {
  const stage = stageOf();
  stage.signaling.join('den');
  await stage.sit();
  stage.last().drops();
  stage.signaling.wake();
  assert.equal(stage.sockets.length, 2);
});

test('on the way back a socket that does not open is given up sooner, but gets longer with each try', async () => {
  const stage = stageOf();
  stage.signaling.join('den');
  await stage.sit();
  stage.last().drops();
  await stage.clock.advance(500);
  assert.equal(stage.sockets.length, 2);
  await stage.clock.advance(3000);
  await stage.clock.advance(999);
  assert.equal(stage.sockets.length, 2, 'three seconds to open, and one until the next');
  await stage.clock.advance(1);
  assert.equal(stage.sockets.length, 3);
  await stage.clock.advance(6000);
  await stage.clock.advance(2000);
  assert.equal(stage.sockets.length, 4);
});

test('a page that is closed without an open socket says so with its token, and with one says nothing', async () => {
  const stage = stageOf();
  stage.signaling.join('den');
  stage.signaling.closing();
  stage.last().opens();
  await stage.sit();
  stage.signaling.closing();
  assert.deepEqual(stage.beacons, []);
  stage.last().drops();
  stage.signaling.closing();
  assert.deepEqual(stage.beacons, [['/leave', 't1']]);
});
