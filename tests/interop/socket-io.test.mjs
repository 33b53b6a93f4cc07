// Clients of Socket.IO from npm against the program: versions 3 and 4 with each transport, version 2 refused, and clients that do
// not behave.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import https from 'node:https';
import path from 'node:path';
import test, { after } from 'node:test';
import { io as io4 } from 'socket.io-client';
import io2 from 'socket.io-client-2';
import io3 from 'socket.io-client-3';
import { createCertificateAuthority } from '../browser/lib/certificate-authority.mjs';
import { startServer } from '../browser/lib/server.mjs';
import { waitFor } from '../browser/lib/wait.mjs';
import { createWorkDir } from '../browser/lib/workspace.mjs';

const FOREIGN_ORIGIN = 'https://friend.example';

const dir = await createWorkDir('interop-socket-io');
const authority = await createCertificateAuthority(path.join(dir, 'authority'));
const ca = await readFile(authority.ca);
const server = await startServer({ dir: path.join(dir, 'server'), authority, flags: ['--allowed-origin', FOREIGN_ORIGIN] });
after(() => server.stop());
const agent = new https.Agent({ ca, keepAlive: true });
after(() => agent.destroy());

const CLIENTS = { 'socket.io-client 3': io3.io ?? io3, 'socket.io-client 4': io4 };
const TRANSPORTS = [['polling'], ['websocket'], ['polling', 'websocket']];

let rooms = 0;
const newRoom = () => `interop-${(rooms += 1)}`;

/** The open clients of the current test. */
const clients = new Set();
after(() => clients.forEach((client) => client.close()));

/** A client that records the arguments of each event. */
function connect(io, transports, { origin = server.origin, ...options } = {}) {
  const socket = io(origin, { transports, ca, forceNew: true, reconnection: false, ...options });
  clients.add(socket);
  const events = [];
  for (const name of ['resp-join', 'new-peer', 'peer-leave', 'offer', 'answer', 'candidate', 'ice-servers', 'error', 'disconnect',
    'connect', 'connect_error']) {
    socket.on(name, (...args) => events.push([name, ...args]));
  }
  return {
    socket,
    events,
    emit: (...args) => socket.emit(...args),
    /** Takes the oldest event `name`. */
    next: (name) => waitFor(`the event ${name} among ${JSON.stringify(events)}`, () => {
      const at = events.findIndex(([kind]) => kind === name);
      return at >= 0 && events.splice(at, 1)[0].slice(1);
    }, 20_000),
    close() {
      socket.close();
      clients.delete(socket);
    },
  };
}

