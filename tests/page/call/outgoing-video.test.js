import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connected } from '../harness/call.js';

/** Ann's picture meets a path that is full, after some seconds on a good one. */
async function weakened(harness, hint = 'motion') {
  const said = [];
  harness.ann.pc().channel.readyState = 'open';
  harness.ann.pc().channel.send = (text) => said.push(JSON.parse(text));
  harness.ann.call.setMuteState({ mic: true, cam: true, screen: hint === 'text' });
  await harness.ann.call.setTracks({ audio: null, video: { kind: 'video', contentHint: hint } });
  for (let second = 1; second <= 6; second += 1) {
    harness.ann.pc().reported = [100 * second, 0, 0, 0.02];
    await harness.flow(1000);
  }
  harness.ann.pc().reported = [800, 150, 0.8, 0.6];
  await harness.flow(500);
  return said;
}

test('a picture that waits for a better network is told as none, with the reason, and comes back', async () => {
  const harness = await connected();
  const said = await weakened(harness);
  assert.deepEqual(said.at(-1), { mic: true, cam: false, screen: false, weak: true });
  harness.ann.call.setMuteState({ mic: false, cam: true, screen: false });
  assert.deepEqual(said.at(-1), { mic: false, cam: false, screen: false, weak: true });
  await harness.flow(8000);
  assert.deepEqual(said.at(-1), { mic: false, cam: true, screen: false });
  const pictures = harness.ann.events.filter(({ type }) => type === 'outgoing-video').map(({ state }) => state);
  assert.deepEqual(pictures.filter((each, which) => each !== pictures[which - 1]), ['full', 'paused', 'reduced']);
});

test('a screen that waits is told apart, and its trials are no news to us or to them until one has lasted', async () => {
  const harness = await connected();
  const said = await weakened(harness, 'text');
  const news = () => harness.ann.events.filter(({ type }) => type === 'outgoing-video').map(({ state }) => state);
  assert.deepEqual(said.at(-1), { mic: true, cam: false, screen: false, still: true, weak: true });
  await harness.flow(8000);
  assert.deepEqual(said.at(-1), { mic: true, cam: true, screen: true, weak: true });
  assert.equal(news().at(-1), 'paused');
  await harness.flow(10_000);
  assert.deepEqual(said.at(-1), { mic: true, cam: true, screen: true });
  assert.deepEqual(news().filter((each, which) => each !== news()[which - 1]).slice(0, 3), ['full', 'paused', 'reduced']);
});

test('a camera switched off is not said to wait, and is not switched on by a better network', async () => {
  const harness = await connected();
  const said = await weakened(harness);
  harness.ann.call.setMuteState({ mic: true, cam: false, screen: false });
  await harness.ann.call.setTracks({ audio: null, video: null });
  assert.deepEqual(said.at(-1), { mic: true, cam: false, screen: false });
  assert.equal(harness.ann.events.filter(({ type }) => type === 'outgoing-video').at(-1).state, 'full');
  await harness.flow(60_000);
  assert.deepEqual(said.at(-1), { mic: true, cam: false, screen: false });
  assert.equal(harness.ann.pc().transceivers[1].sender.track, null);
});

test('whose picture waits is not missed, and a page says why it does not see them', async () => {
  const harness = await connected();
  await harness.flow(1000);
  harness.ann.pc().channel.onmessage({ data: '{"mic":false,"cam":false,"screen":false,"weak":true}' });
  await harness.clock.advance(60_000);
  assert.deepEqual([harness.ann.pc().restarts, harness.liveness(harness.ann)], [0, []]);
  assert.equal(harness.ann.events.filter(({ type }) => type === 'mute-state').at(-1).weak, true);
  harness.ann.pc().channel.onmessage({ data: '{"mic":true,"cam":true,"screen":false}' });
  assert.equal(harness.ann.events.filter(({ type }) => type === 'mute-state').at(-1).weak, false);
});

test('what was lost on a path that broke does not take the picture from the next', async () => {
  const harness = await connected();
  harness.ann.pc().reported = [100, 0, 0, 0.02];
  await harness.flow(6000);
  await harness.clock.advance(3000);
  await harness.flow(500);
  harness.ann.pc().reported = [800, 700, 0.9, 0.6];
  await harness.flow(1000);
  assert.deepEqual(harness.ann.events.filter(({ type }) => type === 'outgoing-video'), []);
});

test('a gap in what arrives does not hide what is lost of ours, since who listens in silence sends little', async () => {
  const harness = await connected();
  await harness.ann.call.setTracks({ audio: null, video: { kind: 'video' } });
  for (let second = 1; second <= 6; second += 1) {
    harness.ann.pc().reported = [100 * second, 0, 0, 0.02];
    await harness.flow(1000);
  }
  await harness.clock.advance(1300);
  assert.deepEqual(harness.liveness(harness.ann), ['delayed']);
  harness.ann.pc().reported = [800, 150, 0.8, 0.6];
  await harness.flow(1000);
  assert.deepEqual(harness.liveness(harness.ann), ['delayed', 'alive']);
  assert.equal(harness.ann.events.filter(({ type }) => type === 'outgoing-video').at(-1).state, 'paused');
});
