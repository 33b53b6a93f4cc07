import assert from 'node:assert/strict';
import { test } from 'node:test';
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
