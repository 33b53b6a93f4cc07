import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Negotiation, withCurrentDtlsRole, withRestartPriority, parseCallId } from '../../../public/call/negotiation.js';
import { connected, stable, makeTwoPages } from '../harness/call.js';
import { settle } from '../harness/fakes.js';

test('colliding restarts end in a new connection without a rollback', async () => {
  const harness = await connected();
  harness.ann.pc().restartIce();
  harness.bob.pc().restartIce();
  await harness.deliver();
  assert.ok(stable(harness.ann.pc()) && stable(harness.bob.pc()));
  assert.deepEqual([harness.ann.connections.length, harness.bob.connections.length], [2, 2]);
  assert.ok(harness.ann.connections[0].closed && harness.bob.connections[0].closed);
  assert.deepEqual(harness.ann.events.filter(({ type }) => type === 'error'), []);
});

const OPUS = 'm=audio 9 X 111\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1\r\n';
const fmtpOf = ({ sdp }) => /^a=fmtp:111 (.*\w)/m.exec(sdp)[1];

/** Two pages whose connections are prepared and describe Opus. */
function makeOpusPages(refusesChanges = false) {
  const harness = makeTwoPages();
  for (const page of [harness.ann, harness.bob]) {
    page.call.prepare();
    Object.assign(page.pc(), { audioLines: OPUS, refusesChanges });
  }
  return harness;
}

test('both descriptions ask for stereo, and speech is sent in mono', async () => {
  const { ann, bob } = await connected(makeOpusPages());
  for (const { pc } of [ann, bob]) {
    assert.equal(fmtpOf(pc().localDescription), 'useinbandfec=1;stereo=1');
    assert.equal(fmtpOf(pc().remoteDescription), 'useinbandfec=1;usedtx=1');
  }
});

test('a browser that refuses a changed description describes itself', async () => {
  const { ann, bob } = await connected(makeOpusPages(true));
  for (const each of [ann, bob]) {
    assert.ok(stable(each.pc()));
    assert.equal(fmtpOf(each.pc().localDescription), 'useinbandfec=1');
    assert.deepEqual(each.events.filter(({ type }) => type === 'error'), []);
  }
});

test('an offer that came second is dropped, and the peer\'s is not answered by it', async () => {
  const descriptions = [];
  const errors = [];
  const pc = {
    signalingState: 'stable',
    createOffer: async () => ({ type: 'offer', sdp: OPUS }),
    async setLocalDescription(description) {
      descriptions.push(description?.type);
      pc.signalingState = 'have-remote-offer';
      throw new DOMException('wrong state', 'InvalidStateError');
    },
  };
  const negotiation = new Negotiation({ pc, id: 'x', polite: true, startBitrate: null, send() {}, beforeAnswer() {}, onError: ({ name }) => errors.push(name) });
  await negotiation.offer();
  assert.deepEqual([descriptions, errors], [['offer'], ['InvalidStateError']]);
});

test('music switched in a call gets one more negotiation, other tracks none', async () => {
  const harness = await connected(makeOpusPages());
  const [audio, video] = [{ kind: 'audio', contentHint: 'music' }, { kind: 'video' }];
  await harness.ann.call.setTracks({ audio, video });
  await harness.deliver();
  assert.equal(fmtpOf(harness.ann.pc().remoteDescription), 'useinbandfec=1;stereo=1;maxaveragebitrate=128000');
  assert.equal(fmtpOf(harness.bob.pc().remoteDescription), 'useinbandfec=1;usedtx=1', 'the other side sends speech');
  assert.deepEqual([harness.ann.connections.length, harness.bob.connections.length, harness.bob.pc().appliedOffers + harness.ann.pc().appliedOffers], [1, 1, 2]);
  await harness.ann.call.setTracks({ audio, video: null });
  await settle();
  assert.deepEqual(harness.messages, []);
  audio.contentHint = '';
  await harness.ann.call.setTracks({ audio, video });
  await harness.deliver();
  assert.equal(fmtpOf(harness.ann.pc().remoteDescription), 'useinbandfec=1;usedtx=1');
});

test('a restart yields to a client that does not count its offers', async () => {
  const harness = await connected();
  const { id } = parseCallId('ann1/0');
  harness.ann.pc().allowsRollback = true;
  harness.ann.pc().restartIce();
  await settle();
  harness.messages.length = 0;
  await harness.ann.call.handle({ type: 'offer', from: 'bob', call: id, sdp: { type: 'offer', sdp: 'theirs' } });
  assert.deepEqual([harness.ann.connections.length, harness.messages.at(-1).type, harness.ann.pc().signalingState], [1, 'answer', 'stable']);
});

test('no restart is made between the peer\'s offer and our answer', async () => {
  const harness = await connected();
  harness.ann.pc().signalingState = 'have-remote-offer';
  harness.ann.pc().connectionState = 'disconnected';
  harness.ann.call.recoverSoon(true);
  await harness.clock.advance(0);
  assert.deepEqual([harness.ann.pc().restarts, harness.messages], [0, []]);
});

