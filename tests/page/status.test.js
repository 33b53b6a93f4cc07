import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stageOf } from './session-stage.js';

test('a dropped other is waited for with its own sentence', () => {
  const stage = stageOf();
  stage.talks();
  stage.link('disconnected');
  assert.equal(stage.words(), 'status.reconnecting');
  stage.room({ type: 'peer-away', id: 'you' });
  assert.equal(stage.words(), 'status.reconnecting.theirs');
  stage.room({ type: 'socket', open: false });
  assert.equal(stage.words(), 'status.reconnecting.ours');
});

test('no way in half a minute is said, and forgotten when there is one', async () => {
  const stage = stageOf();
  stage.sits('you');
  stage.link('new');
  await stage.clock.advance(30_000);
  assert.equal(stage.status(), 'failed');
  stage.link('connected');
  assert.equal(stage.status(), 'connected');
});

test('their network that is gone is not taken for networks without a way between them', async () => {
  const stage = stageOf();
  stage.talks();
  await stage.clock.advance(5000);
  stage.link('disconnected');
  await stage.clock.advance(40_000);
  assert.equal(stage.words(), 'status.reconnecting', 'the server needs 45 seconds to notice');
  stage.room({ type: 'peer-away', id: 'you' });
  await stage.clock.advance(60_000);
  assert.equal(stage.words(), 'status.reconnecting.theirs');
  assert.equal(stage.trouble().error, null);
  stage.room({ type: 'peer-back', id: 'you' });
  assert.equal(stage.words(), 'status.reconnecting', 'there is hope again');
  await stage.clock.advance(60_000);
  assert.equal(stage.status(), 'failed');
});

test('who is without a network for long is told so, and nothing of ways between networks', async () => {
  const stage = stageOf();
  stage.talks();
  stage.link('disconnected');
  stage.room({ type: 'socket', open: false });
  await stage.clock.advance(120_000);
  assert.equal(stage.words(), 'status.reconnecting.ours');
  assert.equal(stage.trouble().error, null);
});

test('another try after no way was found is one for the call, whatever the devices are', async () => {
  const stage = stageOf();
  stage.sits('you');
  stage.link('new');
  await stage.clock.advance(30_000);
  assert.deepEqual(stage.trouble('device-not-found'), { error: 'no-path', retry: 'call' });
  stage.session.tryAgain();
  assert.deepEqual([stage.repaired, stage.woken], [[30_000], [30_000]]);
  assert.equal(stage.status(), 'connecting');
  await stage.clock.advance(30_000);
  assert.equal(stage.status(), 'failed');
});

test('another try is offered where it helps, and for what it helps', () => {
  const stage = stageOf();
  assert.deepEqual(stage.trouble('device-busy'), { error: 'device-busy', retry: 'devices' });
  assert.deepEqual(stage.trouble('mic-lost'), { error: 'mic-lost', retry: null });
  assert.deepEqual(stage.trouble(), { error: null, retry: null });
  stage.session.complain('bad-room');
  assert.deepEqual(stage.trouble('device-busy'), { error: 'bad-room', retry: null });
  stage.session.join('den');
  stage.room({ type: 'socket', open: false });
  assert.deepEqual(stage.trouble('device-busy'), { error: 'unreachable', retry: 'call' });
  stage.talks();
  stage.session.leave();
  assert.deepEqual(stage.trouble('device-busy'), { error: null, retry: null });
});

for (const code of ['key-required', 'room-full']) {
  test(`a call that may not come back (${code}) goes on as long as it goes, which is said, and then ends`, async () => {
    const stage = stageOf();
    stage.talks();
    stage.room({ type: 'socket', open: false });
    stage.room({ type: 'refused', code });
    assert.equal(stage.words(), 'status.connected.outside');
    assert.deepEqual(stage.trouble(), { error: null, retry: null });
    stage.link('disconnected');
    await stage.clock.advance(4000);
    stage.link('connected');
    assert.equal(stage.words(), 'status.connected.outside');
    stage.link('failed');
    assert.equal(stage.words(), 'status.reconnecting', 'nobody looks for the server');
    await stage.clock.advance(8000);
    assert.deepEqual([stage.state.screen, stage.state.ended.how], ['after', 'weDropped']);
    stage.session.join('den');
    assert.equal(stage.state.outside, false);
  });
}

test('a call without its server says so, and no more', () => {
  const stage = stageOf();
  stage.talks();
  stage.room({ type: 'socket', open: false });
  assert.equal(stage.words(), 'status.connected.alone');
  stage.room({ type: 'socket', open: true });
  assert.equal(stage.words(), 'status.connected');
});

test('a picture that waits for a better network is said in one line, one that is smaller is not', () => {
  const stage = stageOf();
  stage.talks();
  stage.other({ type: 'picture', picture: 'paused' });
  assert.equal(stage.words(), 'status.connected.weak');
  stage.other({ type: 'picture', picture: 'reduced' });
  assert.equal(stage.words(), 'status.connected');
});
