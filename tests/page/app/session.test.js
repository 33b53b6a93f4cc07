import assert from 'node:assert/strict';
import { test } from 'node:test';
import { statusOf } from '../../../public/app/status.js';
import { knockingKey } from '../../../public/ui/knocking-screen.js';
import { makeSessionHarness } from '../harness/session.js';

test('the lobby knows the occupancy, and a join resets it', () => {
  const harness = makeSessionHarness();
  harness.fromServer({ type: 'room', room: 'den', seats: 1 });
  assert.equal(harness.state.occupancy, 1);
  harness.joins(null);
  assert.equal(harness.state.occupancy, null);
});

test('a join that waits for a server does not say that the server cannot be reached', () => {
  const harness = makeSessionHarness();
  harness.session.join('den');
  harness.fromServer({ type: 'error', code: 'try-later', message: '', retry: 1 });
  harness.fromServer({ type: 'socket', open: false });
  assert.deepEqual(harness.error(), { error: 'no-server-yet', retry: null });
  assert.equal(harness.status(), 'joining');
  harness.fromServer({ type: 'socket', open: true });
  assert.equal(harness.error().error, null);
});

test('a lost path makes the session check its socket at once', () => {
  const harness = makeSessionHarness();
  harness.connects();
  assert.deepEqual(harness.checks, []);
  harness.connectionState('disconnected');
  assert.deepEqual(harness.checks, [harness.clock.now()]);
});

test('a session goes from the lobby through waiting into the call', () => {
  const harness = makeSessionHarness();
  assert.equal(statusOf(harness.state, false), 'idle');
  assert.equal(harness.status(), 'preview');
  harness.session.join('den');
  assert.equal(harness.status(), 'joining');
  harness.fromServer({ type: 'socket', open: true });
  harness.fromServer({ type: 'resp-join', id: 'me', peer: null, iceServers: [] });
  assert.equal(harness.status(), 'waiting');
  harness.fromServer({ type: 'new-peer', id: 'you', features: ['data-channels'] });
  assert.deepEqual(harness.peers.at(-1), ['me', 'you', false, true]);
  assert.equal(harness.status(), 'connecting');
  harness.connectionState('connected');
  assert.equal(harness.status(), 'connected');
});

test('leaving ends with the duration of the call', async () => {
  const harness = makeSessionHarness();
  harness.connects();
  await harness.clock.advance(763_000);
  harness.session.leave();
  assert.deepEqual(harness.state.ended, { reason: 'youLeft', seconds: 763, name: '' });
  assert.equal(harness.status(), 'idle');
  assert.deepEqual(harness.sent.at(-1), ['leave']);
});

test('leaving an empty room returns to the lobby', () => {
  const harness = makeSessionHarness();
  harness.joins(null);
  harness.session.leave();
  assert.equal(harness.status(), 'preview');
});

test('a peer that leaves ends the call with that reason', () => {
  const harness = makeSessionHarness();
  harness.connects();
  harness.fromServer({ type: 'peer-leave', id: 'you' });
  assert.equal(harness.state.ended.reason, 'theyLeft');
});

test('a hang-up message ends the call without the server', () => {
  const harness = makeSessionHarness();
  harness.connects();
  harness.fromCall({ type: 'hang-up' });
  assert.equal(harness.state.ended.reason, 'theyLeft');
});

test('media continues when only a socket is lost, ours or the peer\'s', () => {
  const harness = makeSessionHarness();
  harness.connects();
  harness.fromServer({ type: 'peer-away', id: 'you' });
  harness.fromServer({ type: 'socket', open: false });
  assert.equal(harness.status(), 'connected');
});

test('an expired seat ends a running call only when its media fails', async () => {
  const harness = makeSessionHarness();
  harness.connects();
  harness.fromServer({ type: 'peer-away', id: 'you' });
  harness.fromServer({ type: 'peer-leave', id: 'you' });
  assert.equal(harness.status(), 'connected');
  harness.connectionState('disconnected');
  assert.equal(harness.status(), 'reconnecting');
  await harness.clock.advance(8000);
  assert.equal(harness.state.ended.reason, 'theyDropped');
});

