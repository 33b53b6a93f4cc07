import assert from 'node:assert/strict';
import { test } from 'node:test';
import { summarize } from '../../../public/connection-test/loopback-call.js';
import { gathersCandidates, runProbe, signalingWay } from '../../../public/connection-test/probes.js';
import { FakeSocket, makeClock, settle } from '../harness/fakes.js';

test('the figures are the median delay, the mean jitter and the share lost', () => {
  const delays = new Map([[3, 30], [0, 20], [1, 40], [4, 20]]);
  assert.deepEqual(summarize(delays, 5), { rtt: 30, jitter: (20 + 10 + 10) / 3, loss: 1 - 4 / 5, sent: 5 });
  assert.deepEqual(summarize(new Map(), 5), { rtt: 0, jitter: 0, loss: 1, sent: 5 });
});

/** A peer connection whose candidates come from the test. */
class FakePeerConnection {
  closed = false;
  createDataChannel() { return {}; }
  async setLocalDescription() {}
  close() { this.closed = true; }
}

async function resultOf(play) {
  const clock = makeClock();
  const pc = new FakePeerConnection();
  let configured;
  const newPeerConnection = (configuration) => { configured = configuration; return pc; };
  const probe = { name: 'turn-udp', family: 'ipv4', port: 3478, urls: ['turn:a:3478'] };
  const result = runProbe(probe, { username: 'u', credential: 'c', ttl: 300 }, { newPeerConnection, clock, now: clock.now });
  await play(pc, clock);
  const { ok, ms, code } = await result;
  assert.equal(pc.closed, true, 'the allocation ends');
  assert.deepEqual(configured, { iceServers: [{ urls: ['turn:a:3478'], username: 'u', credential: 'c' }], iceTransportPolicy: 'relay' });
  return { ok, ms, code };
}

test('only a relayed candidate shows that a path works', async () => {
  assert.deepEqual(await resultOf(async (pc, clock) => {
    await clock.advance(34);
    pc.onicecandidate({ candidate: { candidate: 'candidate:1 1 udp 1 192.0.2.1 9 typ srflx' } });
    pc.onicecandidate({ candidate: { candidate: 'candidate:2 1 udp 1 192.0.0.8 50000 typ relay raddr 0.0.0.0' } });
  }), { ok: true, ms: 34, code: 0 });
  assert.deepEqual(await resultOf(async (pc) => pc.onicecandidate({ candidate: null })), { ok: false, ms: 0, code: 0 });
  assert.deepEqual(await resultOf(async (pc) => {
    pc.onicecandidateerror({ errorCode: 486 });
    pc.onicecandidateerror({ errorCode: 701 });
    pc.onicecandidate({ candidate: null });
  }), { ok: false, ms: 0, code: 486 });
  assert.deepEqual(await resultOf((pc, clock) => clock.advance(60_000)), { ok: false, ms: 10_000, code: 0 });
});

test('a browser that gathers nothing or throws differs from one that gathers', async () => {
  const clock = { after: () => 0, cancel() {} };
  const pcWith = (candidates) => () => {
    const made = { createDataChannel() {}, close() {}, async setLocalDescription() { for (const each of candidates) made.onicecandidate({ candidate: each }); } };
    return made;
  };
  assert.equal(await gathersCandidates({ newPeerConnection: pcWith([{ candidate: 'candidate:1 1 udp 1 x.local 9 typ host' }]), clock }), true);
  assert.equal(await gathersCandidates({ newPeerConnection: pcWith([{ candidate: '' }, null]), clock }), false);
  assert.equal(await gathersCandidates({ newPeerConnection() { throw new Error('forbidden'); }, clock }), false);
});

test('how calls are set up is what opens first, after a failure at the second attempt', async () => {
  for (const [play, expected, opened] of [
    [async ([socket]) => socket.opens(), 'websocket', 1],
    [async (sockets) => {
      sockets[0].drops();
      await settle();
      sockets[1].way = 'polling';
      sockets[1].opens();
    }, 'polling', 2],
    [async (sockets) => {
      sockets[0].drops();
      await settle();
      sockets[1].drops();
    }, null, 2],
    [(_, clock) => clock.advance(10_000), null, 1],
  ]) {
    const clock = makeClock();
    const sockets = [];
    const open = () => {
      sockets.push(Object.assign(new FakeSocket(), { way: 'websocket' }));
      return sockets.at(-1);
    };
    const found = signalingWay({ open }, clock);
    await play(sockets, clock);
    assert.deepEqual([await found, sockets.length], [expected, opened]);
    assert.equal(sockets.at(-1).readyState, 3);
  }
});
