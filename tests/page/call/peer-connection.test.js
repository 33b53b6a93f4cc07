import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Call } from '../../../public/call/call.js';
import { connected, stable, makeTwoPages } from '../harness/call.js';
import { FakeConnection, makeClock, settle } from '../harness/fakes.js';

test('a lost path gets one restart, made by the impolite side', async () => {
  const harness = await connected();
  harness.ann.pc().setConnectionState('disconnected');
  harness.bob.pc().setConnectionState('disconnected');
  await harness.clock.advance(0);
  await harness.deliver();
  harness.ann.pc().setConnectionState('connected');
  harness.bob.pc().setConnectionState('connected');
  await harness.clock.advance(60_000);
  assert.deepEqual([harness.ann.pc().restarts, harness.bob.pc().restarts], [0, 1]);
});

for (const [who, origins] of [['polite', { ann: 'mozilla' }], ['impolite', { bob: 'mozilla' }]]) {
  test(`of two different browsers Firefox restarts, also as the ${who} side`, async () => {
    const harness = await connected(makeTwoPages(['ann', 'bob'], origins));
    const [firefox, other] = who === 'polite' ? [harness.ann, harness.bob] : [harness.bob, harness.ann];
    await harness.flow(1000);
    await harness.clock.advance(2500);
    await harness.deliver();
    await harness.flow(60_000);
    assert.deepEqual([firefox.pc().restarts, other.pc().restarts], [1, 0]);
  });
}

test('the side that notices alone requests a restart and gets it at once', async () => {
  const harness = await connected();
  await harness.flow(1000);
  harness.ann.pc().setConnectionState('disconnected');
  await harness.clock.advance(0);
  await harness.deliver();
  assert.deepEqual([harness.ann.pc().restarts, harness.bob.pc().restarts], [0, 1]);
  assert.equal(harness.ann.pc().currentLocalDescription.type, 'answer');
  // A second request does not interrupt it.
  harness.ann.call.recoverSoon();
  await harness.clock.advance(0);
  await harness.deliver();
  assert.equal(harness.bob.pc().restarts, 1);
});

test('on a new network the polite side requests a restart without a failure', async () => {
  const harness = await connected();
  harness.ann.call.recoverSoon(true);
  await harness.deliver();
  assert.deepEqual([harness.ann.pc().restarts, harness.bob.pc().restarts], [0, 1]);
});

test('an unanswered request is followed by our own restart', async () => {
  const harness = await connected();
  harness.ann.pc().setConnectionState('disconnected');
  await harness.clock.advance(1900);
  assert.equal(harness.ann.pc().restarts, 0);
  await harness.clock.advance(200);
  assert.equal(harness.ann.pc().restarts, 1);
});

test('a request for a connection the peer no longer has gets a new one', async () => {
  const harness = await connected();
  harness.bob.load();
  harness.bob.call.setPeer('bob', 'ann', false, true);
  harness.ann.pc().setConnectionState('disconnected');
  await harness.clock.advance(0);
  await harness.deliver();
  assert.deepEqual([harness.ann.connections.length, harness.ann.connections[0].closed], [2, true]);
  assert.ok(stable(harness.ann.pc()) && stable(harness.bob.pc()));
});

test('two seconds without packets lead to a restart', async () => {
  const harness = await connected();
  await harness.flow(1000);
  await harness.clock.advance(1900);
  assert.equal(harness.bob.pc().restarts, 0);
  await harness.clock.advance(600);
  assert.equal(harness.bob.pc().restarts, 1);
  await harness.deliver();
  await harness.clock.advance(5000);
  assert.deepEqual(harness.liveness(harness.bob), ['delayed', 'silent']);
  await harness.flow(60_000);
  assert.deepEqual([harness.ann.pc().restarts, harness.bob.pc().restarts], [0, 1]);
  assert.deepEqual(harness.liveness(harness.bob), ['delayed', 'silent', 'alive']);
});

test('a connection without packets is restarted again and finally replaced', async () => {
  const harness = await connected();
  await harness.flow(1000);
  const first = harness.bob.pc();
  for (let second = 0; second < 60; second += 1) {
    harness.ann.pc().packets += 50;
    await harness.clock.advance(1000);
    await harness.deliver();
    if (second === 8) assert.equal(first.restarts, 1, 'the peer may be about to fix the silence');
  }
  assert.equal(first.restarts, 3);
  assert.deepEqual([harness.bob.connections.length, harness.ann.connections.length, first.closed], [2, 2, true]);
  assert.ok(stable(harness.ann.pc()) && stable(harness.bob.pc()));
});