test('a peer that is silent for a moment is kept', async () => {
  const harness = makeSessionHarness();
  harness.connects();
  harness.fromServer({ type: 'peer-away', id: 'you' });
  harness.fromServer({ type: 'peer-leave', id: 'you' });
  harness.connectionState('disconnected');
  await harness.clock.advance(3000);
  harness.connectionState('connected');
  await harness.clock.advance(60_000);
  assert.equal(harness.status(), 'connected');
});

test('the room-full error disappears once a seat is free', () => {
  const harness = makeSessionHarness();
  harness.session.join('den');
  harness.fromServer({ type: 'refused', code: 'room-full' });
  harness.fromServer({ type: 'room', room: 'den', seats: null });
  harness.fromServer({ type: 'room', room: 'den', seats: 2 });
  assert.equal(harness.state.error, 'room-full');
  harness.fromServer({ type: 'room', room: 'den', seats: 1 });
  assert.equal(harness.state.error, null);
});

test('a peer that leaves before the first video leaves us waiting', () => {
  const harness = makeSessionHarness();
  harness.joins('you');
  harness.fromServer({ type: 'peer-leave', id: 'you' });
  assert.equal(harness.status(), 'waiting');
});

test('a full room keeps us in the lobby with the reason', () => {
  const harness = makeSessionHarness();
  harness.session.join('den');
  harness.fromServer({ type: 'refused', code: 'room-full' });
  assert.equal(harness.status(), 'preview');
  assert.equal(harness.state.error, 'room-full');
});

test('a required key can be entered', () => {
  const harness = makeSessionHarness();
  harness.session.join('den');
  harness.fromServer({ type: 'refused', code: 'key-required' });
  assert.ok(harness.state.needsKey);
  harness.session.join('den', { key: 'sesame' });
  assert.deepEqual(harness.sent.at(-1), ['join', 'den', 'sesame']);
});

test('a restarted server that knows no rooms does not end a call', () => {
  const harness = makeSessionHarness();
  harness.connects();
  harness.fromServer({ type: 'socket', open: false });
  harness.fromServer({ type: 'socket', open: true });
  harness.fromServer({ type: 'resp-join', id: 'me', peer: null, iceServers: [] });
  assert.equal(harness.status(), 'connected');
  harness.fromServer({ type: 'new-peer', id: 'you' });
  assert.equal(harness.state.peer, 'present');
  assert.equal(harness.status(), 'connected');
});

test('after a server restart a broken call waits for the same or a new peer', async () => {
  const harness = makeSessionHarness();
  harness.connects();
  harness.fromServer({ type: 'socket', open: false });
  harness.connectionState('disconnected');
  harness.fromServer({ type: 'socket', open: true });
  harness.fromServer({ type: 'resp-join', id: 'me', peer: null, iceServers: [] });
  assert.equal(harness.status(), 'reconnecting');
  assert.equal(harness.state.connectionState, 'disconnected');
  await harness.clock.advance(8000);
  assert.equal(harness.status(), 'waiting');
  assert.equal(harness.state.ended, null);
  harness.fromServer({ type: 'new-peer', id: 'you' });
  assert.equal(harness.status(), 'connecting');
});

test('a call continues when the peer follows to a restarted server', async () => {
  const harness = makeSessionHarness();
  harness.connects();
  harness.connectionState('disconnected');
  harness.fromServer({ type: 'resp-join', id: 'me', peer: null, iceServers: [] });
  harness.fromServer({ type: 'new-peer', id: 'you' });
  harness.connectionState('connected');
  await harness.clock.advance(60_000);
  assert.equal(harness.status(), 'connected');
  assert.equal(harness.state.connectedAt, 0);
});

test('delayed packets make the session check its socket', () => {
  const harness = makeSessionHarness();
  harness.connects();
  harness.fromCall({ type: 'liveness', state: 'delayed' });
  harness.fromCall({ type: 'liveness', state: 'silent' });
  assert.equal(harness.checks.length, 1);
});

test('a screen seen before stays one while paused, an unseen one does not', () => {
  const harness = makeSessionHarness();
  harness.connects();
  const sends = (cam, screen, rest) => {
    harness.fromCall({ type: 'mute-state', mic: true, cam, screen, weak: false, still: false, ...rest });
    return [harness.state.remote.cam, harness.state.remote.screen, harness.state.remote.weak];
  };
  const waits = [false, false, { weak: true, still: true }];
  assert.deepEqual(sends(...waits), [false, false, true]);
  assert.deepEqual(sends(true, true), [true, true, false]);
  assert.deepEqual(sends(...waits), [false, true, true]);
  assert.deepEqual(sends(true, true, { weak: true }), [true, true, true]);
  assert.deepEqual(sends(...waits), [false, true, true]);
  assert.deepEqual(sends(false, false, { weak: true }), [false, false, true], 'the camera is paused instead');
  assert.deepEqual(sends(...waits), [false, false, true]);
});

