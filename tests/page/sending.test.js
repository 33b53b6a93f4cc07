import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeSending } from '../../public/call/sender-control.js';
import { settle } from './stage.js';

/** A sender as browsers have them: parameters are handed out as copies; `refuses` says what it does not take. */
class FakeSender {
  set = [];
  track = null;
  encoding = { active: true };
  refuses = () => false;
  /** As what it refuses. */
  trouble = 'OperationError';
  asked = 0;
  codecs = [];
  getParameters() {
    return { transactionId: 'one', codecs: this.codecs, encodings: this.encoding ? [{ ...this.encoding }] : [] };
  }
  async setParameters({ encodings, degradationPreference }) {
    this.asked += 1;
    if (this.refuses(encodings[0])) throw new DOMException('no', this.trouble);
    this.set.push(degradationPreference);
    this.encoding = encodings[0];
  }
}

const camera = (size = { width: 1280, height: 720 }) => ({ kind: 'video', contentHint: 'motion', getSettings: () => size });
const screen = () => ({ kind: 'video', contentHint: 'text', getSettings: () => ({ width: 1600, height: 900 }) });

function stageOf() {
  const stage = { audio: new FakeSender(), video: new FakeSender(), told: [] };
  stage.video.track = camera();
  stage.sending = makeSending({ sender: (kind) => stage[kind], changed: () => stage.told.push(stage.sending.picture()) });
  let time = 0;
  let [sent, lost] = [0, 0];
  /** A second of a path: what share is lost, and the round trip. */
  stage.path = 'one';
  stage.second = async (share, rtt = 0.02) => {
    sent += 100;
    lost += 100 * share;
    time += 1;
    for (let beat = 0; beat < 4; beat += 1) {
      stage.sending.hear(new Map([['pair', { type: 'candidate-pair', id: stage.path, selected: true }], ['out', { type: 'outbound-rtp', id: 'out', kind: 'video', packetsSent: sent }],
        ['in', { type: 'remote-inbound-rtp', id: 'in', localId: 'out', kind: 'video', packetsLost: lost, fractionLost: share, roundTripTime: rtt, timestamp: time }]]));
      await settle();
    }
  };
  stage.collapses = async () => {
    for (let i = 0; i < 5; i += 1) await stage.second(0);
    await stage.second(0.8, 0.6);
  };
  return stage;
}

test('sound goes first from the first moment, and the picture has its limits', async () => {
  const { sending, audio, video } = stageOf();
  await sending.dress();
  assert.deepEqual([audio.encoding.priority, audio.encoding.networkPriority], ['high', 'high']);
  assert.equal(video.encoding.maxBitrate, 1_500_000);
  assert.deepEqual(video.set, ['maintain-framerate']);
});

test('what is so already is not set again', async () => {
  const stage = stageOf();
  for (let i = 0; i < 10; i += 1) await stage.second(0);
  assert.deepEqual([stage.audio.set.length, stage.video.set.length], [1, 1]);
});

test('a path that is full pauses the picture, and a calm one has it back', async () => {
  const stage = stageOf();
  await stage.collapses();
  assert.equal(stage.video.encoding.active, false);
  assert.equal(stage.audio.encoding.active, true);
  for (let i = 0; i < 8; i += 1) await stage.second(0);
  assert.equal(stage.video.encoding.active, true);
  assert.deepEqual(stage.told.slice(0, 2), ['paused', 'reduced']);
});

test('another path is tried at once, and what was lost on the one before is not held against it', async () => {
  const stage = stageOf();
  await stage.collapses();
  stage.path = 'another';
  await stage.second(0.8, 0.6);
  assert.equal(stage.video.encoding.active, true);
  for (let i = 0; i < 15; i += 1) await stage.second(0);
  assert.equal(stage.sending.picture(), 'full');
});

test('a browser that begins anew with the track or the offers is told again', async () => {
  const stage = stageOf();
  await stage.collapses();
  stage.video.encoding = { active: true };
  await stage.sending.dress();
  assert.equal(stage.video.encoding.active, false);
  stage.video = new FakeSender();
  await stage.sending.dress();
  assert.equal(stage.video.encoding.active, false);
});

test('a screen keeps its size, and a camera after it its motion', async () => {
  const stage = stageOf();
  stage.video.track = screen();
  await stage.sending.dress();
  assert.deepEqual([stage.video.set.at(-1), stage.video.encoding.scaleResolutionDownBy], ['maintain-resolution', 1]);
  stage.video.track = camera();
  await stage.sending.dress();
  assert.equal(stage.video.set.at(-1), 'maintain-framerate');
});

test('a paused picture is put to another codec of those agreed on, so that nothing lost is repeated', async () => {
  const stage = stageOf();
  stage.video.codecs = ['video/VP8', 'video/rtx', 'video/red', 'video/VP9'].map((mimeType) => ({ mimeType }));
  await stage.collapses();
  assert.deepEqual(stage.video.encoding.codec, { mimeType: 'video/VP9' });
  for (let i = 0; i < 8; i += 1) await stage.second(0);
  assert.equal(stage.video.encoding.active, true);
  assert.equal('codec' in stage.video.encoding, false);
});

test('a browser without codecs to choose from pauses as well', async () => {
  const stage = stageOf();
  stage.video.codecs = [{ mimeType: 'video/VP8' }];
  stage.video.refuses = (encoding) => encoding.codec !== undefined;
  await stage.collapses();
  assert.equal(stage.video.encoding.active, false);
});

test('a browser that refuses the finer wishes gets the bare limits, and one that refuses all is left alone', async () => {
  const stage = stageOf();
  stage.audio.refuses = (encoding) => 'networkPriority' in encoding;
  stage.video.refuses = () => true;
  await stage.collapses();
  assert.deepEqual(stage.audio.encoding, { active: true, maxBitrate: 16_000 });
  assert.deepEqual(stage.video.set, []);
});

test('a browser that refuses all is asked once for each wish, and again where the sender is another', async () => {
  const stage = stageOf();
  stage.video.refuses = () => true;
  for (let i = 0; i < 5; i += 1) await stage.second(0);
  assert.equal(stage.video.asked, 2);
  await stage.second(0.8, 0.6);
  assert.equal(stage.video.asked, 4);
  stage.video = Object.assign(new FakeSender(), { track: camera() });
  await stage.sending.dress();
  assert.deepEqual([stage.video.asked, stage.video.encoding.active], [1, false]);
});

test('a refusal for a moment costs nothing of the wish: the next reading asks for all of it', async () => {
  const stage = stageOf();
  Object.assign(stage.video, { refuses: () => true, trouble: 'InvalidStateError' });
  await stage.sending.dress();
  assert.deepEqual([stage.video.asked, stage.video.set], [1, []]);
  stage.video.refuses = () => false;
  await stage.second(0);
  assert.deepEqual(stage.video.set, ['maintain-framerate']);
  assert.deepEqual([stage.video.encoding.maxFramerate, stage.video.encoding.scaleResolutionDownBy], [30, 1]);
});

test('nothing is asked of a sender that is not there, cannot, or has nothing negotiated', async () => {
  for (const odd of [undefined, { track: null }, Object.assign(new FakeSender(), { encoding: null })]) {
    await makeSending({ sender: () => odd, changed: assert.fail }).dress();
    assert.deepEqual(odd?.set ?? [], []);
  }
});