test('the polite side also gives up a connection that is silent for it alone', async () => {
  const harness = await connected();
  await harness.flow(1000);
  for (let second = 0; second < 90; second += 1) {
    harness.bob.pc().packets += 50;
    await harness.clock.advance(1000);
    await harness.deliver();
  }
  const [first] = harness.bob.connections;
  assert.deepEqual([harness.ann.connections.length, harness.ann.connections[0].restarts, first.restarts], [2, 0, 5]);
});

test('a restored path does not count as recovered before packets arrive', async () => {
  const harness = await connected();
  await harness.flow(1000);
  await harness.clock.advance(2500);
  harness.bob.pc().setConnectionState('disconnected');
  await harness.deliver();
  harness.bob.pc().setConnectionState('connected');
  assert.equal(harness.bob.pc().restarts, 1);
  await harness.clock.advance(9000);
  assert.equal(harness.bob.pc().restarts, 2);
  await harness.deliver();
  await harness.flow(60_000);
  assert.equal(harness.bob.pc().restarts, 2);
});

test('a first offer gets time, and a received restart is not repeated', async () => {
  const harness = makeTwoPages();
  harness.bob.call.setPeer('bob', 'ann', false, true);
  harness.ann.call.setPeer('ann', 'bob', true, true);
  await harness.deliver();
  await harness.clock.advance(20_000);
  assert.deepEqual([harness.ann.pc().restarts, harness.bob.pc().restarts], [0, 0]);
  harness.ann.pc().setConnectionState('disconnected');
  harness.bob.pc().setConnectionState('disconnected');
  await harness.clock.advance(0);
  await harness.deliver();
  await harness.clock.advance(4000);
  assert.deepEqual([harness.ann.pc().restarts, harness.bob.pc().restarts], [0, 1]);
});

test('a restart under way is not interrupted by the browser\'s notice', async () => {
  const harness = await connected();
  await harness.flow(1000);
  await harness.clock.advance(2500);
  await harness.deliver();
  harness.bob.pc().setConnectionState('disconnected');
  harness.ann.pc().setConnectionState('disconnected');
  await harness.clock.advance(2000);
  assert.deepEqual([harness.ann.pc().restarts, harness.bob.pc().restarts], [0, 1]);
  await harness.clock.advance(2000);
  assert.equal(harness.bob.pc().restarts, 2);
});

test('the polite side restarts when the peer does not react to silence', async () => {
  const harness = await connected();
  await harness.flow(1000);
  harness.bob.reachable = false;
  await harness.clock.advance(4000);
  assert.deepEqual([harness.ann.pc().restarts, harness.bob.pc().restarts], [1, 0]);
});

test('a peer with nothing to send is not missed', async () => {
  const harness = await connected();
  await harness.flow(1000);
  harness.ann.pc().channel.onmessage({ data: '{"mic":false,"cam":false,"screen":false}' });
  await harness.clock.advance(60_000);
  assert.deepEqual([harness.ann.pc().restarts, harness.liveness(harness.ann)], [0, []]);
});

test('on a new network a restart is forced at once', async () => {
  const harness = await connected();
  harness.bob.call.recoverSoon();
  assert.equal(harness.bob.pc().restarts, 0);
  harness.bob.call.recoverSoon(true);
  assert.equal(harness.bob.pc().restarts, 1);
});

test('no restart is made while the peer is unreachable', async () => {
  const harness = await connected();
  harness.bob.reachable = false;
  harness.bob.pc().setConnectionState('failed');
  await harness.clock.advance(60_000);
  assert.equal(harness.bob.pc().restarts, 0);
  harness.bob.reachable = true;
  harness.bob.call.recoverSoon();
  await harness.clock.advance(0);
  assert.equal(harness.bob.pc().restarts, 1);
});

test('failed restarts end in a new connection', async () => {
  const harness = await connected();
  harness.bob.pc().setConnectionState('failed');
  for (let i = 0; i < 4; i += 1) {
    await harness.clock.advance(5000);
    await harness.deliver();
  }
  assert.equal(harness.bob.connections.length, 2);
  assert.ok(harness.bob.connections[0].closed);
});

/** A call in which the page `name` has lost its DTLS keys. */
async function connectedWithLostKeys(name) {
  const harness = await connected();
  await harness.flow(1000);
  harness[name].pc().sctp = { transport: { state: 'failed' } };
  return harness;
}