test('remote state holds for the same peer and is reset for another', () => {
  const harness = makeSessionHarness();
  harness.connects();
  const [first, second] = [{}, {}];
  harness.fromCall({ type: 'remote-stream', stream: first });
  assert.equal(harness.state.remote.stream, first);
  harness.fromCall({ type: 'mute-state', mic: true, cam: true, screen: true, weak: false, still: false });
  harness.connectionState('new');
  assert.deepEqual(harness.state.remote, { stream: null, mic: true, cam: true, screen: true, weak: false });
  harness.fromCall({ type: 'remote-stream', stream: second });
  // The screen is paused on the new connection before its first frame: it is the one seen before.
  harness.fromCall({ type: 'mute-state', mic: true, cam: false, screen: false, weak: true, still: true });
  assert.deepEqual([harness.state.remote.screen, harness.state.remote.weak], [true, true]);
  harness.connectionState('none');
  harness.connectionState('new');
  assert.deepEqual(harness.state.remote, { stream: null, mic: true, cam: true, screen: false, weak: false });
});

test('another tab with this seat ends the call here', () => {
  const harness = makeSessionHarness();
  harness.connects();
  harness.fromServer({ type: 'replaced' });
  assert.equal(harness.state.ended.reason, 'replaced');
  assert.ok(!harness.sent.some((sent) => sent[0] === 'leave'));
});

test('unknown messages change nothing', () => {
  const harness = makeSessionHarness();
  harness.connects();
  for (const type of ['constructor', '__proto__', 'toString', 'peer-leave', 'surprise']) harness.fromServer({ type, id: 'another' });
  assert.equal(harness.status(), 'connected');
});

test('a report starts when the pair is complete and stops before leaving', async () => {
  const harness = makeSessionHarness();
  harness.session.join('den');
  harness.fromServer({ type: 'resp-join', id: 'me', peer: null, iceServers: [] });
  await harness.clock.advance(9000);
  harness.fromServer({ type: 'new-peer', id: 'you' });
  await harness.clock.advance(400);
  harness.connectionState('new');
  harness.connectionState('connected');
  assert.deepEqual(harness.reports.slice(-2), ['start 9000', 'connected 9400']);
  harness.connectionState('disconnected');
  harness.fromServer({ type: 'new-peer', id: 'you' });
  harness.connectionState('connected');
  assert.ok(!harness.reports.includes('start 9400'), 'a recovered connection existed before');
  harness.session.leave();
  // The first one measures the time alone in the room.
  assert.deepEqual(harness.reports.filter((what) => what.startsWith('stop')), ['stop', 'stop', 'stop after leave']);
});

test('silence shows three seconds after the last packet, until the next one', async () => {
  const harness = makeSessionHarness();
  harness.connects();
  // Detected after two.
  harness.fromCall({ type: 'liveness', state: 'silent' });
  assert.equal(harness.status(), 'connected');
  await harness.clock.advance(1000);
  assert.equal(harness.status(), 'reconnecting');
  harness.fromCall({ type: 'liveness', state: 'alive' });
  assert.equal(harness.status(), 'connected');
  harness.fromCall({ type: 'liveness', state: 'silent' });
  harness.fromCall({ type: 'liveness', state: 'alive' });
  await harness.clock.advance(5000);
  assert.equal(harness.status(), 'connected');
});

test('a closed page is named as the reason, at once and at the end', () => {
  const harness = makeSessionHarness();
  harness.connects();
  harness.fromServer({ type: 'peer-away', id: 'you', closing: true });
  assert.equal(harness.statusKey(), 'status.reconnecting.closed');
  harness.fromServer({ type: 'peer-leave', id: 'you' });
  assert.equal(harness.state.ended.reason, 'theyClosed');
});

