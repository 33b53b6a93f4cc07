import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Call } from '../../../public/call/call.js';
import { connected, FakeStream, stable, makeTwoPages } from '../harness/call.js';
import { FakeConnection, makeClock, settle } from '../harness/fakes.js';

test('the later participant offers, and both keep one connection', async () => {
  const { ann, bob } = await connected();
  assert.equal(ann.connections.length, 1);
  assert.equal(bob.connections.length, 1);
  assert.ok(stable(ann.pc()) && stable(bob.pc()));
  assert.equal(bob.pc().localDescription.type, 'answer');
});

test('of two colliding first offers that of the greater id stands', async () => {
  const harness = makeTwoPages();
  harness.ann.call.setPeer('ann', 'bob', true, true);
  harness.bob.call.setPeer('bob', 'ann', true, true);
  await harness.deliver();
  assert.equal(harness.bob.connections.length, 1);
  assert.equal(harness.ann.connections.length, 2);
  assert.ok(harness.ann.connections[0].closed);
  assert.ok(stable(harness.ann.pc()) && stable(harness.bob.pc()));
});

test('a lost first answer leads to a new connection at a restart request', async () => {
  const harness = makeTwoPages();
  harness.bob.call.setPeer('bob', null, true);
  harness.ann.call.setPeer('ann', 'bob', true, true);
  harness.bob.call.setPeer('bob', 'ann', false, true);
  await settle();
  await harness.bob.call.handle(harness.messages.shift());
  await settle();
  harness.messages.length = 0;
  harness.bob.call.recoverSoon();
  await harness.clock.advance(0);
  await harness.deliver();
  assert.deepEqual([harness.ann.connections.length, harness.bob.connections.length], [2, 2]);
  assert.ok(stable(harness.ann.pc()) && stable(harness.bob.pc()));
  assert.deepEqual(harness.ann.events.filter(({ type }) => type === 'error'), []);
});

test('a reloaded page gets a new connection', async () => {
  const harness = await connected();
  harness.ann.load();
  harness.ann.call.setPeer('ann', 'bob', true, true);
  await harness.deliver();
  assert.ok(harness.bob.connections[0].closed);
  assert.equal(harness.bob.connections.length, 2);
  assert.ok(stable(harness.ann.pc()) && stable(harness.bob.pc()));
});

test('a restart for the page before a reload leaves the new connection alone', async () => {
  const harness = await connected();
  harness.bob.pc().restartIce();
  await settle();
  harness.ann.load();
  harness.ann.call.setPeer('ann', 'bob', true, true);
  await harness.deliver();
  assert.equal(harness.ann.connections.length, 2);
  assert.ok(stable(harness.ann.pc()) && stable(harness.bob.pc()));
  assert.ok(!harness.ann.pc().closed);
});

test('messages of another participant are dropped', async () => {
  const { bob } = await connected();
  await bob.call.handle({ type: 'offer', from: 'eve', call: 'new/0', sdp: { type: 'offer', sdp: 'x' } });
  assert.equal(bob.connections.length, 1);
});

test('a server that has forgotten the peer does not end a running call', async () => {
  const harness = await connected();
  harness.ann.call.setPeer('ann', null, true);
  assert.ok(!harness.ann.pc().closed);
  harness.ann.call.setPeer('ann', 'bob', false, true);
  assert.equal(harness.ann.connections.length, 1);
});

test('another participant gets another connection', async () => {
  const harness = await connected(makeTwoPages(['ann', 'bob', 'cat']));
  harness.bob.call.setPeer('bob', 'cat', false, true);
  harness.cat.call.setPeer('cat', 'bob', true, true);
  await harness.deliver();
  assert.ok(harness.bob.connections[0].closed);
  assert.ok(stable(harness.bob.pc()) && stable(harness.cat.pc()));
});

test('new relay credentials reach the running connection', async () => {
  const { ann } = await connected();
  ann.call.setIceServers([{ urls: ['stun:box:3478'] }]);
  assert.deepEqual(ann.pc().config.iceServers, [{ urls: ['stun:box:3478'] }]);
  ann.call.setIceServers('nonsense');
  assert.deepEqual(ann.pc().config.iceServers, [{ urls: ['stun:box:3478'] }]);
});