for (const [who, whose] of [['ann', 'the polite'], ['bob', 'the impolite']]) {
  test(`keys lost on ${whose} side lead to a new connection at once`, async () => {
    const harness = await connectedWithLostKeys(who);
    const before = [harness.ann.pc(), harness.bob.pc()];
    harness[who].pc().setConnectionState('failed');
    await harness.clock.advance(0);
    await harness.deliver();
    assert.deepEqual([harness.ann.connections.length, harness.bob.connections.length], [2, 2]);
    assert.deepEqual(before.map((pc) => pc.restarts), [0, 0]);
    assert.ok(stable(harness.ann.pc()) && stable(harness.bob.pc()));
    assert.equal(harness[who].pc().localDescription.type, 'offer');
  });
}

test('a restart request after lost keys gets a new connection', async () => {
  const harness = await connectedWithLostKeys('bob');
  harness.ann.call.recoverSoon(true);
  await harness.deliver();
  await harness.clock.advance(0);
  await harness.deliver();
  assert.deepEqual([harness.ann.connections.length, harness.bob.connections.length], [2, 2]);
});

test('a request on a connection that is replaced is not waited for', async () => {
  const harness = await connectedWithLostKeys('ann');
  let ready;
  harness.ann.pc().busy = new Promise((done) => { ready = done; });
  harness.bob.pc().setConnectionState('disconnected');
  await harness.clock.advance(0);
  const delivered = harness.deliver();
  await settle();
  // The offer is still being applied when the connection is replaced.
  await harness.clock.advance(0);
  ready();
  await delivered;
  await harness.deliver();
  assert.deepEqual([harness.ann.connections.length, harness.bob.connections.length], [2, 2]);
  assert.ok(stable(harness.ann.pc()) && stable(harness.bob.pc()));
});

test('a connection that never succeeded is not replaced for lost keys', async () => {
  const harness = makeTwoPages();
  harness.bob.call.setPeer('bob', null, true);
  harness.ann.call.setPeer('ann', 'bob', true, true);
  harness.bob.call.setPeer('bob', 'ann', false, true);
  await harness.deliver();
  for (const page of [harness.ann, harness.bob]) {
    page.pc().sctp = { transport: { state: 'failed' } };
    page.pc().setConnectionState('failed');
  }
  for (let elapsed = 0; elapsed < 4000; elapsed += 100) {
    await harness.clock.advance(100);
    await harness.deliver();
  }
  assert.deepEqual([harness.ann.connections.length, harness.bob.connections.length], [1, 1]);
});

test('lost keys stay lost whatever the browser reports later', async () => {
  const harness = await connectedWithLostKeys('ann');
  harness.ann.reachable = false;
  harness.ann.pc().setConnectionState('failed');
  await harness.clock.advance(0);
  harness.ann.pc().sctp.transport.state = 'connected';
  // The peer's restart comes first and seems to work.
  harness.bob.pc().setConnectionState('disconnected');
  await harness.clock.advance(0);
  await harness.deliver();
  harness.ann.reachable = true;
  harness.ann.pc().setConnectionState('connected');
  await harness.clock.advance(0);
  await harness.deliver();
  assert.deepEqual([harness.ann.connections.length, harness.bob.connections.length], [2, 2]);
});

test('an offer to an absent peer is repeated when it returns', async () => {
  const harness = makeTwoPages();
  harness.ann.call.setPeer('ann', 'bob', true, true);
  await settle();
  harness.messages.length = 0;
  harness.ann.call.recoverSoon();
  await harness.clock.advance(0);
  assert.equal(harness.messages.filter((frame) => frame.type === 'offer').length, 1);
});

test('a request lost with a dead socket is repeated without a collision', async () => {
  const harness = await connected();
  await harness.flow(1000);
  harness.ann.call.recoverSoon(true);
  harness.messages.length = 0;
  harness.ann.reachable = harness.bob.reachable = false;
  harness.ann.pc().setConnectionState('disconnected');
  harness.bob.pc().setConnectionState('disconnected');
  await harness.clock.advance(3000);
  harness.ann.reachable = harness.bob.reachable = true;
  harness.ann.call.recoverSoon();
  harness.bob.call.recoverSoon();
  await harness.clock.advance(0);
  await harness.deliver();
  assert.deepEqual([harness.ann.connections.length, harness.ann.pc().restarts, harness.bob.pc().restarts], [1, 0, 1]);
});