test('a repeated offer is answered twice and applied once', async () => {
  const harness = await connected();
  harness.bob.pc().restartIce();
  await settle();
  const offer = harness.messages.find(({ type }) => type === 'offer');
  await harness.deliver();
  await harness.ann.call.handle(offer);
  const { type, target, call } = harness.messages.at(-1);
  assert.deepEqual([type, target, call, harness.ann.pc().appliedOffers], ['answer', 'bob', offer.call, 1]);
  await harness.deliver();
  assert.ok(stable(harness.ann.pc()) && stable(harness.bob.pc()));
});

test('a repeated first offer does not collide with a restart', async () => {
  const harness = makeTwoPages();
  harness.bob.call.setPeer('bob', 'ann', true, true);
  harness.ann.call.setPeer('ann', 'bob', false, true);
  await settle();
  const [offer] = harness.messages;
  await harness.ann.call.handle(offer);
  harness.messages.length = 0;
  await harness.ann.call.handle(offer);
  harness.ann.pc().restartIce();
  await settle();
  await harness.ann.call.handle(offer);
  await harness.ann.call.handle(offer);
  await harness.deliver();
  const [ann, bob] = [harness.ann.pc(), harness.bob.pc()];
  assert.ok(stable(ann) && stable(bob));
  assert.deepEqual([ann.remoteDescription.sdp.includes(bob.name), bob.remoteDescription.sdp.includes(ann.name)], [true, true]);
});

test('a repeated restart that collides with ours ends in a new connection', async () => {
  const harness = await connected();
  harness.bob.pc().restartIce();
  await settle();
  const offer = harness.messages.find(({ type }) => type === 'offer');
  await harness.ann.call.handle(offer);
  harness.ann.pc().restartIce();
  await settle();
  harness.messages.length = 0;
  await harness.ann.call.handle(offer);
  assert.equal(harness.ann.connections.length, 2, 'neither side repeats its own offer forever');
  await harness.deliver();
  assert.ok(stable(harness.ann.pc()) && stable(harness.bob.pc()));
});

test('a repeated offer that failed does not get an earlier answer', async () => {
  const harness = await connected();
  harness.bob.pc().restartIce();
  await harness.deliver();
  const unreadable = { type: 'offer', from: 'bob', call: 'ann1/2', sdp: { type: 'offer', sdp: 'broken' } };
  await harness.ann.call.handle(unreadable);
  await harness.ann.call.handle(unreadable);
  assert.deepEqual(harness.messages, []);
});

test('candidates and answers of another connection are dropped', async () => {
  const { bob } = await connected();
  await bob.call.handle({ type: 'candidate', from: 'ann', call: 'elsewhere/0', candidate: { candidate: 'x' } });
  await bob.call.handle({ type: 'answer', from: 'ann', call: 'elsewhere/0', sdp: { type: 'answer', sdp: 'x' } });
  assert.deepEqual(bob.pc().candidates, []);
});

test('early candidates wait for the description, including the last', async () => {
  const harness = makeTwoPages();
  harness.ann.call.setPeer('ann', 'bob', true, true);
  await settle();
  const call = harness.messages[0].call;
  await harness.ann.call.handle({ type: 'candidate', from: 'bob', call, candidate: { candidate: 'early' } });
  await harness.ann.call.handle({ type: 'candidate', from: 'bob', call, candidate: null });
  assert.deepEqual(harness.ann.pc().candidates, []);
  await harness.ann.call.handle({ type: 'answer', from: 'bob', call, sdp: { type: 'answer', sdp: 'ok' } });
  assert.deepEqual(harness.ann.pc().candidates, [{ candidate: 'early' }, null]);
});

const CANDIDATE = 'candidate:2 1 UDP 92151295 45.0.0.10 53262 typ relay raddr 0.0.0.0 rport 0';
const priorityOf = (text) => Number(/ UDP (\d+) /.exec(text)[1]);

test('the peer\'s candidates after an ICE restart come before the earlier ones', async () => {
  const { bob } = await connected();
  const receive = async (round, ufrag) => {
    await bob.call.handle({ type: 'offer', from: 'ann', call: `ann1/${round}`, sdp: { type: 'offer', sdp: `a=ice-ufrag:${ufrag}\r\na=${CANDIDATE}\r\n` } });
    await bob.call.handle({ type: 'candidate', from: 'ann', call: `ann1/${round}`, candidate: { candidate: CANDIDATE, sdpMid: '0' } });
    return [bob.pc().remoteDescription.sdp, bob.pc().candidates.at(-1).candidate].map(priorityOf);
  };
  const priorities = [await receive(1, 'a'), await receive(2, 'b'), await receive(3, 'b'), await receive(4, 'c')];
  for (const [inDescription, alone] of priorities) assert.equal(inDescription, alone);
  const [first, second, same, third] = priorities.map(([priority]) => priority);
  assert.ok(first < second && second === same && second < third, `${priorities}`);
  assert.equal(bob.pc().candidates.at(-1).sdpMid, '0');
});

