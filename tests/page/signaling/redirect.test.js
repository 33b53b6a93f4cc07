import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SignalingClient } from '../../../public/signaling/client.js';
import { isOwnHost, Redirects, redirectHost } from '../../../public/signaling/redirect.js';
import { FakeSocket, makeClock, settle } from '../harness/fakes.js';

const HOSTNAME = 'call.example';
const redirect = (box, fence = 7) => ({ type: 'redirect', url: `wss://${box}.call.example/ws`, room: 'den', fence });
const joined = { type: 'resp-join', id: 'me', room: 'den', peer: 'you', iceServers: [], ttl: 60, resume: 't1', resumed: false };

/** `hosts`: where each socket connects to, `own` for the page's own host. */
function makeHarness() {
  const clock = makeClock();
  const sockets = [];
  const hosts = [];
  const events = [];
  const beacons = [];
  const saved = new Map();
  const signaling = new SignalingClient({
    beacon: (url) => beacons.push(url), clock, random: () => 1, emit: (event) => events.push(event), hostname: () => HOSTNAME,
    resumeTokens: {
      take: async (room) => saved.get(room), peek: async (room) => saved.get(room)?.token, isElsewhere: async () => false,
      save: (room, token, key) => saved.set(room, { token, key }), release() {}, forget: (room) => saved.delete(room),
    },
    open: (host = 'own') => {
      hosts.push(host);
      sockets.push(new FakeSocket());
      return sockets.at(-1);
    },
  });
  const last = () => sockets.at(-1);
  const opens = () => {
    last().opens();
    return settle();
  };
  /** The server names another one, and closes the socket. */
  const sendsTo = async (message) => {
    const socket = last();
    socket.receives(message);
    socket.drops(4002, true);
    await clock.advance(0);
    await settle();
  };
  const types = () => events.map((event) => event.type);
  const joinsElsewhere = async () => {
    signaling.join('den');
    await opens();
    await sendsTo(redirect('b2'));
    await opens();
    last().receives(joined);
  };
  return { clock, sockets, hosts, events, beacons, saved, signaling, last, opens, sendsTo, types, joinsElsewhere };
}

test('a redirect names a server of the site, by an encrypted WebSocket', () => {
  assert.equal(redirectHost('wss://b1.call.example/ws', HOSTNAME), 'b1.call.example');
  assert.equal(redirectHost('wss://b1.call.example:8443/ws', HOSTNAME), 'b1.call.example:8443');
  assert.equal(redirectHost('wss://call.example/ws', HOSTNAME), 'call.example');
  assert.equal(redirectHost('WSS://B1.CALL.EXAMPLE/ws', HOSTNAME), 'b1.call.example');
  for (const url of [
    'wss://evil.example/ws', 'wss://call.example.evil.example/ws', 'wss://xcall.example/ws', 'wss://example/ws',
    'ws://b1.call.example/ws', 'https://b1.call.example/ws', 'wss://b1.call.example/', 'wss://b1.call.example/ws?x=1',
    'wss://b1.call.example/ws#x', 'wss://user@b1.call.example/ws', 'wss://b1.call.example@evil.example/ws', '//b1.call.example/ws',
    '/ws', '', null, undefined, 7, {}, 'wss://',
  ]) assert.equal(redirectHost(url, HOSTNAME), null, String(url));
});

test('a server that names itself must be one of the site', () => {
  for (const host of ['b1.call.example', 'b1.call.example:8443', 'a.b.call.example']) assert.ok(isOwnHost(host, HOSTNAME), host);
  for (const host of ['evil.example', 'xcall.example', 'b1.call.example/', 'b1.call.example:', 'u@b1.call.example', '', null, undefined, {}]) {
    assert.ok(!isOwnHost(host, HOSTNAME), String(host));
  }
});

test('a fence that is no positive number is not sent', () => {
  for (const fence of [0, -1, 1.5, '7', null, undefined, 2 ** 60]) {
    const redirects = new Redirects(() => HOSTNAME);
    assert.equal(redirects.follow({ ...redirect('b2'), fence }), 0);
    assert.deepEqual(redirects.proof(), {});
  }
});

test('a join follows a redirect and shows its fence', async () => {
  const { hosts, sockets, last, types, joinsElsewhere } = makeHarness();
  await joinsElsewhere();
  assert.deepEqual(hosts, ['own', 'b2.call.example']);
  assert.deepEqual(last().ofType('join'), [{ type: 'join', room: 'den', features: ['data-channels'], fence: 7, wait: true }]);
  assert.ok(sockets[0].closedWith !== null);
  assert.deepEqual(types(), ['socket', 'resp-join'], 'the redirect is not seen outside');
});

test('a redirect in a call keeps seat, token and messages', async () => {
  const { hosts, events, last, opens, sendsTo, signaling, joinsElsewhere } = makeHarness();
  await joinsElsewhere();
  await sendsTo(redirect('b3', 8));
  assert.deepEqual(events.at(-1), { type: 'socket', open: false });
  signaling.send({ type: 'offer', target: 'you', sdp: {} });
  await opens();
  assert.equal(hosts.at(-1), 'b3.call.example');
  const [join] = last().ofType('join');
  assert.deepEqual([join.resume, join.fence], ['t1', 8]);
  last().receives({ ...joined, resume: 't2', resumed: true });
  assert.equal(last().ofType('offer').length, 1, 'what waited is sent');
  assert.ok(!events.some((event) => event.type === 'refused'));
});

