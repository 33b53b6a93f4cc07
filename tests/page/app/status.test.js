import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endKey, initialState, presentationOf, qualityWith } from '../../../public/app/status.js';
import { makeSessionHarness } from '../harness/session.js';

test('a disconnected peer has a sentence of its own', () => {
  const harness = makeSessionHarness();
  harness.connects();
  harness.connectionState('disconnected');
  assert.equal(harness.statusKey(), 'status.reconnecting');
  harness.fromServer({ type: 'peer-away', id: 'you' });
  assert.equal(harness.statusKey(), 'status.reconnecting.theirs');
  harness.fromServer({ type: 'socket', open: false });
  assert.equal(harness.statusKey(), 'status.reconnecting.ours');
});

test('a path missing for half a minute is shown until one is found', async () => {
  const harness = makeSessionHarness();
  harness.joins('you');
  harness.connectionState('new');
  await harness.clock.advance(30_000);
  assert.equal(harness.status(), 'failed');
  harness.connectionState('connected');
  assert.equal(harness.status(), 'connected');
});

test('a peer\'s dead network is not shown as a missing path', async () => {
  const harness = makeSessionHarness();
  harness.connects();
  await harness.clock.advance(5000);
  harness.connectionState('disconnected');
  await harness.clock.advance(40_000);
  assert.equal(harness.statusKey(), 'status.reconnecting', 'the server needs 45 seconds to notice');
  harness.fromServer({ type: 'peer-away', id: 'you' });
  await harness.clock.advance(60_000);
  assert.equal(harness.statusKey(), 'status.reconnecting.theirs');
  assert.equal(harness.error().error, null);
  harness.fromServer({ type: 'peer-back', id: 'you' });
  assert.equal(harness.statusKey(), 'status.reconnecting', 'there is another chance');
  await harness.clock.advance(60_000);
  assert.equal(harness.status(), 'failed');
});

test('a page offline for long shows that, and nothing about paths', async () => {
  const harness = makeSessionHarness();
  harness.connects();
  harness.connectionState('disconnected');
  harness.fromServer({ type: 'socket', open: false });
  await harness.clock.advance(120_000);
  assert.equal(harness.statusKey(), 'status.reconnecting.ours');
  assert.equal(harness.error().error, null);
});

test('a retry after a missing path is for the call, whatever the devices do', async () => {
  const harness = makeSessionHarness();
  harness.joins('you');
  harness.connectionState('new');
  await harness.clock.advance(30_000);
  assert.deepEqual(harness.error('device-not-found'), { error: 'no-path', retry: 'call' });
  harness.session.retry();
  assert.deepEqual([harness.recoveries, harness.checks], [[30_000], [30_000]]);
  assert.equal(harness.status(), 'connecting');
  await harness.clock.advance(30_000);
  assert.equal(harness.status(), 'failed');
});

test('a retry is offered where it helps, and for what it helps', () => {
  const harness = makeSessionHarness();
  assert.deepEqual(harness.error('device-busy'), { error: 'device-busy', retry: 'devices' });
  assert.deepEqual(harness.error('mic-lost'), { error: 'mic-lost', retry: null });
  assert.deepEqual(harness.error(), { error: null, retry: null });
  harness.session.setError('bad-room');
  assert.deepEqual(harness.error('device-busy'), { error: 'bad-room', retry: null });
  harness.session.join('den');
  harness.fromServer({ type: 'socket', open: false });
  assert.deepEqual(harness.error('device-busy'), { error: 'unreachable', retry: 'call' });
  harness.connects();
  harness.session.leave();
  assert.deepEqual(harness.error('device-busy'), { error: null, retry: null });
});

for (const code of ['key-required', 'room-full']) {
  test(`a refused rejoin (${code}) keeps the call until its media fails`, async () => {
    const harness = makeSessionHarness();
    harness.connects();
    harness.fromServer({ type: 'socket', open: false });
    harness.fromServer({ type: 'refused', code });
    assert.equal(harness.statusKey(), 'status.connected.outside');
    assert.deepEqual(harness.error(), { error: null, retry: null });
    harness.connectionState('disconnected');
    await harness.clock.advance(4000);
    harness.connectionState('connected');
    assert.equal(harness.statusKey(), 'status.connected.outside');
    harness.connectionState('failed');
    assert.equal(harness.statusKey(), 'status.reconnecting', 'the server is not contacted');
    await harness.clock.advance(8000);
    assert.deepEqual([harness.state.screen, harness.state.ended.reason], ['ended', 'weDropped']);
    harness.session.join('den');
    assert.equal(harness.state.detached, false);
  });
}

test('a call without its server shows that and no more', () => {
  const harness = makeSessionHarness();
  harness.connects();
  harness.fromServer({ type: 'socket', open: false });
  assert.equal(harness.statusKey(), 'status.connected.alone');
  harness.fromServer({ type: 'socket', open: true });
  assert.equal(harness.statusKey(), 'status.connected');
});