test('restarts change neither the types of candidates nor the order among their interfaces', () => {
  const at = (priority, restarts) => priorityOf(withRestartPriority(`candidate:2 1 UDP ${priority} 45.0.0.10 53262 typ relay`, restarts));
  const [relayed, otherInterface, host] = [92_216_831, 92_151_295, 2_122_252_543];
  for (const restarts of [1, 2, 200, 100_000]) {
    assert.ok(at(otherInterface, restarts) < at(relayed, restarts) && at(relayed, restarts) < 1_686_052_863);
    assert.ok(at(host, restarts) > host && at(host, restarts) < 2 ** 31);
  }
  assert.equal(withRestartPriority(CANDIDATE, 0), CANDIDATE);
  for (const text of ['', 'candidate:', 'candidate:1 1 udp x 1.2.3.4 5 typ host']) assert.equal(withRestartPriority(text, 1), text);
  assert.equal(withRestartPriority(undefined, 1), undefined);
});

test('our own last candidate is sent as null', async () => {
  const harness = await connected();
  harness.ann.pc().onicecandidate({ candidate: null });
  assert.equal(harness.messages[0].candidate, null);
  assert.equal(harness.messages[0].target, 'bob');
});

for (const [what, frame] of Object.entries({
  'an offer without a description': { type: 'offer' },
  'an offer that is a string': { type: 'offer', sdp: 'v=0' },
  'an offer that calls itself an answer': { type: 'offer', sdp: { type: 'answer', sdp: '' } },
  'an offer no browser can read': { type: 'offer', sdp: { type: 'offer', sdp: 'broken' } },
  'an answer without an offer': { type: 'answer', sdp: { type: 'answer', sdp: 'x' } },
  'a candidate that is a number': { type: 'candidate', candidate: 7 },
})) {
  test(`${what} leaves the connection as it is`, async () => {
    const harness = await connected();
    const { id } = parseCallId(harness.bob.pc() && 'ann1/0');
    await harness.bob.call.handle({ ...frame, from: 'ann', call: `${id}/1` });
    assert.ok(stable(harness.bob.pc()) && !harness.bob.pc().closed);
    harness.ann.pc().restartIce();
    await harness.deliver();
    assert.ok(stable(harness.ann.pc()) && stable(harness.bob.pc()));
  });
}

test('an answer to a withdrawn offer is ignored', async () => {
  const harness = makeTwoPages();
  harness.ann.call.setPeer('ann', 'bob', true, true);
  await settle();
  const { id } = parseCallId(harness.messages[0].call);
  await harness.ann.call.handle({ type: 'answer', from: 'bob', call: `${id}/5`, sdp: { type: 'answer', sdp: 'x' } });
  assert.equal(harness.ann.pc().signalingState, 'have-local-offer');
});

test('an offer lost with a dead socket is repeated at a restart request', async () => {
  const harness = await connected();
  await harness.flow(1000);
  harness.bob.pc().restartIce();
  await settle();
  harness.messages.length = 0;
  await harness.clock.advance(2500);
  harness.messages.splice(0, harness.messages.length, ...harness.messages.filter(({ from }) => from === 'ann'));
  await harness.deliver();
  assert.ok(stable(harness.ann.pc()) && stable(harness.bob.pc()));
  assert.deepEqual([harness.ann.pc().currentLocalDescription.type, harness.ann.connections.length], ['answer', 1]);
});

test('both encoders use FEC and DTX, and our descriptions are unchanged', async () => {
  const harness = makeTwoPages();
  const opus = 'm=audio 9 X 111\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10\r\n';
  harness.ann.call.setPeer('ann', 'bob', true, true);
  await settle();
  const offer = harness.messages.find(({ type }) => type === 'offer');
  assert.doesNotMatch(offer.sdp.sdp, /usedtx/);
  offer.sdp.sdp += opus;
  harness.bob.call.setPeer('bob', 'ann', false, true);
  await harness.deliver();
  assert.match(harness.bob.pc().remoteDescription.sdp, /minptime=10;useinbandfec=1;usedtx=1/);
});

test('a later offer is read as keeping the DTLS roles', () => {
  const offer = { type: 'offer', sdp: 'a=setup:actpass\r\n' };
  const answer = { type: 'answer', sdp: 'a=setup:active\r\n' };
  const read = (local, remote) => withCurrentDtlsRole(offer, { currentLocalDescription: local, currentRemoteDescription: remote }).sdp;
  assert.equal(read(offer, answer), 'a=setup:active\r\n');
  assert.equal(read(answer, offer), 'a=setup:passive\r\n');
  assert.equal(read(null, null), offer.sdp);
});

test('a call id of any type is parsed', () => {
  assert.deepEqual(parseCallId('abc/3'), { id: 'abc', round: 3, isRestartRequest: false });
  assert.deepEqual(parseCallId('abc'), { id: 'abc', round: 0, isRestartRequest: false });
  assert.deepEqual(parseCallId('abc/again'), { id: 'abc', round: 0, isRestartRequest: true });
  for (const junk of [undefined, null, 7, {}, '']) assert.deepEqual(parseCallId(junk), { id: '', round: 0, isRestartRequest: false });
});
