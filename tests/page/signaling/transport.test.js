import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Transport } from '../../../public/signaling/transport.js';
import { FakeSocket, makeClock, settle } from '../harness/fakes.js';

function makeHarness({ hasWebSocket = true, loads = true } = {}) {
  const clock = makeClock();
  const webSockets = [];
  const pollings = [];
  const addresses = [];
  const openInto = (list) => (address) => {
    if (address) addresses.push(address);
    const socket = new FakeSocket();
    list.push(socket);
    return socket;
  };
  const newWebSocket = hasWebSocket ? openInto(webSockets) : () => { throw new Error('turned off'); };
  const loadPolling = loads ? async () => (host) => openInto(pollings)(host && `polling ${host}`) : async () => { throw new Error('not loaded'); };
  const transport = new Transport({ location: { protocol: 'https:', host: 'box', hostname: 'box' }, clock, now: clock.now, newWebSocket, loadPolling });
  return {
    clock, webSockets, pollings, addresses,
    open(host) {
      const socket = transport.open(host);
      const seen = [];
      socket.onopen = () => seen.push('open');
      socket.onmessage = ({ data }) => seen.push(data);
      socket.onclose = ({ code }) => seen.push(code);
      return { socket, seen };
    },
    /** Two WebSockets fail, and the requests that are tried then open a socket. */
    async learnsPolling() {
      for (let n = 0; n < 2; n += 1) {
        this.open();
        webSockets.at(-1).drops();
      }
      await settle();
      pollings.at(-1).opens();
    },
  };
}

test('another host of several servers is reached either way', async () => {
  const { open, webSockets, addresses } = makeHarness();
  open('b2.box:8443');
  webSockets[0].drops();
  open('b2.box:8443');
  webSockets[1].drops();
  await settle();
  assert.deepEqual(addresses, ['wss://b2.box:8443/ws', 'wss://b2.box:8443/ws', 'polling b2.box:8443']);
});

test('a WebSocket that opens is used, and nothing else is loaded', async () => {
  const { open, webSockets, pollings, clock, addresses } = makeHarness();
  const { socket, seen } = open();
  assert.deepEqual([socket.readyState, socket.way], [0, null]);
  webSockets[0].opens();
  assert.deepEqual([addresses, socket.way], [['wss://box/ws'], 'websocket']);
  socket.send('{"type":"ping"}');
  webSockets[0].receives('hello');
  webSockets[0].drops(1012);
  assert.deepEqual(seen, ['open', 'hello', 1012]);
  assert.deepEqual(webSockets[0].sent, [{ type: 'ping' }]);
  await clock.advance(60_000);
  assert.equal(pollings.length, 0);
});

test('a WebSocket that has not opened for 3 s gets company', async () => {
  const { open, webSockets, pollings, clock } = makeHarness();
  const { socket, seen } = open();
  await clock.advance(2999);
  assert.equal(pollings.length, 0);
  await clock.advance(1);
  pollings[0].opens();
  assert.deepEqual(seen, []);
  await clock.advance(250);
  assert.deepEqual([seen, socket.way], [['open'], 'polling']);
  socket.close(1000);
  assert.deepEqual([pollings[0].closedWith, webSockets[0].closedWith], [1000, 1005]);
});

test('a WebSocket that opens after the requests were chosen is announced, and the next socket is one', async () => {
  for (const opens of [true, false]) {
    const harness = makeHarness();
    await harness.learnsPolling();
    const { socket, seen } = harness.open();
    socket.onupgrade = () => seen.push('upgrade');
    await settle();
    harness.pollings.at(-1).opens();
    await harness.clock.advance(5000);
    const late = harness.webSockets.at(-1);
    if (opens) late.opens();
    else late.drops();
    assert.deepEqual([seen, socket.way, socket.readyState], [opens ? ['open', 'upgrade'] : ['open'], 'polling', 1]);
    assert.equal(late.readyState, 3);
    const before = harness.pollings.length;
    const next = harness.open();
    await settle();
    harness.webSockets.at(-1).opens();
    assert.deepEqual([harness.pollings.length - before, next.socket.way], [opens ? 0 : 1, 'websocket']);
  }
});