test('a redirect to a foreign host is not followed', async () => {
  for (const url of ['wss://evil.example/ws', 'ws://b2.call.example/ws', 'javascript:alert(1)']) {
    const { clock, hosts, opens, sendsTo, signaling } = makeHarness();
    signaling.join('den');
    await opens();
    await sendsTo({ ...redirect('b2'), url });
    assert.deepEqual(hosts, ['own'], 'not at once');
    await clock.advance(1000);
    assert.deepEqual(hosts, ['own', 'own']);
  }
});

test('after three redirects in a row there is a pause', async () => {
  const { clock, hosts, opens, sendsTo, signaling } = makeHarness();
  signaling.join('den');
  for (const box of ['b2', 'b3', 'b2', 'b3']) {
    await opens();
    await sendsTo(redirect(box));
  }
  assert.deepEqual(hosts, ['own', 'b2.call.example', 'b3.call.example', 'b2.call.example']);
  await clock.advance(999);
  assert.equal(hosts.length, 4);
  await clock.advance(1);
  assert.deepEqual(hosts.slice(4), ['own']);
  await opens();
  await sendsTo(redirect('b3'));
  assert.deepEqual(hosts.slice(5), ['b3.call.example'], 'they count from the beginning');
});

test('an answer ends the row of redirects', async () => {
  const { hosts, sendsTo, opens, last, joinsElsewhere } = makeHarness();
  await joinsElsewhere();
  for (const box of ['b3', 'b2', 'b3', 'b2']) {
    await sendsTo(redirect(box));
    await opens();
    last().receives(joined);
  }
  assert.equal(hosts.length, 6);
});

test('once a server is lost, the own host is asked every 0.75 s', async () => {
  const { clock, hosts, last, opens, sendsTo, joinsElsewhere } = makeHarness();
  await joinsElsewhere();
  last().drops();
  await clock.advance(500);
  assert.deepEqual(hosts.slice(2), ['own']);
  // The lease of the lost one lasts for three seconds.
  for (let lost = 0; lost < 3; lost += 1) {
    await opens();
    await sendsTo(redirect('b2', 7));
    assert.equal(hosts.at(-1), 'b2.call.example');
    last().drops();
    await clock.advance(750);
    assert.equal(hosts.at(-1), 'own');
  }
  await opens();
  const [join] = last().ofType('join');
  assert.deepEqual([join.resume, join.fence], ['t1', undefined]);
});

test('a server that does not answer is given up for the own host', async () => {
  const { clock, hosts, last, opens, sendsTo, joinsElsewhere } = makeHarness();
  await joinsElsewhere();
  last().drops();
  await clock.advance(500);
  await opens();
  await sendsTo(redirect('b2'));
  await clock.advance(2500);
  assert.deepEqual(hosts.slice(2), ['own', 'b2.call.example', 'own'], 'beside the one that is late');
  await opens();
  assert.equal(last().ofType('join').length, 1);
});

test('a look is answered by a redirect, and the join uses its socket', async () => {
  const { clock, hosts, last, opens, sendsTo, signaling, events } = makeHarness();
  signaling.peek('den');
  await clock.advance(300);
  await opens();
  await sendsTo(redirect('b2'));
  await opens();
  assert.deepEqual(last().ofType('look'), [{ type: 'look', room: 'den' }]);
  last().receives({ type: 'room', room: 'den', seats: 1 });
  assert.deepEqual(events.at(-1), { type: 'room', room: 'den', seats: 1 });
  signaling.join('den');
  await settle();
  assert.deepEqual(hosts, ['own', 'b2.call.example']);
  assert.equal(last().ofType('join').length, 1);
});

test('the lobby asks the own host once the server with the room is lost', async () => {
  const { clock, hosts, last, opens, sendsTo, signaling } = makeHarness();
  signaling.peek('den');
  await clock.advance(300);
  await opens();
  await sendsTo(redirect('b2'));
  await opens();
  last().receives({ type: 'room', room: 'den', seats: 1 });
  last().drops();
  await clock.advance(5000);
  assert.deepEqual(hosts, ['own', 'b2.call.example', 'own']);
});

test('a page that closes tells the server that had its seat', async () => {
  const { beacons, sendsTo, signaling, joinsElsewhere } = makeHarness();
  await joinsElsewhere();
  await sendsTo(redirect('b3'));
  signaling.pageClosing();
  assert.deepEqual(beacons, ['https://b3.call.example/leave']);
});

test('who leaves begins with the own host again', async () => {
  const { clock, hosts, signaling, joinsElsewhere } = makeHarness();
  await joinsElsewhere();
  signaling.leave();
  signaling.join('den');
  await clock.advance(0);
  assert.equal(hosts.at(-1), 'own');
});

test('a join whose owner is not known yet is repeated', async () => {
  const { clock, hosts, last, opens, signaling, events } = makeHarness();
  signaling.join('den');
  await opens();
  last().receives({ type: 'error', code: 'try-later', message: '', retry: 1 });
  assert.ok(!events.some((event) => event.type === 'refused'));
  await clock.advance(1000);
  assert.deepEqual(hosts, ['own', 'own']);
  await opens();
  last().receives({ type: 'error', code: 'try-later', message: '' });
  assert.deepEqual(events.at(-1), { type: 'refused', code: 'try-later' }, 'too many wait in front of the room');
});
