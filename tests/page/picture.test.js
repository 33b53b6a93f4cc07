import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connected } from './call-stage.js';

/** Ann's picture meets a path that is full, after some seconds on a good one. */
async function weakened(stage, hint = 'motion') {
  const said = [];
  stage.ann.pc().channel.readyState = 'open';
  stage.ann.pc().channel.send = (text) => said.push(JSON.parse(text));
  stage.ann.call.show({ mic: true, cam: true, screen: hint === 'text' });
  await stage.ann.call.carry({ audio: null, video: { kind: 'video', contentHint: hint } });
  for (let second = 1; second <= 6; second += 1) {
    stage.ann.pc().reported = [100 * second, 0, 0, 0.02];
    await stage.flow(1000);
  }
  stage.ann.pc().reported = [800, 150, 0.8, 0.6];
  await stage.flow(500);
  return said;
}

test('a picture that waits for a better network is told as none, with the reason, and comes back', async () => {
  const stage = await connected();
  const said = await weakened(stage);
  assert.deepEqual(said.at(-1), { mic: true, cam: false, screen: false, weak: true });
  stage.ann.call.show({ mic: false, cam: true, screen: false });
  assert.deepEqual(said.at(-1), { mic: false, cam: false, screen: false, weak: true });
  await stage.flow(8000);
  assert.deepEqual(said.at(-1), { mic: false, cam: true, screen: false });
  const pictures = stage.ann.heard.filter(({ type }) => type === 'picture').map(({ picture }) => picture);
  assert.deepEqual(pictures.filter((each, which) => each !== pictures[which - 1]), ['full', 'paused', 'reduced']);
});

test('a screen that waits is told apart, and its trials are no news to us or to them until one has lasted', async () => {
  const stage = await connected();
  const said = await weakened(stage, 'text');
  const news = () => stage.ann.heard.filter(({ type }) => type === 'picture').map(({ picture }) => picture);
  assert.deepEqual(said.at(-1), { mic: true, cam: false, screen: false, still: true, weak: true });
  await stage.flow(8000);
  assert.deepEqual(said.at(-1), { mic: true, cam: true, screen: true, weak: true });
  assert.equal(news().at(-1), 'paused');
  await stage.flow(10_000);
  assert.deepEqual(said.at(-1), { mic: true, cam: true, screen: true });
  assert.deepEqual(news().filter((each, which) => each !== news()[which - 1]).slice(0, 3), ['full', 'paused', 'reduced']);
});

test('a camera switched off is not said to wait, and is not switched on by a better network', async () => {
  const stage = await connected();
  const said = await weakened(stage);
  stage.ann.call.show({ mic: true, cam: false, screen: false });
  await stage.ann.call.carry({ audio: null, video: null });
  assert.deepEqual(said.at(-1), { mic: true, cam: false, screen: false });
  assert.equal(stage.ann.heard.filter(({ type }) => type === 'picture').at(-1).picture, 'full');
  await stage.flow(60_000);
  assert.deepEqual(said.at(-1), { mic: true, cam: false, screen: false });
  assert.equal(stage.ann.pc().transceivers[1].sender.track, null);
});

test('whose picture waits is not missed, and a page says why it does not see them', async () => {
  const stage = await connected();
  await stage.flow(1000);
  stage.ann.pc().channel.onmessage({ data: '{"mic":false,"cam":false,"screen":false,"weak":true}' });
  await stage.clock.advance(60_000);
  assert.deepEqual([stage.ann.pc().restarts, stage.pulses(stage.ann)], [0, []]);
  assert.equal(stage.ann.heard.filter(({ type }) => type === 'switches').at(-1).weak, true);
  stage.ann.pc().channel.onmessage({ data: '{"mic":true,"cam":true,"screen":false}' });
  assert.equal(stage.ann.heard.filter(({ type }) => type === 'switches').at(-1).weak, false);
});

test('what was lost on a path that broke does not take the picture from the next', async () => {
  const stage = await connected();
  stage.ann.pc().reported = [100, 0, 0, 0.02];
  await stage.flow(6000);
  await stage.clock.advance(3000);
  await stage.flow(500);
  stage.ann.pc().reported = [800, 700, 0.9, 0.6];
  await stage.flow(1000);
  assert.deepEqual(stage.ann.heard.filter(({ type }) => type === 'picture'), []);
});

test('a gap in what arrives does not hide what is lost of ours, since who listens in silence sends little', async () => {
  const stage = await connected();
  await stage.ann.call.carry({ audio: null, video: { kind: 'video' } });
  for (let second = 1; second <= 6; second += 1) {
    stage.ann.pc().reported = [100 * second, 0, 0, 0.02];
    await stage.flow(1000);
  }
  await stage.clock.advance(1300);
  assert.deepEqual(stage.pulses(stage.ann), ['faint']);
  stage.ann.pc().reported = [800, 150, 0.8, 0.6];
  await stage.flow(1000);
  assert.deepEqual(stage.pulses(stage.ann), ['faint', 'beating']);
  assert.equal(stage.ann.heard.filter(({ type }) => type === 'picture').at(-1).picture, 'paused');
});
