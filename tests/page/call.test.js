import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeCall } from '../../public/call/call.js';
import { connected, FakeStream, stable, twoPages } from './call-stage.js';
import { FakeConnection, makeClock, settle } from './stage.js';

test('who finds somebody offers, and both settle on one connection each', async () => {
  const { ann, bob } = await connected();
  assert.equal(ann.connections.length, 1);
  assert.equal(bob.connections.length, 1);
  assert.ok(stable(ann.pc()) && stable(bob.pc()));
  assert.equal(bob.pc().localDescription.type, 'answer');
});

test('two first offers that meet leave the one of the greater id', async () => {
  const stage = twoPages();
  stage.ann.call.meet('ann', 'bob', true);
  stage.bob.call.meet('bob', 'ann', true);
  await stage.deliver();
  assert.equal(stage.bob.connections.length, 1);
  assert.equal(stage.ann.connections.length, 2);
  assert.ok(stage.ann.connections[0].closed);
  assert.ok(stable(stage.ann.pc()) && stable(stage.bob.pc()));
});

test('who never heard the answer to a first offer begins anew when asked for a restart', async () => {
  const stage = twoPages();
  stage.bob.call.meet('bob', null, true);
  stage.ann.call.meet('ann', 'bob', true);
  stage.bob.call.meet('bob', 'ann', false);
  await settle();
  await stage.bob.call.hear(stage.wire.shift());
  await settle();
  stage.wire.length = 0;
  stage.bob.call.repairSoon();
  await stage.clock.advance(0);
  await stage.deliver();
  assert.deepEqual([stage.ann.connections.length, stage.bob.connections.length], [2, 2]);
  assert.ok(stable(stage.ann.pc()) && stable(stage.bob.pc()));
  assert.deepEqual(stage.ann.heard.filter(({ type }) => type === 'complaint'), []);
});

test('a reloaded page is given a new connection', async () => {
  const stage = await connected();
  stage.ann.load();
  stage.ann.call.meet('ann', 'bob', true);
  await stage.deliver();
  assert.ok(stage.bob.connections[0].closed);
  assert.equal(stage.bob.connections.length, 2);
  assert.ok(stable(stage.ann.pc()) && stable(stage.bob.pc()));
});

test('a restart meant for the page before a reload does not disturb the new connection', async () => {
  const stage = await connected();
  stage.bob.pc().restartIce();
  await settle();
  stage.ann.load();
  stage.ann.call.meet('ann', 'bob', true);
  await stage.deliver();
  assert.equal(stage.ann.connections.length, 2);
  assert.ok(stable(stage.ann.pc()) && stable(stage.bob.pc()));
  assert.ok(!stage.ann.pc().closed);
});

test('frames of somebody else are dropped', async () => {
  const { bob } = await connected();
  await bob.call.hear({ type: 'offer', from: 'eve', call: 'new/0', sdp: { type: 'offer', sdp: 'x' } });
  assert.equal(bob.connections.length, 1);
});

test('a server that has forgotten the other does not end a call that runs', async () => {
  const stage = await connected();
  stage.ann.call.meet('ann', null, true);
  assert.ok(!stage.ann.pc().closed);
  stage.ann.call.meet('ann', 'bob', false);
  assert.equal(stage.ann.connections.length, 1);
});

test('another person gets another connection', async () => {
  const stage = await connected(twoPages(['ann', 'bob', 'cat']));
  stage.bob.call.meet('bob', 'cat', false);
  stage.cat.call.meet('cat', 'bob', true);
  await stage.deliver();
  assert.ok(stage.bob.connections[0].closed);
  assert.ok(stable(stage.bob.pc()) && stable(stage.cat.pc()));
});

test('fresh relay credentials reach the running connection', async () => {
  const { ann } = await connected();
  ann.call.useIceServers([{ urls: ['stun:box:3478'] }]);
  assert.deepEqual(ann.pc().config.iceServers, [{ urls: ['stun:box:3478'] }]);
  ann.call.useIceServers('nonsense');
  assert.deepEqual(ann.pc().config.iceServers, [{ urls: ['stun:box:3478'] }]);
});

test('relay=1 keeps every connection to the relay', () => {
  let config;
  const call = makeCall({ clock: makeClock(), send() {}, tell() {}, relayOnly: true, newStream: () => new FakeStream(),
    connect: (given) => new FakeConnection((config = given)) });
  call.meet('ann', 'bob', true);
  assert.equal(config.iceTransportPolicy, 'relay');
});

test('tracks are exchanged without another offer', async () => {
  const stage = await connected();
  const screen = { kind: 'video' };
  await stage.ann.call.carry({ audio: null, video: screen });
  assert.equal(stage.ann.pc().transceivers[1].sender.track, screen);
  await settle();
  assert.deepEqual(stage.wire, []);
});

/** A client that knows the eight messages of the protocol and never says `call`. */
function plainClient(stage, name) {
  const pc = new FakeConnection({});
  const client = { pc, keys: '01:02', get wire() { return stage.wire.filter(({ from }) => from !== name); } };
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

test('a client without `call` that answers is heard: its answer, candidates and later offer', async () => {
  const stage = twoPages();
  const bob = plainClient(stage, 'bob');
  stage.ann.call.meet('ann', 'bob', true);
  await settle();
  await stage.ann.call.hear({ type: 'candidate', from: 'bob', candidate: { candidate: 'early' } });
  await stage.ann.call.hear(await bob.answer(stage.wire.find(({ type }) => type === 'offer')));
  await stage.ann.call.hear({ type: 'candidate', from: 'bob', candidate: { candidate: 'late' } });
  assert.ok(stable(stage.ann.pc()));
  assert.deepEqual(stage.ann.pc().candidates.map(({ candidate }) => candidate), ['early', 'late']);
  stage.ann.pc().becomes('connected');
  bob.pc.signalingState = 'stable';
  await stage.ann.call.hear(await bob.offer());
  assert.deepEqual([stage.ann.connections.length, stage.wire.at(-1).type, stage.ann.pc().taken], [1, 'answer', 1]);
});

test('a client without `call` that offers is heard: its offer, candidates and answer to ours', async () => {
  const stage = twoPages();
  const bob = plainClient(stage, 'bob');
  stage.ann.call.meet('ann', 'bob', false);
  await stage.ann.call.hear(await bob.offer());
  await stage.ann.call.hear({ type: 'candidate', from: 'bob', candidate: { candidate: 'late' } });
  assert.deepEqual([stage.wire.find(({ type }) => type === 'answer').sdp.type, stage.ann.pc().candidates.length], ['answer', 1]);
  bob.pc.signalingState = 'stable';
  stage.ann.pc().restartIce();
  await settle();
  await stage.ann.call.hear(await bob.answer(stage.wire.at(-1)));
  assert.ok(stable(stage.ann.pc()));
  assert.equal(stage.ann.connections.length, 1);
});

test('an offer without `call` under other keys is another connection', async () => {
  const stage = twoPages();
  stage.ann.call.meet('ann', 'bob', false);
  await stage.ann.call.hear(await plainClient(stage, 'bob').offer());
  const again = plainClient(stage, 'bob');
  again.keys = '03:04';
  await stage.ann.call.hear(await again.offer());
  assert.deepEqual([stage.ann.connections.length, stage.ann.connections[0].closed], [2, true]);
});