test('a peer with a closed page that still sends is in the call', async () => {
  const harness = makeSessionHarness();
  harness.connects();
  harness.fromServer({ type: 'peer-away', id: 'you', closing: true });
  await harness.clock.advance(10_000);
  assert.equal(harness.status(), 'connected');
  harness.fromServer({ type: 'peer-leave', id: 'you' });
  assert.deepEqual([harness.state.screen, harness.state.peer], ['call', 'gone']);
});

test('a closed page that is silent or muted stays closed', async () => {
  for (const quiet of [{ type: 'liveness', state: 'silent' }, { type: 'mute-state', mic: false, cam: false, screen: false }]) {
    const harness = makeSessionHarness();
    harness.connects();
    harness.fromCall(quiet);
    harness.fromServer({ type: 'peer-away', id: 'you', closing: true });
    await harness.clock.advance(14_000);
    assert.equal(harness.statusKey(), 'status.reconnecting.closed');
    harness.fromServer({ type: 'peer-leave', id: 'you' });
    assert.equal(harness.state.ended.reason, 'theyClosed');
  }
});

test('a peer that reopens its page is in the call again', () => {
  const harness = makeSessionHarness();
  harness.connects();
  harness.fromServer({ type: 'peer-away', id: 'you', closing: true });
  harness.fromServer({ type: 'peer-back', id: 'you' });
  assert.equal(harness.status(), 'connected');
  harness.fromServer({ type: 'peer-away', id: 'you' });
  harness.connectionState('disconnected');
  assert.equal(harness.statusKey(), 'status.reconnecting.theirs');
});

test('a browser without peer connections is named and leaves the room', () => {
  const harness = makeSessionHarness();
  harness.joins('you');
  harness.fromCall({ type: 'unsupported' });
  assert.deepEqual(harness.sent.at(-1), ['leave']);
  assert.deepEqual([harness.state.screen, harness.error().error], ['lobby', 'no-webrtc']);
});

test('a refused second connection does not end a running call', () => {
  const harness = makeSessionHarness();
  harness.connects();
  harness.fromCall({ type: 'unsupported' });
  assert.ok(!harness.sent.some(([what]) => what === 'leave'));
  assert.deepEqual([harness.state.screen, harness.state.error], ['call', null]);
});

test('gathering without candidates is shown as the browser\'s problem', async () => {
  const harness = makeSessionHarness();
  harness.joins('you');
  harness.connectionState('new');
  harness.fromCall({ type: 'no-candidates' });
  assert.deepEqual(harness.error(), { error: 'no-candidates', retry: 'call' });
  await harness.clock.advance(40_000);
  assert.equal(harness.error().error, 'no-candidates');
  harness.connectionState('connected');
  assert.equal(harness.error().error, null);
});

test('a missing common codec is shown during the call', () => {
  const harness = makeSessionHarness();
  harness.connects();
  harness.fromCall({ type: 'no-common-codec', kind: 'video' });
  assert.equal(harness.statusKey(), 'status.connected.no-video');
  harness.fromServer({ type: 'socket', open: false });
  assert.equal(harness.statusKey(), 'status.connected.alone', 'what may end the call has priority');
  harness.connectionState('new');
  assert.equal(harness.state.missingCodec, null);
});

test('names come with the peer, are cleaned, and are told at the end', () => {
  const harness = makeSessionHarness();
  harness.fromServer({ type: 'room', room: 'den', seats: 1, name: ' Bo\u202e ' });
  assert.equal(harness.state.inviterName, 'Bo');
  harness.session.join('den', { name: 'Ada' });
  assert.equal(harness.state.inviterName, '');
  harness.fromServer({ type: 'socket', open: true });
  harness.fromServer({ type: 'resp-join', id: 'me', peer: 'you', peerName: 'Bo\u0000', iceServers: [] });
  assert.equal(harness.state.peerName, 'Bo');
  harness.connectionState('connected');
  harness.fromServer({ type: 'new-peer', id: 'you', name: 'Bob' });
  harness.connectionState('connected');
  assert.equal(harness.state.peerName, 'Bob');
  harness.fromServer({ type: 'peer-leave', id: 'you' });
  assert.deepEqual([harness.state.ended.reason, harness.state.ended.name, harness.state.peerName], ['theyLeft', 'Bob', '']);
  for (const odd of [undefined, null, 7, {}]) {
    const other = makeSessionHarness();
    other.joins(null);
    other.fromServer({ type: 'new-peer', id: 'you', name: odd });
    assert.equal(other.state.peerName, '');
  }
});

