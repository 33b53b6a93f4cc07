import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SignalingClient } from '../../../public/signaling/client.js';
import { isOwnHost, Redirects, redirectHost } from '../../../public/signaling/redirect.js';
import { FakeSocket, makeClock, settle } from '../harness/fakes.js';

const HOSTNAME = 'call.example';
const redirect = (box, fence = 7) => ({ type: 'redirect', url: `wss://${box}.call.example/ws`, room: 'den', fence });
const joined = { type: 'resp-join', id: 'me', room: 'den', peer: 'you', iceServers: [], ttl: 60, resume: 't1', resumed: false,
  nodes: ['b2.call.example', 'b1.call.example', 'b3.call.example'] };

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
      take: async (room) => saved.get(room), peek: async (room) => saved.get(room)?.token, nodes: (room) => (saved.get(room)?.left ? undefined : saved.get(room)?.nodes), isElsewhere: async () => false,
      save: (room, token, seat) => saved.set(room, { token, ...seat }), release: (room) => { if (saved.has(room)) saved.get(room).left = true; }, forget: (room) => saved.delete(room),
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

test('once a server is lost, the others are asked every 0.5 s until one of them has the room', async () => {
  const { clock, hosts, last, opens, sendsTo, joinsElsewhere } = makeHarness();
  await joinsElsewhere();
  last().drops();
  await clock.advance(500);
  assert.deepEqual(hosts.slice(2), ['b2.call.example'], 'the network may have been at fault');
  last().drops();
  assert.deepEqual(hosts.slice(3), ['own'], 'at once');
  // The lease of the lost one lasts for three seconds.
  for (let lost = 0; lost < 3; lost += 1) {
    await opens();
    await sendsTo(redirect('b2', 7));
    assert.equal(hosts.at(-1), 'own', 'not at once');
    await clock.advance(500);
    assert.equal(hosts.at(-1), 'b2.call.example');
    last().drops();
    assert.equal(hosts.at(-1), 'own');
  }
  await opens();
  const [join] = last().ofType('join');
  assert.deepEqual([join.resume, join.fence], ['t1', undefined]);
});

test('beside a server that does not open the own host is tried, then the others', async () => {
  const { clock, hosts, sockets, last, opens, joinsElsewhere } = makeHarness();
  await joinsElsewhere();
  last().drops();
  await clock.advance(500);
  const expected = ['b2.call.example', 'own', 'b1.call.example', 'b3.call.example'];
  for (let seconds = 0; seconds < 4; seconds += 1) {
    assert.deepEqual(hosts.slice(2), expected.slice(0, seconds + 1), `after ${seconds} s`);
    await clock.advance(1000);
  }
  const before = sockets.slice(2, -1);
  await opens();
  assert.ok(before.every(({ closedWith }) => closedWith !== null), 'the others are closed');
  assert.equal(last().ofType('join')[0].resume, 't1');
  before[0].opens();
  assert.equal(before[0].sent.length, 0);
});

test('a redirect to a server that has just not opened is followed, with the next one beside it', async () => {
  const { clock, hosts, last, opens, sendsTo, joinsElsewhere } = makeHarness();
  await joinsElsewhere();
  last().drops();
  await clock.advance(2500);
  assert.deepEqual(hosts.slice(2), ['b2.call.example', 'own', 'b1.call.example']);
  await opens();
  await sendsTo(redirect('b2'));
  await clock.advance(1500);
  assert.deepEqual(hosts.slice(5), ['b2.call.example', 'b1.call.example'], 'those that are late come last');
  await opens();
  last().receives({ ...joined, resumed: true });
  last().drops();
  await clock.advance(1500);
  assert.deepEqual(hosts.slice(7), ['b2.call.example', 'own'], 'a seat ends what was known of them');
});

test('a server that is late again and again gets more time', async () => {
  const { clock, hosts, last, opens, sendsTo, joinsElsewhere } = makeHarness();
  await joinsElsewhere();
  last().drops();
  await clock.advance(2500);
  for (let seconds = 1; seconds <= 3; seconds += 1) {
    await opens();
    await sendsTo(redirect('b2'));
    await clock.advance(500 + seconds * 1000 - 1);
    assert.equal(hosts.at(-1), 'b2.call.example', `${seconds} s`);
    await clock.advance(1);
    assert.equal(hosts.at(-1), 'b1.call.example');
  }
});

test('a page that has just been redirected to a server begins again elsewhere if it does not open', async () => {
  const { clock, hosts, last, opens, sendsTo, signaling } = makeHarness();
  signaling.join('den');
  await opens();
  await sendsTo(redirect('b2'));
  await clock.advance(2499);
  assert.deepEqual(hosts, ['own', 'b2.call.example'], 'it may be slow because many arrive');
  await clock.advance(1);
  assert.deepEqual(hosts, ['own', 'b2.call.example', 'own']);
  await opens();
  assert.equal(last().ofType('join')[0].fence, undefined, 'another server than that of the redirect');
});

test('where the network is down two sockets are opened at a time', async () => {
  const { clock, hosts, last, joinsElsewhere } = makeHarness();
  await joinsElsewhere();
  last().drops();
  for (let attempt = 0; attempt < 3; attempt += 1) {
    const before = hosts.length;
    await clock.advance(750);
    last().drops();
    last().drops();
    assert.deepEqual(hosts.slice(before), ['b2.call.example', 'own']);
  }
});

test('only servers of the site are learned, and eight at most', () => {
  const redirects = new Redirects(() => HOSTNAME);
  redirects.learn(['evil.example', 'call.example', 'xcall.example', null, 7, 'b1.call.example', 'b2.call.example:8443', 'B3.call.example/']);
  assert.deepEqual(redirects.hosts, ['b1.call.example', undefined, 'b2.call.example:8443']);
  for (const none of [undefined, null, 'b4.call.example', {}]) redirects.learn(none);
  assert.equal(redirects.nodes.length, 2);
  redirects.learn(Array.from({ length: 20 }, (_, index) => `b${index}.call.example`));
  assert.equal(redirects.nodes.length, 8);
});

test('a page that is loaded again knows the servers, and begins with that of its seat', async () => {
  const first = makeHarness();
  await first.joinsElsewhere();
  assert.deepEqual(first.saved.get('den').nodes, joined.nodes);
  const { hosts, clock, saved, signaling, opens, last } = makeHarness();
  saved.set('den', first.saved.get('den'));
  signaling.join('den');
  await clock.advance(1000);
  assert.deepEqual(hosts, ['b2.call.example', 'own']);
  await opens();
  assert.equal(last().ofType('join')[0].resume, 't1');
});

test('a full room at another server does not end a call before its own server was asked', async () => {
  const { clock, hosts, last, opens, events, joinsElsewhere } = makeHarness();
  await joinsElsewhere();
  last().drops();
  await clock.advance(500);
  for (let refusals = 1; refusals <= 2; refusals += 1) {
    last().drops();
    assert.equal(hosts.at(-1), 'own');
    await opens();
    last().receives({ type: 'error', code: 'room-full', message: '' });
    const before = hosts.length;
    await clock.advance(2000);
    assert.equal(hosts[before], 'b2.call.example');
  }
  last().drops();
  await opens();
  last().receives({ type: 'error', code: 'room-full', message: '' });
  assert.deepEqual(events.at(-1), { type: 'refused', code: 'room-full' });
});

test('a closing page without a socket tells the server that has its seat', async () => {
  const { beacons, last, signaling, joinsElsewhere } = makeHarness();
  await joinsElsewhere();
  last().drops();
  signaling.pageClosing();
  assert.deepEqual(beacons, ['https://b2.call.example/leave']);
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