test('the browser\'s notice does not shorten the time after a request', async () => {
  const harness = await connected();
  harness.ann.pc().setConnectionState('disconnected');
  await harness.clock.advance(500);
  harness.ann.pc().setConnectionState('failed');
  await harness.clock.advance(1400);
  assert.equal(harness.ann.pc().restarts, 0);
  await harness.clock.advance(200);
  assert.equal(harness.ann.pc().restarts, 1);
});

test('on a new network an unanswered request leads to one own restart', async () => {
  const harness = await connected();
  await harness.flow(1000);
  harness.ann.call.recoverSoon(true);
  harness.messages.length = 0;
  await harness.flow(2500);
  assert.equal(harness.ann.pc().restarts, 1);
  await harness.deliver();
  await harness.flow(60_000);
  assert.deepEqual([harness.ann.pc().restarts, harness.bob.pc().restarts], [1, 0]);
  harness.ann.pc().setConnectionState('disconnected');
  await harness.clock.advance(0);
  assert.equal(harness.messages.at(-1).call, 'ann1/again', 'the next failure starts with a request');
});

test('an unreceived offer on a new network is repeated', async () => {
  const harness = await connected();
  harness.bob.call.recoverSoon(true);
  await settle();
  harness.messages.length = 0;
  harness.bob.call.recoverSoon();
  await harness.clock.advance(0);
  assert.deepEqual([harness.messages.filter((frame) => frame.type === 'offer').length, harness.bob.pc().restarts], [1, 1]);
});

test('a kind rejected by one side is reported with the connection', async () => {
  for (const [sdp, kinds] of [['m=video 0 UDP', ['video']], ['m=audio 0 UDP', ['audio']], ['m=video 9 UDP', []]]) {
    const harness = makeTwoPages();
    harness.ann.call.setPeer('ann', 'bob', true, true);
    await settle();
    await harness.ann.call.handle({ type: 'answer', from: 'bob', sdp: { type: 'answer', sdp: `v=0\r\n${sdp} x\r\n` } });
    harness.ann.pc().setConnectionState('connected');
    assert.deepEqual(harness.ann.events.filter(({ type }) => type === 'no-common-codec').map(({ kind }) => kind), kinds);
  }
});

test('missing candidates are reported, except with the relay alone', async () => {
  for (const [iceTransportPolicy, events] of [['all', 1], ['relay', 0]]) {
    const harness = makeTwoPages();
    harness.ann.call.setPeer('ann', 'bob', true, true);
    harness.ann.pc().getConfiguration = () => ({ iceTransportPolicy });
    harness.ann.pc().onicecandidate({ candidate: null });
    assert.equal(harness.ann.events.filter(({ type }) => type === 'no-candidates').length, events);
  }
});

test('a connection closed by the page cache is replaced on return', async () => {
  const harness = await connected();
  harness.ann.pc().signalingState = 'closed';
  harness.ann.call.recoverSoon(true);
  await harness.deliver();
  assert.deepEqual([harness.ann.connections.length, harness.bob.connections.length], [2, 2]);
});

test('a browser that cannot create a connection is reported', () => {
  const events = [];
  const call = new Call({ clock: makeClock(), send() {}, emit: ({ type }) => events.push(type), connect() { throw new Error('forbidden'); }, newStream: () => null });
  call.setPeer('ann', 'bob', true, true);
  assert.deepEqual(events, ['error', 'error', 'unsupported']);
});

test('a browser that rejects the servers connects without them', () => {
  const events = [];
  const call = new Call({
    clock: makeClock(), send() {}, emit: ({ type }) => events.push(type), newStream: () => null,
    connect(config) {
      if (config.iceServers.length) throw new Error('bad server');
      return new FakeConnection(config);
    },
  });
  call.setIceServers([{ urls: 'stun:box:3478' }]);
  call.setPeer('ann', 'bob', true, true);
  assert.deepEqual([events[0], events.includes('connection-state'), events.includes('unsupported')], ['error', true, false]);
});

test('pending video does not block the peer\'s audio', async () => {
  const harness = await connected();
  const [audio, video] = [{ kind: 'audio', muted: true }, { kind: 'video', muted: true }];
  for (const track of [audio, video]) harness.ann.pc().ontrack({ track });
  const { stream } = harness.ann.events.findLast(({ type }) => type === 'remote-stream');
  assert.deepEqual(stream.getTracks(), [audio]);
  video.onunmute();
  assert.deepEqual(stream.getTracks(), [audio, video]);
});
