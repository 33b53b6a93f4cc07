import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keepingRoles, readCall } from '../../public/call/negotiation.js';
import { connected, stable, twoPages } from './call-stage.js';
import { settle } from './stage.js';

test('two restarts that meet end in another connection: neither side takes its offer back', async () => {
  const stage = await connected();
  stage.ann.pc().restartIce();
  stage.bob.pc().restartIce();
  await stage.deliver();
  assert.ok(stable(stage.ann.pc()) && stable(stage.bob.pc()));
  assert.deepEqual([stage.ann.connections.length, stage.bob.connections.length], [2, 2]);
  assert.ok(stage.ann.connections[0].closed && stage.bob.connections[0].closed);
  assert.deepEqual(stage.ann.heard.filter(({ type }) => type === 'complaint'), []);
});

test('a restart that meets that of a client which does not count its offers gives way on the same connection', async () => {
  const stage = await connected();
  const { id } = readCall('ann1/0');
  stage.ann.pc().takesBack = true;
  stage.ann.pc().restartIce();
  await settle();
  stage.wire.length = 0;
  await stage.ann.call.hear({ type: 'offer', from: 'bob', call: id, sdp: { type: 'offer', sdp: 'theirs' } });
  assert.deepEqual([stage.ann.connections.length, stage.wire.at(-1).type, stage.ann.pc().signalingState], [1, 'answer', 'stable']);
});

test('no restart is made between their offer and our answer', async () => {
  const stage = await connected();
  stage.ann.pc().signalingState = 'have-remote-offer';
  stage.ann.pc().connectionState = 'disconnected';
  stage.ann.call.repairSoon(true);
  await stage.clock.advance(0);
  assert.deepEqual([stage.ann.pc().restarts, stage.wire], [0, []]);
});

test('an offer that is heard twice is answered twice, and taken once', async () => {
  const stage = await connected();
  stage.bob.pc().restartIce();
  await settle();
  const offer = stage.wire.find(({ type }) => type === 'offer');
  await stage.deliver();
  await stage.ann.call.hear(offer);
  const { type, target, call } = stage.wire.at(-1);
  assert.deepEqual([type, target, call, stage.ann.pc().taken], ['answer', 'bob', offer.call, 1]);
  await stage.deliver();
  assert.ok(stable(stage.ann.pc()) && stable(stage.bob.pc()));
});

test('a first offer that is said again where its answer was lost does not meet a restart, and leads nobody back to it', async () => {
  const stage = twoPages();
  stage.bob.call.meet('bob', 'ann', true);
  stage.ann.call.meet('ann', 'bob', false);
  await settle();
  const [offer] = stage.wire;
  await stage.ann.call.hear(offer);
  stage.wire.length = 0;
  await stage.ann.call.hear(offer);
  stage.ann.pc().restartIce();
  await settle();
  await stage.ann.call.hear(offer);
  await stage.ann.call.hear(offer);
  await stage.deliver();
  const [ann, bob] = [stage.ann.pc(), stage.bob.pc()];
  assert.ok(stable(ann) && stable(bob));
  assert.deepEqual([ann.remoteDescription.sdp.includes(bob.name), bob.remoteDescription.sdp.includes(ann.name)], [true, true]);
});

test('a restart that is said again where its answer was lost, and meets ours by now, ends in another connection', async () => {
  const stage = await connected();
  stage.bob.pc().restartIce();
  await settle();
  const offer = stage.wire.find(({ type }) => type === 'offer');
  await stage.ann.call.hear(offer);
  stage.ann.pc().restartIce();
  await settle();
  stage.wire.length = 0;
  await stage.ann.call.hear(offer);
  assert.equal(stage.ann.connections.length, 2, 'and neither side goes on to repeat its own at each of the other');
  await stage.deliver();
  assert.ok(stable(stage.ann.pc()) && stable(stage.bob.pc()));
});

test('an offer that could not be taken is not answered with an earlier answer when it is heard again', async () => {
  const stage = await connected();
  stage.bob.pc().restartIce();
  await stage.deliver();
  const unreadable = { type: 'offer', from: 'bob', call: 'ann1/2', sdp: { type: 'offer', sdp: 'broken' } };
  await stage.ann.call.hear(unreadable);
  await stage.ann.call.hear(unreadable);
  assert.deepEqual(stage.wire, []);
});

test('candidates and answers of another connection are dropped', async () => {
  const { bob } = await connected();
  await bob.call.hear({ type: 'candidate', from: 'ann', call: 'elsewhere/0', candidate: { candidate: 'x' } });
  await bob.call.hear({ type: 'answer', from: 'ann', call: 'elsewhere/0', sdp: { type: 'answer', sdp: 'x' } });
  assert.deepEqual(bob.pc().candidates, []);
});