test('a name survives a restart of the server during a call', () => {
  const harness = makeSessionHarness();
  harness.session.join('den');
  harness.fromServer({ type: 'socket', open: true });
  harness.fromServer({ type: 'resp-join', id: 'me', peer: 'you', peerName: 'Bo', iceServers: [] });
  harness.connectionState('connected');
  harness.fromServer({ type: 'resp-join', id: 'me', peer: null, iceServers: [] });
  assert.equal(harness.state.peerName, 'Bo');
});

/** A session that waits in front of the room. */
function waitingHarness() {
  const harness = makeSessionHarness();
  harness.session.join('den', { name: 'Cleo' });
  harness.fromServer({ type: 'socket', open: true });
  harness.fromServer({ type: 'waiting', position: 2 });
  return harness;
}

test('somebody waits in front of the room until they are let in', async () => {
  const harness = waitingHarness();
  assert.deepEqual([harness.state.screen, harness.status(), harness.statusKey(), harness.state.position], ['knocking', 'waiting', 'status.knocking', 2]);
  assert.equal(knockingKey(harness.state), null, 'nothing is said of a room that is not known yet');
  harness.fromServer({ type: 'room', room: 'den', seats: 2 });
  assert.equal(knockingKey(harness.state), 'knocking.full');
  harness.fromServer({ type: 'room', room: 'den', seats: 1 });
  assert.equal(knockingKey(harness.state), 'knocking.other');
  harness.fromServer({ type: 'room', room: 'den', seats: 0 });
  assert.equal(knockingKey(harness.state), 'knocking.host');
  harness.fromServer({ type: 'socket', open: false });
  assert.equal(harness.statusKey(), 'status.reconnecting.ours');
  harness.fromServer({ type: 'socket', open: true });
  harness.fromServer({ type: 'waiting', position: 1 });
  await harness.clock.advance(60_000);
  harness.fromServer({ type: 'resp-join', id: 'me', peer: 'you', peerName: 'Ada', iceServers: [] });
  assert.deepEqual([harness.state.screen, harness.status(), harness.state.peerName], ['call', 'connecting', 'Ada']);
  assert.equal(harness.reports.at(-1), 'start 60000', 'the time in front of the room is not the time to connect');
});

test('the person who waits can cancel, is declined, or opens the room as the host', () => {
  const cancelled = waitingHarness();
  cancelled.session.leave();
  assert.deepEqual([cancelled.state.screen, cancelled.sent.at(-1)], ['lobby', ['leave']]);
  const declined = waitingHarness();
  declined.fromServer({ type: 'refused', code: 'declined' });
  assert.deepEqual([declined.state.screen, declined.state.error], ['lobby', 'declined']);
  const host = waitingHarness();
  host.session.join('den');
  assert.equal(host.sent.length, 1, 'without the key that would be the same place again');
  host.session.join('den', { key: 'sesame' });
  assert.deepEqual([host.sent.at(-1), host.status()], [['join', 'den', 'sesame'], 'joining']);
  host.fromServer({ type: 'refused', code: 'key-required' });
  assert.deepEqual([host.state.screen, host.state.needsKey, host.state.triedKey], ['lobby', true, true]);
});

test('a knock can be answered once, and admitted only into a free seat', () => {
  const harness = makeSessionHarness();
  harness.connects();
  harness.fromServer({ type: 'knock', id: 'k1', name: 'Cleo' });
  harness.session.answerKnock('k1', true);
  harness.session.answerKnock('nobody', false);
  assert.ok(!harness.sent.some(([what]) => what === 'admit'), 'two are in the call');
  harness.session.answerKnock('k1', false);
  harness.session.answerKnock('k1', false);
  assert.deepEqual(harness.sent.filter(([what]) => what === 'decline'), [['decline', 'k1']]);
  harness.fromServer({ type: 'error', code: 'shutting-down', message: '' });
  harness.session.answerKnock('k1', false);
  assert.equal(harness.sent.filter(([what]) => what === 'decline').length, 2, 'the server did not take the first answer');
  harness.fromServer({ type: 'knock', id: 'k1', gone: true });
  assert.deepEqual(harness.state.knocks, []);
});