/** One HTTP request. */
function request(method, target, { body, headers = {}, agent: usedAgent = agent } = {}) {
  return new Promise((resolve, reject) => {
    const sent = https.request(`${server.origin}${target}`, { method, agent: usedAgent, headers, ca }, (reply) => {
      const parts = [];
      reply.on('data', (part) => parts.push(part));
      reply.on('end', () => resolve({ status: reply.statusCode, headers: reply.headers, body: Buffer.concat(parts).toString() }));
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

const POLL = '/socket.io/?EIO=4&transport=polling';

/** A session over HTTP, packet by packet. */
async function openSession() {
  const { body } = await request('GET', POLL);
  const { sid } = JSON.parse(body.slice(1));
  return {
    send: (body, options) => request('POST', `${POLL}&sid=${sid}`, { body, headers: { 'content-type': 'text/plain' }, ...options }),
    poll: async () => {
      const reply = await request('GET', `${POLL}&sid=${sid}`);
      return reply.status === 200 ? reply.body.split('\x1e') : reply.status;
    },
  };
}

for (const [name, io] of Object.entries(CLIENTS)) {
  for (const transports of TRANSPORTS) {
    test(`${name} over ${transports.join(', then ')} exchanges the eight events`, async () => {
      const room = newRoom();
      const first = connect(io, transports);
      first.emit('join', room);
      const [alone] = await first.next('ice-servers');
      assert.deepEqual(Object.keys(alone), ['iceServers', 'ttl', 'resume']);
      const second = connect(io, transports);
      second.emit('join', room);
      const [firstId, servers] = await second.next('resp-join');
      assert.ok(servers.iceServers.length && servers.ttl && servers.resume);
      const [secondId] = await first.next('new-peer');

      second.emit('offer', { target: firstId, sdp: { type: 'offer', sdp: 'v=0\r\n' } });
      assert.deepEqual(await first.next('offer'), [{ from: secondId, sdp: { type: 'offer', sdp: 'v=0\r\n' } }]);
      first.emit('answer', { target: secondId, sdp: 'v=0' });
      assert.deepEqual(await second.next('answer'), [{ from: firstId, sdp: 'v=0' }]);
      const candidate = { candidate: 'candidate:1', sdpMid: '0', sdpMLineIndex: 0 };
      first.emit('candidate', { target: secondId, candidate: null });
      first.emit('candidate', { target: secondId, candidate });
      assert.deepEqual(await second.next('candidate'), [{ from: firstId, candidate }], 'without the null');

      const third = connect(io, transports);
      third.emit('join', room);
      const [refusal] = await third.next('error');
      assert.equal(refusal.code, 'room-full');
      third.close();

      if (transports.length === 2) {
        await waitFor('the upgrade', () => first.socket.io.engine.transport.name === 'websocket');
      }
      const large = { type: 'offer', sdp: 'x'.repeat(50_000) };
      second.emit('offer', { target: firstId, sdp: large });
      assert.deepEqual(await first.next('offer'), [{ from: secondId, sdp: large }]);

      second.emit('leave');
      assert.deepEqual(await first.next('peer-leave'), [secondId]);
      second.emit('join', room);
      await first.next('new-peer');
      second.close();
      await first.next('peer-leave');
      first.close();
    });
  }
}

test('socket.io-client 2 is refused as by a server of Socket.IO', async () => {
  const client = connect(io2, ['polling']);
  const [error] = await client.next('connect_error').catch(() => client.next('error'));
  assert.ok(error);
  client.close();
  for (const transport of ['polling', 'websocket']) {
    const { status, body } = await request('GET', `/socket.io/?EIO=3&transport=${transport}`);
    assert.equal(status, 400);
    assert.deepEqual(JSON.parse(body), { code: 5, message: 'Unsupported protocol version' });
  }
});

test('a client that reconnects with its token keeps its seat', async () => {
  const room = newRoom();
  const peer = connect(io4, ['websocket']);
  peer.emit('join', room);
  await peer.next('ice-servers');
  const client = connect(io4, ['websocket']);
  client.emit('join', room);
  const [peerId, { resume }] = await client.next('resp-join');
  const [clientId] = await peer.next('new-peer');
  client.socket.io.engine.transport.ws.terminate();
  await client.next('disconnect');
  client.close();
  const again = connect(io4, ['websocket']);
  again.emit('join', room, { resume });
  assert.equal((await again.next('resp-join'))[0], peerId);
  again.emit('offer', { target: peerId, sdp: {} });
  assert.deepEqual(await peer.next('offer'), [{ from: clientId, sdp: {} }]);
  [peer, again].forEach((each) => each.close());
});

test('a client that reconnects without a token replaces its old seat', async () => {
  const room = newRoom();
  const peer = connect(io4, ['websocket']);
  peer.emit('join', room);
  await peer.next('ice-servers');
  const client = connect(io4, ['websocket'], { reconnection: true, reconnectionDelay: 50 });
  client.socket.on('connect', () => client.emit('join', room));
  await client.next('resp-join');
  const [oldId] = await peer.next('new-peer');
  client.socket.io.engine.transport.ws.terminate();
  await client.next('resp-join');
  assert.deepEqual(await peer.next('peer-leave'), [oldId]);
  await peer.next('new-peer');
  [peer, client].forEach((each) => each.close());
});

test('ten bad packets end a session with the reason', async () => {
  const client = connect(io4, ['polling']);
  await client.next('connect');
  for (let sent = 0; sent < 10; sent += 1) client.emit('offer', 'nothing');
  await waitFor('the reason', () => client.events.some(([name, error]) => name === 'error' && error.code === 'closed' && error.close === 1008));
  assert.deepEqual((await client.next('disconnect'))[0], 'io server disconnect');
  client.close();
});

test('a flood of events ends a session', async () => {
  const client = connect(io4, ['websocket']);
  await client.next('connect');
  for (let sent = 0; sent < 600; sent += 1) client.emit('unknown', sent);
  assert.deepEqual((await client.next('disconnect'))[0], 'io server disconnect');
  client.close();
});

test('binary packets, acknowledgements and other namespaces are refused', async () => {
  const session = await openSession();
  await session.send('40');
  assert.match((await session.poll())[0], /^40\{"sid":"[\w-]{22}"\}$/);
  await session.send(['451-["offer",{"_placeholder":true,"num":0}]', 'bAAEC', '431[]', '40/admin,'].join('\x1e'));
  const packets = [...(await session.poll()), ...(await session.poll())];
  assert.equal(packets.filter((packet) => packet.includes('bad-message')).length, 4, packets.join());
  assert.ok(packets.includes('44/admin,{"message":"Invalid namespace"}'));
  await session.send(Array.from({ length: 5000 }, () => '40/a,').join('\x1e'));
  await session.poll();
  assert.equal(await session.poll(), 400);
});

test('an event before the connection to the namespace is refused', async () => {
  const session = await openSession();
  await session.send('42["join","kitchen"]\x1e40');
  const packets = await session.poll();
  assert.equal(packets.filter((packet) => packet.startsWith('42["resp-join"')).length, 0);
});

test('a second request that waits ends the session', async () => {
  const session = await openSession();
  await session.send('40');
  await session.poll();
  const [first, second] = await Promise.all([session.poll(), session.poll()]);
  const ended = [first, second].find((packets) => Array.isArray(packets));
  assert.match(ended[0], /"code":"closed".*"close":1008/);
  assert.equal(ended[1], '41');
  assert.equal(await session.poll(), 400);
});

test('a session that answers no ping ends after fifteen seconds', async () => {
  const session = await openSession();
  await session.send('40');
  const started = Date.now();
  const packets = [];
  for (let reply; Array.isArray((reply = await session.poll()));) packets.push(...reply);
  assert.deepEqual(packets.slice(1), ['2', '1']);
  const seconds = (Date.now() - started) / 1000;
  assert.ok(seconds > 14 && seconds < 25, `${seconds} s`);
});

test('requests without a session and bodies of more than 128 KiB are refused', async () => {
  const target = `${POLL}&sid=unknown`;
  assert.deepEqual(JSON.parse((await request('POST', target, { body: '40' })).body), { code: 1, message: 'Session ID unknown' });
  assert.equal(JSON.parse((await request('POST', POLL)).body).code, 2);
  assert.equal(JSON.parse((await request('GET', '/socket.io/?EIO=4')).body).code, 0);
  const session = await openSession();
  // The server may close the connection before it has read the body, so it gets one of its own.
  const large = await session.send('4'.repeat(129 * 1024), { agent: false }).catch((error) => error);
  assert.ok(large.status === 413 || ['EPIPE', 'ECONNRESET'].includes(large.code), large);
});

test('an allowed origin gets the headers of CORS, another one is refused', async () => {
  const headers = { origin: FOREIGN_ORIGIN };
  const opened = await request('GET', POLL, { headers });
  assert.equal(opened.headers['access-control-allow-origin'], FOREIGN_ORIGIN);
  assert.equal(opened.headers.vary, 'Origin');
  const asked = await request('OPTIONS', POLL, { headers: { ...headers, 'access-control-request-headers': 'x-custom' } });
  assert.equal(asked.status, 204);
  assert.equal(asked.headers['access-control-allow-headers'], 'x-custom');
  const refused = await request('GET', POLL, { headers: { origin: 'https://evil.example' } });
  assert.equal(refused.status, 403);
  assert.equal(refused.headers['access-control-allow-origin'], undefined);
  const foreign = connect(io4, ['websocket'], { extraHeaders: { origin: 'https://evil.example' } });
  await foreign.next('connect_error');
  foreign.close();
});

test('the client script is served compressed, with an ETag, for pages of any origin', async (context) => {
  const reply = await request('GET', '/socket.io/socket.io.js', { headers: { 'accept-encoding': 'br' } });
  if (reply.status === 404) return context.skip('the program was built without npm packages');
  assert.equal(reply.headers['content-encoding'], 'br');
  assert.equal(reply.headers['cross-origin-resource-policy'], 'cross-origin');
  const again = await request('GET', '/socket.io/socket.io.js', { headers: { 'accept-encoding': 'br', 'if-none-match': reply.headers.etag } });
  assert.equal(again.status, 304);
});

test('before a stop clients get an error, and reconnect afterwards', async () => {
  const stopping = await startServer({ dir: path.join(dir, 'stopping'), authority, flags: ['--drain-timeout', '1'] });
  after(() => stopping.stop());
  const reconnects = { origin: stopping.origin, reconnection: true, reconnectionDelay: 100, reconnectionDelayMax: 200 };
  const both = [connect(io4, ['polling'], reconnects), connect(io4, ['websocket'], reconnects)];
  const room = newRoom();
  for (const client of both) {
    await client.next('connect');
    client.emit('join', room);
    await client.next(client === both[0] ? 'ice-servers' : 'resp-join');
  }
  const terminated = stopping.terminate();
  for (const client of both) {
    assert.equal((await client.next('error'))[0].code, 'shutting-down');
    assert.equal((await client.next('disconnect'))[0], 'transport close');
  }
  await terminated;
  await stopping.start();
  for (const client of both) await client.next('connect');
  both.forEach((client) => client.close());
});

test('with the setting off there is nothing at /socket.io/', async () => {
  const other = await startServer({ dir: path.join(dir, 'off'), authority, flags: ['--socket-io', 'off'] });
  try {
    for (const target of [POLL, '/socket.io/socket.io.js']) {
      const status = await new Promise((resolve, reject) => {
        https.get(`${other.origin}${target}`, { ca }, (reply) => resolve(reply.resume().statusCode)).on('error', reject);
      });
      assert.equal(status, 404, target);
    }
  } finally {
    await other.stop();
  }
});