test('the end of the requests ends the WebSocket that is still opening', async () => {
  const harness = makeHarness();
  await harness.learnsPolling();
  const { seen } = harness.open();
  await settle();
  harness.pollings.at(-1).opens();
  await harness.clock.advance(250);
  harness.pollings.at(-1).drops(1012);
  assert.deepEqual([seen, harness.webSockets.at(-1).closedWith], [['open', 1012], 1005]);
});

test('the 3 s run on while a new socket takes the place of one that is late', async () => {
  const { open, pollings, clock } = makeHarness();
  const first = open();
  await clock.advance(2500);
  first.socket.close();
  const second = open();
  await clock.advance(500);
  pollings[0].opens();
  await clock.advance(250);
  assert.deepEqual([first.seen, second.seen], [[], ['open']]);
});

test('the first failure is reported at once, the second one waits for the requests', async () => {
  const { open, webSockets, pollings } = makeHarness();
  const first = open();
  webSockets[0].drops();
  assert.deepEqual(first.seen, [1006]);
  const second = open();
  webSockets[1].drops();
  await settle();
  assert.deepEqual(second.seen, []);
  pollings[0].opens();
  assert.deepEqual(second.seen, ['open']);
});

test('a server that cannot be reached fails as it did without the requests', async () => {
  for (const loads of [true, false]) {
    const { open, webSockets, pollings } = makeHarness({ loads });
    for (let n = 0; n < 4; n += 1) {
      const { seen } = open();
      await settle();
      if (n < 3) webSockets.at(-1).drops();
      await settle();
      pollings.at(-1)?.drops(1013);
      // The requests may fail first.
      if (n === 3) webSockets.at(-1).drops();
      assert.deepEqual(seen, [n < 3 && n > 0 && loads ? 1013 : 1006]);
    }
  }
});

test('once the requests were needed, both ways start at once', async () => {
  const harness = makeHarness();
  await harness.learnsPolling();
  const { seen } = harness.open();
  await settle();
  harness.pollings.at(-1).opens();
  assert.deepEqual(seen, [], 'the WebSocket has a head start');
  harness.webSockets.at(-1).drops();
  assert.deepEqual(seen, ['open'], 'and no more once it has failed');
});

test('a WebSocket that opens again is preferred, and from then on alone', async () => {
  const harness = makeHarness();
  await harness.learnsPolling();
  const { seen } = harness.open();
  await settle();
  harness.pollings.at(-1).opens();
  await harness.clock.advance(200);
  harness.webSockets.at(-1).opens();
  assert.deepEqual(seen, ['open']);
  assert.equal(harness.pollings.at(-1).closedWith, 1005);
  const before = harness.pollings.length;
  harness.open();
  await harness.clock.advance(2999);
  assert.equal(harness.pollings.length, before);
});

test('the head start grows with the time of the requests, up to 1 s', async () => {
  const harness = makeHarness();
  await harness.learnsPolling();
  const { seen } = harness.open();
  await harness.clock.advance(600);
  harness.pollings.at(-1).opens();
  await harness.clock.advance(999);
  assert.deepEqual(seen, []);
  await harness.clock.advance(1);
  assert.deepEqual(seen, ['open']);
});

test('a browser without WebSocket uses the requests at once', async () => {
  const { open, pollings } = makeHarness({ hasWebSocket: false });
  const { seen } = open();
  await settle();
  pollings[0].opens();
  assert.deepEqual(seen, ['open']);
});

test('a socket closed before it opens closes both ways', async () => {
  const harness = makeHarness();
  await harness.learnsPolling();
  const { socket, seen } = harness.open();
  await settle();
  harness.pollings.at(-1).opens();
  socket.close();
  assert.deepEqual([harness.pollings.at(-1).closedWith, harness.webSockets.at(-1).closedWith, socket.readyState], [1005, 1005, 3]);
  await harness.clock.advance(1000);
  assert.deepEqual(seen, []);
});