test('a call that ends while somebody knocks leaves us in the room to let them in', () => {
  for (const event of ['peer-leave', 'hang-up']) {
    const harness = makeSessionHarness();
    harness.connects();
    harness.fromServer({ type: 'knock', id: 'k1', name: 'Cleo' });
    if (event === 'hang-up') harness.fromCall({ type: 'hang-up' });
    harness.fromServer({ type: 'peer-leave', id: 'you' });
    assert.deepEqual([harness.state.screen, harness.state.ended, harness.state.knocks.length], ['waiting', null, 1]);
    harness.session.answerKnock('k1', true);
    assert.deepEqual(harness.sent.at(-1), ['admit', 'k1']);
    harness.fromServer({ type: 'knock', id: 'k1', gone: true });
    harness.fromServer({ type: 'new-peer', id: 'cleo', name: 'Cleo' });
    assert.deepEqual([harness.state.screen, harness.state.peerName], ['call', 'Cleo']);
  }
});

test('a call that fails beside a free seat leaves us with the person who knocks', async () => {
  const harness = makeSessionHarness();
  harness.connects();
  harness.fromServer({ type: 'knock', id: 'k1' });
  for (const type of ['peer-away', 'peer-leave']) harness.fromServer({ type, id: 'you' });
  harness.connectionState('failed');
  await harness.clock.advance(8000);
  assert.deepEqual([harness.state.screen, harness.state.knocks.length], ['waiting', 1]);
});

test('without a seat nobody can be let in, and the call ends', () => {
  const harness = makeSessionHarness();
  harness.connects();
  harness.fromServer({ type: 'knock', id: 'k1' });
  harness.fromServer({ type: 'refused', code: 'room-full' });
  assert.deepEqual([harness.status(), harness.state.knocks], ['connected', []]);
  harness.fromCall({ type: 'hang-up' });
  assert.equal(harness.state.ended.reason, 'theyLeft');
});

test('a peer that returns from another device may have another name', () => {
  const harness = makeSessionHarness();
  harness.connects();
  for (const [name, shown] of [['Ada', 'Ada'], ['Ada\u202e', 'Ada'], [undefined, ''], [7, '']]) {
    harness.fromServer({ type: 'peer-back', id: 'you', name });
    assert.equal(harness.state.peerName, shown);
  }
  harness.fromServer({ type: 'peer-back', id: 'nobody', name: 'Eve' });
  assert.equal(harness.state.peerName, '');
});

test('the server tells again who knocks after a rejoin, and nobody does after the end', () => {
  const harness = makeSessionHarness();
  harness.connects();
  harness.fromServer({ type: 'knock', id: 'k1' });
  harness.fromServer({ type: 'resp-join', id: 'me', peer: 'you', iceServers: [] });
  assert.deepEqual(harness.state.knocks, []);
  harness.fromServer({ type: 'knock', id: 'k2' });
  harness.session.leave();
  assert.deepEqual(harness.state.knocks, []);
});

test('another device that came with our code is named as the reason', async () => {
  const harness = makeSessionHarness();
  harness.connects();
  harness.session.requestTransfer();
  assert.deepEqual([harness.sent.at(-1), harness.session.transfer.code.phase], [['transfer'], 'requested']);
  harness.fromServer({ type: 'socket', open: false });
  assert.equal(harness.session.transfer.code.phase, 'failed', 'the answer is lost with the socket');
  harness.fromServer({ type: 'socket', open: true });
  harness.session.requestTransfer();
  harness.fromServer({ type: 'transfer', token: 'one-time', ttl: 60 });
  await harness.clock.advance(59_000);
  harness.fromServer({ type: 'replaced' });
  assert.deepEqual([harness.state.ended.reason, harness.session.transfer.code], ['moved', null]);
  assert.ok(!harness.sent.some((sent) => sent[0] === 'leave'), 'the seat is not ours any more');
});

test('the lobby knows another tab with the call until the room changes', () => {
  const harness = makeSessionHarness();
  harness.fromServer({ type: 'room', room: 'den', seats: null });
  harness.fromServer({ type: 'elsewhere', room: 'den', elsewhere: true });
  assert.equal(harness.state.elsewhere, true);
  harness.fromServer({ type: 'room', room: 'den', seats: 2 });
  assert.equal(harness.state.elsewhere, true);
  harness.fromServer({ type: 'room', room: 'attic', seats: null });
  assert.equal(harness.state.elsewhere, false);
});
