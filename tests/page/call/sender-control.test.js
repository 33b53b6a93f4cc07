import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeSenderControl } from '../../../public/call/sender-control.js';
import { settle } from '../harness/fakes.js';

/** A sender as in browsers: parameters are copies; `rejects` decides what it rejects. */
class FakeSender {
  set = [];
  track = null;
  encoding = { active: true };
  rejects = () => false;
  /** The name of the error. */
  errorName = 'OperationError';
  attempts = 0;
  codecs = [];
  getParameters() {
    return { transactionId: 'one', codecs: this.codecs, encodings: this.encoding ? [{ ...this.encoding }] : [] };
  }
  async setParameters({ encodings, degradationPreference }) {
    this.attempts += 1;
    if (this.rejects(encodings[0])) throw new DOMException('no', this.errorName);
    this.set.push(degradationPreference);
    this.encoding = encodings[0];
  }
}

const camera = (size = { width: 1280, height: 720 }) => ({ kind: 'video', contentHint: 'motion', getSettings: () => size });
const screen = () => ({ kind: 'video', contentHint: 'text', getSettings: () => ({ width: 1600, height: 900 }) });

function makeHarness() {
  const harness = { audio: new FakeSender(), video: new FakeSender(), states: [] };
  harness.video.track = camera();
  harness.control = makeSenderControl({ sender: (kind) => harness[kind], changed: () => harness.states.push(harness.control.outgoingVideo()) });
  let time = 0;
  let [sent, lost] = [0, 0];
  /** One second with this loss and round trip. */
  harness.path = 'one';
  harness.second = async (share, rtt = 0.02) => {
    sent += 100;
    lost += 100 * share;
    time += 1;
    for (let tick = 0; tick < 4; tick += 1) {
      harness.control.update(new Map([['pair', { type: 'candidate-pair', id: harness.path, selected: true }], ['out', { type: 'outbound-rtp', id: 'out', kind: 'video', packetsSent: sent }],
        ['in', { type: 'remote-inbound-rtp', id: 'in', localId: 'out', kind: 'video', packetsLost: lost, fractionLost: share, roundTripTime: rtt, timestamp: time }]]));
      await settle();
    }
  };
  harness.congest = async () => {
    for (let i = 0; i < 5; i += 1) await harness.second(0);
    await harness.second(0.8, 0.6);
  };
  return harness;
}

test('audio has priority and video its limits from the start', async () => {
  const { control, audio, video } = makeHarness();
  await control.apply();
  assert.deepEqual([audio.encoding.priority, audio.encoding.networkPriority], ['high', 'high']);
  assert.equal(video.encoding.maxBitrate, 2_500_000);
  assert.deepEqual(video.set, ['maintain-framerate']);
});

test('parameters in effect are not set again', async () => {
  const harness = makeHarness();
  // The start of a camera takes twenty readings with video.
  for (let i = 0; i < 22; i += 1) await harness.second(0);
  const before = [harness.audio.set.length, harness.video.set.length];
  for (let i = 0; i < 10; i += 1) await harness.second(0);
  assert.deepEqual([harness.audio.set.length, harness.video.set.length], before);
});

test('a congested path pauses video, and a stable one resumes it', async () => {
  const harness = makeHarness();
  await harness.congest();
  assert.equal(harness.video.encoding.active, false);
  assert.equal(harness.audio.encoding.active, true);
  for (let i = 0; i < 8; i += 1) await harness.second(0);
  assert.equal(harness.video.encoding.active, true);
  assert.deepEqual(harness.states.slice(0, 2), ['paused', 'reduced']);
});

test('a new path is tried at once without the losses of the old one', async () => {
  const harness = makeHarness();
  await harness.congest();
  harness.path = 'another';
  await harness.second(0.8, 0.6);
  assert.equal(harness.video.encoding.active, true);
  for (let i = 0; i < 15; i += 1) await harness.second(0);
  assert.equal(harness.control.outgoingVideo(), 'full');
});

test('a browser that resets the encoding gets its parameters again', async () => {
  const harness = makeHarness();
  await harness.congest();
  harness.video.encoding = { active: true };
  await harness.control.apply();
  assert.equal(harness.video.encoding.active, false);
  harness.video = new FakeSender();
  await harness.control.apply();
  assert.equal(harness.video.encoding.active, false);
});

test('a screen keeps its resolution, a camera its frame rate', async () => {
  const harness = makeHarness();
  harness.video.track = screen();
  await harness.control.apply();
  assert.deepEqual([harness.video.set.at(-1), harness.video.encoding.scaleResolutionDownBy], ['maintain-resolution', 1]);
  harness.video.track = camera();
  for (let i = 0; i < 22; i += 1) await harness.second(0);
  assert.equal(harness.video.set.at(-1), 'maintain-framerate', 'once it has begun');
});

test('paused video switches to another negotiated codec', async () => {
  const harness = makeHarness();
  harness.video.codecs = ['video/VP8', 'video/rtx', 'video/red', 'video/VP9'].map((mimeType) => ({ mimeType }));
  await harness.congest();
  assert.deepEqual(harness.video.encoding.codec, { mimeType: 'video/VP9' });
  for (let i = 0; i < 8; i += 1) await harness.second(0);
  assert.equal(harness.video.encoding.active, true);
  assert.equal('codec' in harness.video.encoding, false);
});

test('a browser without another codec pauses as well', async () => {
  const harness = makeHarness();
  harness.video.codecs = [{ mimeType: 'video/VP8' }];
  harness.video.rejects = (encoding) => encoding.codec !== undefined;
  await harness.congest();
  assert.equal(harness.video.encoding.active, false);
});

test('rejected parameters fall back to the limits, then to nothing', async () => {
  const harness = makeHarness();
  harness.audio.rejects = (encoding) => 'networkPriority' in encoding;
  harness.video.rejects = () => true;
  await harness.congest();
  assert.deepEqual(harness.audio.encoding, { active: true, maxBitrate: 16_000 });
  assert.deepEqual(harness.video.set, []);
});

test('each rejected set is tried once, and again with a new sender', async () => {
  const harness = makeHarness();
  // The start of a camera takes twenty readings with video.
  for (let i = 0; i < 22; i += 1) await harness.second(0);
  harness.video = Object.assign(new FakeSender(), { track: camera(), rejects: () => true });
  for (let i = 0; i < 5; i += 1) await harness.second(0);
  assert.equal(harness.video.attempts, 2);
  await harness.second(0.8, 0.6);
  assert.equal(harness.video.attempts, 4);
  harness.video = Object.assign(new FakeSender(), { track: camera() });
  await harness.control.apply();
  assert.deepEqual([harness.video.attempts, harness.video.encoding.active], [1, false]);
});

test('an InvalidStateError is retried with the whole set', async () => {
  const harness = makeHarness();
  Object.assign(harness.video, { rejects: () => true, errorName: 'InvalidStateError' });
  await harness.control.apply();
  assert.deepEqual([harness.video.attempts, harness.video.set], [1, []]);
  harness.video.rejects = () => false;
  await harness.second(0);
  assert.equal(harness.video.set.length, 1);
  assert.equal(harness.video.encoding.maxFramerate, 30);
});

test('a missing, unable or unnegotiated sender is left alone', async () => {
  for (const odd of [undefined, { track: null }, Object.assign(new FakeSender(), { encoding: null })]) {
    await makeSenderControl({ sender: () => odd, changed: assert.fail }).apply();
    assert.deepEqual(odd?.set ?? [], []);
  }
});