test('candidates that come before the description wait for it, the last one too', async () => {
  const stage = twoPages();
  stage.ann.call.meet('ann', 'bob', true);
  await settle();
  const call = stage.wire[0].call;
  await stage.ann.call.hear({ type: 'candidate', from: 'bob', call, candidate: { candidate: 'early' } });
  await stage.ann.call.hear({ type: 'candidate', from: 'bob', call, candidate: null });
  assert.deepEqual(stage.ann.pc().candidates, []);
  await stage.ann.call.hear({ type: 'answer', from: 'bob', call, sdp: { type: 'answer', sdp: 'ok' } });
  assert.deepEqual(stage.ann.pc().candidates, [{ candidate: 'early' }, null]);
});

test('our own last candidate goes out as null', async () => {
  const stage = await connected();
  stage.ann.pc().onicecandidate({ candidate: null });
  assert.equal(stage.wire[0].candidate, null);
  assert.equal(stage.wire[0].target, 'bob');
});

for (const [what, frame] of Object.entries({
  'an offer without a description': { type: 'offer' },
  'an offer that is a string': { type: 'offer', sdp: 'v=0' },
  'an offer that calls itself an answer': { type: 'offer', sdp: { type: 'answer', sdp: '' } },
  'an offer no browser can read': { type: 'offer', sdp: { type: 'offer', sdp: 'broken' } },
  'an answer nobody asked for': { type: 'answer', sdp: { type: 'answer', sdp: 'x' } },
  'a candidate that is a number': { type: 'candidate', candidate: 7 },
})) {
  test(`${what} leaves the connection as it is`, async () => {
    const stage = await connected();
    const { id } = readCall(stage.bob.pc() && 'ann1/0');
    await stage.bob.call.hear({ ...frame, from: 'ann', call: `${id}/1` });
    assert.ok(stable(stage.bob.pc()) && !stage.bob.pc().closed);
    stage.ann.pc().restartIce();
    await stage.deliver();
    assert.ok(stable(stage.ann.pc()) && stable(stage.bob.pc()));
  });
}

test('an answer to an offer that has been withdrawn is not taken', async () => {
  const stage = twoPages();
  stage.ann.call.meet('ann', 'bob', true);
  await settle();
  const { id } = readCall(stage.wire[0].call);
  await stage.ann.call.hear({ type: 'answer', from: 'bob', call: `${id}/5`, sdp: { type: 'answer', sdp: 'x' } });
  assert.equal(stage.ann.pc().signalingState, 'have-local-offer');
});

test('an offer lost in a dead socket is said again when a restart is asked for', async () => {
  const stage = await connected();
  await stage.flow(1000);
  stage.bob.pc().restartIce();
  await settle();
  stage.wire.length = 0;
  await stage.clock.advance(2500);
  stage.wire.splice(0, stage.wire.length, ...stage.wire.filter(({ from }) => from === 'ann'));
  await stage.deliver();
  assert.ok(stable(stage.ann.pc()) && stable(stage.bob.pc()));
  assert.deepEqual([stage.ann.pc().currentLocalDescription.type, stage.ann.connections.length], ['answer', 1]);
});

test('both encoders are asked for repair and silence, and nothing we say is changed', async () => {
  const stage = twoPages();
  const opus = 'm=audio 9 X 111\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10\r\n';
  stage.ann.call.meet('ann', 'bob', true);
  await settle();
  const offer = stage.wire.find(({ type }) => type === 'offer');
  assert.doesNotMatch(offer.sdp.sdp, /usedtx/);
  offer.sdp.sdp += opus;
  stage.bob.call.meet('bob', 'ann', false);
  await stage.deliver();
  assert.match(stage.bob.pc().remoteDescription.sdp, /minptime=10;useinbandfec=1;usedtx=1/);
});

test('a later offer is read as keeping the role each side has', () => {
  const offer = { type: 'offer', sdp: 'a=setup:actpass\r\n' };
  const answer = { type: 'answer', sdp: 'a=setup:active\r\n' };
  const read = (local, remote) => keepingRoles(offer, { currentLocalDescription: local, currentRemoteDescription: remote }).sdp;
  assert.equal(read(offer, answer), 'a=setup:active\r\n');
  assert.equal(read(answer, offer), 'a=setup:passive\r\n');
  assert.equal(read(null, null), offer.sdp);
});

test('a call id is read whatever it is', () => {
  assert.deepEqual(readCall('abc/3'), { id: 'abc', round: 3, again: false });
  assert.deepEqual(readCall('abc'), { id: 'abc', round: 0, again: false });
  assert.deepEqual(readCall('abc/again'), { id: 'abc', round: 0, again: true });
  for (const junk of [undefined, null, 7, {}, '']) assert.deepEqual(readCall(junk), { id: '', round: 0, again: false });
});