test('relay=1 restricts every connection to the relay', () => {
  let config;
  const call = new Call({ clock: makeClock(), send() {}, emit() {}, relayOnly: true, newStream: () => new FakeStream(),
    connect: (given) => new FakeConnection((config = given)) });
  call.setPeer('ann', 'bob', true, true);
  assert.equal(config.iceTransportPolicy, 'relay');
});

test('tracks are replaced without another offer', async () => {
  const harness = await connected();
  const screen = { kind: 'video' };
  await harness.ann.call.setTracks({ audio: null, video: screen });
  assert.equal(harness.ann.pc().transceivers[1].sender.track, screen);
  await settle();
  assert.deepEqual(harness.messages, []);
});

test('codecs are ordered for video alone, before the offer and before the answer', async () => {
  const { ann, bob, ...rest } = makeTwoPages();
  bob.call.prepare();
  for (const kind of ['audio', 'video']) bob.pc().addTransceiver(kind, {});
  await settle();
  await connected({ ann, bob, ...rest });
  assert.deepEqual([ann.ordered, bob.ordered], [[['video', null]], [['video', null]]]);
});

/** A client that knows the eight messages of the protocol and never sends `call`. */
function plainClient(harness, name) {
  const pc = new FakeConnection({});
  const client = { pc, keys: '01:02', get messages() { return harness.messages.filter(({ from }) => from !== name); } };
  const sdpOf = () => ({ type: pc.localDescription.type, sdp: `${pc.localDescription.sdp}a=fingerprint:sha-256 ${client.keys}\r\n` });
  client.offer = async () => {
    await pc.setLocalDescription();
    return { type: 'offer', from: name, sdp: sdpOf() };
  };
  client.answer = async ({ sdp }) => {
    await pc.setRemoteDescription(sdp);
    await pc.setLocalDescription();
    return { type: 'answer', from: name, sdp: sdpOf() };
  };
  return client;
}

test('a client without `call` that answers can negotiate and offer later', async () => {
  const harness = makeTwoPages();
  const bob = plainClient(harness, 'bob');
  harness.ann.call.setPeer('ann', 'bob', true, true);
  await settle();
  await harness.ann.call.handle({ type: 'candidate', from: 'bob', candidate: { candidate: 'early' } });
  await harness.ann.call.handle(await bob.answer(harness.messages.find(({ type }) => type === 'offer')));
  await harness.ann.call.handle({ type: 'candidate', from: 'bob', candidate: { candidate: 'late' } });
  assert.ok(stable(harness.ann.pc()));
  assert.deepEqual(harness.ann.pc().candidates.map(({ candidate }) => candidate), ['early', 'late']);
  harness.ann.pc().setConnectionState('connected');
  bob.pc.signalingState = 'stable';
  await harness.ann.call.handle(await bob.offer());
  assert.deepEqual([harness.ann.connections.length, harness.messages.at(-1).type, harness.ann.pc().appliedOffers], [1, 'answer', 1]);
});

test('a client without `call` that offers can negotiate', async () => {
  const harness = makeTwoPages();
  const bob = plainClient(harness, 'bob');
  harness.ann.call.setPeer('ann', 'bob', false, true);
  await harness.ann.call.handle(await bob.offer());
  await harness.ann.call.handle({ type: 'candidate', from: 'bob', candidate: { candidate: 'late' } });
  assert.deepEqual([harness.messages.find(({ type }) => type === 'answer').sdp.type, harness.ann.pc().candidates.length], ['answer', 1]);
  bob.pc.signalingState = 'stable';
  harness.ann.pc().restartIce();
  await settle();
  await harness.ann.call.handle(await bob.answer(harness.messages.at(-1)));
  assert.ok(stable(harness.ann.pc()));
  assert.equal(harness.ann.connections.length, 1);
});

test('an offer without `call` and with other keys is a new connection', async () => {
  const harness = makeTwoPages();
  harness.ann.call.setPeer('ann', 'bob', false, true);
  await harness.ann.call.handle(await plainClient(harness, 'bob').offer());
  const again = plainClient(harness, 'bob');
  again.keys = '03:04';
  await harness.ann.call.handle(await again.offer());
  assert.deepEqual([harness.ann.connections.length, harness.ann.connections[0].closed], [2, true]);
});