test('paused video is shown in one line, reduced video is not', () => {
  const harness = makeSessionHarness();
  harness.connects();
  harness.fromCall({ type: 'outgoing-video', state: 'paused' });
  assert.equal(harness.statusKey(), 'status.connected.weak');
  harness.fromCall({ type: 'outgoing-video', state: 'reduced' });
  assert.equal(harness.statusKey(), 'status.connected');
});

test('a lost participant is named, and the silence is theirs while our socket answers', async () => {
  const harness = makeSessionHarness();
  harness.session.join('den');
  harness.fromServer({ type: 'socket', open: true });
  harness.fromServer({ type: 'resp-join', id: 'me', peer: 'you', peerName: 'Bo', iceServers: [] });
  harness.connectionState('connected');
  harness.fromCall({ type: 'liveness', state: 'delayed' });
  assert.deepEqual(presentationOf(harness.state, true), { status: 'connected', statusKey: 'status.connected', showsPath: true, late: true, dimmed: false });
  harness.fromCall({ type: 'liveness', state: 'silent' });
  await harness.clock.advance(1000);
  assert.deepEqual(presentationOf(harness.state, true), { status: 'reconnecting', statusKey: 'named.theirs', showsPath: false, late: false, dimmed: true });
  harness.connectionState('disconnected');
  assert.equal(harness.statusKey(), 'named.theirs', 'the browser has noticed it too: that is no other event');
  harness.fromServer({ type: 'socket', open: false });
  assert.equal(harness.statusKey(), 'status.reconnecting.ours');
  harness.fromServer({ type: 'socket', open: true });
  harness.fromServer({ type: 'peer-away', id: 'you', closing: true });
  assert.equal(harness.statusKey(), 'named.closed');
});

/** Every combination of these values of the state. */
function* combinations(values, chosen = {}) {
  const [name, ...rest] = Object.keys(values);
  if (name === undefined) return yield chosen;
  const { [name]: options, ...others } = values;
  for (const option of options) yield* combinations(rest.length ? others : {}, { ...chosen, [name]: option });
}

test('sentence, badge and picture agree in every state of a call', () => {
  let checked = 0;
  for (const change of combinations({
    screen: ['lobby', 'knocking', 'waiting', 'call', 'ended'], joining: [false, true], socketOpen: [true, false], peer: ['none', 'present', 'away', 'gone'],
    peerClosing: [false, true], connectionState: ['none', 'new', 'connecting', 'connected', 'disconnected', 'failed', 'closed'], late: [false, true],
    silent: [false, true], timedOut: [false, true], detached: [false, true], connectedAt: [null, 1], peerName: ['', 'Bo'], missingCodec: [null, 'video'],
    outgoingVideo: ['full', 'paused'],
  })) {
    const state = { ...initialState(), ...change };
    const { status, statusKey, showsPath, late, dimmed } = presentationOf(state, true);
    const saysConnected = /^status\.connected/.test(statusKey);
    const isStill = state.screen === 'call' && (state.connectionState !== 'connected' || state.silent || state.peerClosing);
    const facts = JSON.stringify(change);
    checked += 1;
    if (saysConnected !== (status === 'connected') || showsPath !== saysConnected) assert.fail(`sentence and badge: ${facts}`);
    if (isStill && (saysConnected || showsPath)) assert.fail(`connected beside a picture that stands still: ${facts}`);
    if (isStill && state.connectedAt !== null && !dimmed) assert.fail(`a picture that looks live: ${facts}`);
    if (dimmed && (saysConnected || state.screen !== 'call')) assert.fail(`dimmed while live: ${facts}`);
    if (state.late && showsPath && !late) assert.fail(`good quality while packets are late: ${facts}`);
    if (/^named\./.test(statusKey) && !state.peerName) assert.fail(`a sentence without its name: ${facts}`);
    if (state.peerClosing && statusKey === 'named.theirs') assert.fail(`a closed page called a lost connection: ${facts}`);
  }
  assert.ok(checked > 50_000, `${checked}`);
});

test('the end is told with a name where there is one', () => {
  const keys = (name) => ['youLeft', 'theyLeft', 'theyClosed', 'theyDropped', 'weDropped', 'replaced', 'moved'].map((reason) => endKey({ reason, name, seconds: 1 }));
  assert.deepEqual(keys(''), ['after.youLeft', 'after.theyLeft', 'after.theyClosed', 'after.theyDropped', 'after.weDropped', 'after.replaced', 'after.moved']);
  assert.deepEqual(keys('Bo'), ['after.youLeft', 'named.theyLeft', 'named.theyClosed', 'named.theyDropped', 'after.weDropped', 'after.replaced', 'after.moved']);
});

test('a network that does not carry our video is not good', () => {
  assert.deepEqual(['full', 'reduced', 'paused'].map((picture) => qualityWith('good', picture)), ['good', 'fair', 'poor']);
  assert.deepEqual(['full', 'reduced', 'paused'].map((picture) => qualityWith('poor', picture)), ['poor', 'poor', 'poor']);
});
