import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connected } from '../harness/call.js';

/** Ann's video meets a congested path after some seconds on a good one. */
async function congest(harness, hint = 'motion') {
  const sent = [];
  harness.ann.pc().channel.readyState = 'open';
  harness.ann.pc().channel.send = (text) => sent.push(JSON.parse(text));
  harness.ann.call.setMuteState({ mic: true, cam: true, screen: hint === 'text' });
  await harness.ann.call.setTracks({ audio: null, video: { kind: 'video', contentHint: hint } });
  for (let second = 1; second <= 6; second += 1) {
    harness.ann.pc().reported = [100 * second, 0, 0, 0.02];
    await harness.flow(1000);
  }
  harness.ann.pc().reported = [800, 150, 0.8, 0.6];
  await harness.flow(500);
  return sent;
}

test('paused video is announced with its reason and resumes', async () => {
  const harness = await connected();
  const sent = await congest(harness);
  assert.deepEqual(sent.at(-1), { mic: true, cam: false, screen: false, weak: true });
  harness.ann.call.setMuteState({ mic: false, cam: true, screen: false });
  assert.deepEqual(sent.at(-1), { mic: false, cam: false, screen: false, weak: true });
  await harness.flow(8000);
  assert.deepEqual(sent.at(-1), { mic: false, cam: true, screen: false });
  const states = harness.ann.events.filter(({ type }) => type === 'outgoing-video').map(({ state }) => state);
  assert.deepEqual(states.filter((each, which) => each !== states[which - 1]), ['full', 'paused', 'reduced']);
});

test('a paused screen is marked, and its trials are not announced early', async () => {
  const harness = await connected();
  const sent = await congest(harness, 'text');
  const states = () => harness.ann.events.filter(({ type }) => type === 'outgoing-video').map(({ state }) => state);
  assert.deepEqual(sent.at(-1), { mic: true, cam: false, screen: false, still: true, weak: true });
  await harness.flow(8000);
  assert.deepEqual(sent.at(-1), { mic: true, cam: true, screen: true, weak: true });
  assert.equal(states().at(-1), 'paused');
  await harness.flow(10_000);
  assert.deepEqual(sent.at(-1), { mic: true, cam: true, screen: true });
  assert.deepEqual(states().filter((each, which) => each !== states()[which - 1]).slice(0, 3), ['full', 'paused', 'reduced']);
});

test('a camera that is off is neither announced as paused nor switched on', async () => {
  const harness = await connected();
  const sent = await congest(harness);
  harness.ann.call.setMuteState({ mic: true, cam: false, screen: false });
  await harness.ann.call.setTracks({ audio: null, video: null });
  assert.deepEqual(sent.at(-1), { mic: true, cam: false, screen: false });
  assert.equal(harness.ann.events.filter(({ type }) => type === 'outgoing-video').at(-1).state, 'full');
  await harness.flow(60_000);
  assert.deepEqual(sent.at(-1), { mic: true, cam: false, screen: false });
  assert.equal(harness.ann.pc().transceivers[1].sender.track, null);
});

test('a peer\'s paused video is no silence, and its reason is shown', async () => {
  const harness = await connected();
  await harness.flow(1000);
  harness.ann.pc().channel.onmessage({ data: '{"mic":false,"cam":false,"screen":false,"weak":true}' });
  await harness.clock.advance(60_000);
  assert.deepEqual([harness.ann.pc().restarts, harness.liveness(harness.ann)], [0, []]);
  assert.equal(harness.ann.events.filter(({ type }) => type === 'mute-state').at(-1).weak, true);
  harness.ann.pc().channel.onmessage({ data: '{"mic":true,"cam":true,"screen":false}' });
  assert.equal(harness.ann.events.filter(({ type }) => type === 'mute-state').at(-1).weak, false);
});

test('loss before an interruption does not pause video after it', async () => {
  const harness = await connected();
  harness.ann.pc().reported = [100, 0, 0, 0.02];
  await harness.flow(6000);
  await harness.clock.advance(3000);
  await harness.flow(500);
  harness.ann.pc().reported = [800, 700, 0.9, 0.6];
  await harness.flow(1000);
  assert.deepEqual(harness.ann.events.filter(({ type }) => type === 'outgoing-video'), []);
});

test('a gap in received packets does not hide the loss of ours', async () => {
  const harness = await connected();
  await harness.ann.call.setTracks({ audio: null, video: { kind: 'video' } });
  for (let second = 1; second <= 6; second += 1) {
    harness.ann.pc().reported = [100 * second, 0, 0, 0.02];
    await harness.flow(1000);
  }
  await harness.clock.advance(800);
  assert.deepEqual(harness.liveness(harness.ann), ['delayed']);
  harness.ann.pc().reported = [800, 150, 0.8, 0.6];
  await harness.flow(1000);
  assert.deepEqual(harness.liveness(harness.ann), ['delayed', 'alive']);
  assert.equal(harness.ann.events.filter(({ type }) => type === 'outgoing-video').at(-1).state, 'paused');
});