test('a prepared connection is used once, with the servers of the join', async () => {
  const harness = makeTwoPages();
  const { ann, bob } = harness;
  for (const page of [ann, bob]) page.call.prepare();
  const prepared = [ann.pc(), bob.pc()];
  bob.call.setIceServers([{ urls: ['stun:box:3478'] }]);
  bob.call.setPeer('bob', null, true);
  ann.call.setIceServers([{ urls: ['stun:box:3478'] }]);
  await connected(harness);
  assert.deepEqual([ann.pc(), bob.pc()], prepared);
  assert.deepEqual(prepared.map(({ config }) => config.iceServers), Array(2).fill([{ urls: ['stun:box:3478'] }]));
  ann.call.setPeer('ann', 'cat', true, true);
  assert.notEqual(ann.pc(), prepared[0]);
});

test('a participant who waits has a connection prepared, for ten minutes', async () => {
  const { ann, clock } = makeTwoPages();
  ann.call.setPeer('ann', null, true);
  const waiting = ann.pc();
  await clock.advance(599_999);
  assert.ok(!waiting.closed);
  await clock.advance(1);
  assert.ok(waiting.closed);
  ann.call.setPeer('ann', 'bob', true, true);
  assert.equal(ann.connections.length, 2);
});

test('a prepared connection is replaced when the network may have changed, and closed with the call', () => {
  const { ann } = makeTwoPages();
  ann.call.prepare();
  ann.call.recoverSoon();
  assert.equal(ann.connections.length, 1, 'without servers nothing is lost');
  ann.call.setIceServers([{ urls: ['stun:box:3478'] }]);
  ann.call.recoverSoon();
  assert.deepEqual(ann.connections.map(({ closed }) => closed), [true, false]);
  ann.call.waitForPeer();
  assert.deepEqual(ann.pc().config.iceServers, [{ urls: ['stun:box:3478'] }]);
  ann.call.hangUp();
  assert.ok(ann.connections.every(({ closed }) => closed));
  ann.call.prepare();
  assert.deepEqual(ann.pc().config.iceServers, [], 'the credentials ended with the seat');
});

test('a prepared connection that refuses its configuration is replaced', () => {
  const { ann } = makeTwoPages();
  ann.call.prepare();
  ann.pc().setConfiguration = () => { throw new Error('refused'); };
  ann.call.setPeer('ann', 'bob', true, true);
  assert.deepEqual(ann.connections.map(({ closed }) => closed), [true, false]);
});

test('a client that announces nothing is offered one audio and one video track and no channel', async () => {
  const harness = makeTwoPages();
  for (const [hasChannels, channels] of [[undefined, 0], [false, 0], [true, 3]]) {
    const { call, events } = harness.ann;
    call.setPeer('ann', null, true);
    call.prepare();
    call.setPeer('ann', 'bob', true, hasChannels);
    await settle();
    const { transceivers, ids } = harness.ann.pc();
    assert.deepEqual(transceivers.map(({ receiver }) => receiver.track.kind), ['audio', 'video']);
    assert.equal(ids.size, channels);
    assert.equal(events.findLast(({ type }) => type === 'chat-channel').channel !== null, channels > 0);
    call.hangUp();
  }
});

test('a client that is offered no channel opens none, one whose own offer has some gets them from then on', async () => {
  const harness = makeTwoPages();
  harness.bob.call.setPeer('bob', 'ann', false);
  harness.ann.call.setPeer('ann', 'bob', true);
  await harness.deliver();
  assert.ok(stable(harness.ann.pc()) && stable(harness.bob.pc()));
  assert.equal(harness.bob.pc().ids.size, 0);
  assert.equal(harness.bob.events.findLast(({ type }) => type === 'chat-channel').channel, null);
  harness.ann.load();
  harness.ann.call.setPeer('ann', 'bob', true, true);
  await harness.deliver();
  assert.equal(harness.bob.pc().ids.size, 3);
  harness.bob.call.recoverSoon(true);
  harness.bob.pc().signalingState = 'closed';
  harness.bob.call.recoverSoon();
  assert.equal(harness.bob.pc().ids.size, 3);
});

test('both tracks carry the name of one stream', async () => {
  const harness = await connected();
  const streams = harness.ann.pc().transceivers.map((each) => each.streams);
  assert.equal(streams[0].length, 1);
  assert.equal(streams[0][0], streams[1][0]);
});
