import assert from 'node:assert/strict';
import { test } from 'node:test';
import { processingState } from '../../../public/media/processing.js';
import { BOTH_DEVICES, makeHarness, mediaError, storageOf, Stream, Track } from '../harness/media.js';

const SUPPORTED = { noiseSuppression: true, backgroundBlur: true };

/** A track with these settings; `applies`: whether constraints change them, as in Firefox, or not, as in Chromium. */
class ProcessedTrack extends Track {
  constructor(kind, { constraints = {}, applies = false, capabilities, ...options } = {}) {
    super(kind, options);
    Object.assign(this, { settings: { ...constraints }, applies, capabilities, applied: [] });
  }
  getSettings() { return { ...super.getSettings(), ...this.settings }; }
  getCapabilities() { return this.capabilities ?? {}; }
  async applyConstraints(constraints) {
    this.applied.push(constraints);
    if (this.applies === 'rejects') throw mediaError('OverconstrainedError');
    if (this.applies) this.settings = { ...constraints };
  }
}

function makeProcessed(options, parts = {}) {
  return makeHarness(({ audio, video }) => new Stream([
    ...(audio ? [new ProcessedTrack('audio', { id: 'a', constraints: plain(audio), ...options })] : []),
    ...(video ? [new ProcessedTrack('video', { id: 'c', constraints: video, ...options })] : []),
  ]), { ...BOTH_DEVICES, ...parts });
}

test('a browser that changes a running microphone is not asked for another one', async () => {
  const { media, requests } = makeProcessed({ applies: true });
  await media.start();
  const before = media.micTrack();
  await media.setProcessing('noiseSuppression', false);
  await media.setProcessing('echoCancellation', false);
  assert.deepEqual([requests.length, media.micTrack() === before], [1, true]);
  const { noiseSuppression, echoCancellation, autoGainControl } = before.getSettings();
  assert.deepEqual([noiseSuppression, echoCancellation, autoGainControl], [false, false, true]);
});

/** The constraints without `exact`. */
const plain = (constraints) => Object.fromEntries(Object.entries(constraints).map(([name, value]) => [name, value?.exact ?? value]));

test('where that has no effect the microphone is requested again', async () => {
  for (const applies of [false, 'rejects']) {
    const { media, requests } = makeProcessed({ applies });
    await media.start();
    const before = media.micTrack();
    await media.setProcessing('autoGainControl', false);
    assert.equal(requests.length, 2);
    assert.deepEqual([requests[1].video, requests[1].audio.autoGainControl, requests[1].audio.noiseSuppression], [undefined, { exact: false }, { exact: true }]);
    assert.deepEqual([before.stopped, media.micTrack().getSettings().autoGainControl], [true, false]);
  }
});

test('a muted microphone stays muted, and one that fails stays as it was', async () => {
  let fails = false;
  const { media } = makeHarness(({ audio, video }) => {
    if (fails) throw mediaError('NotReadableError');
    return new Stream([...(audio ? [new ProcessedTrack('audio', { constraints: audio })] : []), ...(video ? [new Track('video')] : [])]);
  }, BOTH_DEVICES);
  await media.start();
  await media.setMic(false);
  await media.setProcessing('noiseSuppression', false);
  assert.deepEqual([media.state.mic, media.micTrack().enabled], [false, false]);
  await media.setMic(true);
  fails = true;
  const before = media.micTrack();
  await media.setProcessing('noiseSuppression', true);
  assert.deepEqual([media.micTrack() === before, before.stopped, media.state.mic, media.state.error], [true, false, true, null]);
});

test('a microphone that cannot do what is required runs as it can', async () => {
  const { media, requests } = makeHarness(({ audio, video }) => {
    if (audio?.noiseSuppression?.exact === false) throw mediaError('OverconstrainedError');
    return new Stream([...(audio ? [new ProcessedTrack('audio', { constraints: plain(audio) })] : []), ...(video ? [new Track('video')] : [])]);
  }, BOTH_DEVICES);
  await media.start();
  await media.select('audioinput', 'a');
  await media.setProcessing('noiseSuppression', false);
  assert.deepEqual(requests.slice(-2).map(({ audio }) => [audio.noiseSuppression, audio.deviceId]), [[{ exact: false }, { exact: 'a' }], [false, { exact: 'a' }]]);
  assert.deepEqual([media.state.mic, media.state.error], [true, null]);
});

test('what was switched is remembered, and anything else in storage is on', async () => {
  const storage = storageOf();
  const first = makeProcessed({}, { storage });
  await first.media.start();
  await first.media.setProcessing('echoCancellation', false);
  const { media, requests } = makeProcessed({}, { storage });
  await media.start();
  assert.deepEqual([requests[0].audio.echoCancellation, requests[0].audio.noiseSuppression], [false, true]);
  const odd = makeProcessed({}, { storage: storageOf({ echoCancellation: 'no', noiseSuppression: 0, backgroundBlur: 'yes' }) });
  await odd.media.start();
  assert.deepEqual([odd.requests[0].audio.echoCancellation, odd.requests[0].audio.noiseSuppression, 'backgroundBlur' in odd.requests[0].video], [true, true, false]);
});

test('a switch of a microphone that is missing holds for the next one', async () => {
  const { media, requests } = makeProcessed({}, { list: [] });
  await media.setProcessing('noiseSuppression', false);
  assert.equal(requests.length, 0);
  await media.start();
  assert.equal(requests[0].audio.noiseSuppression, false);
});

test('the blur is applied to the running camera and never opens another one', async () => {
  for (const applies of [true, false]) {
    const { media, requests } = makeProcessed({ applies, capabilities: { backgroundBlur: [false, true] } });
    await media.start();
    const camera = media.outgoingTracks().video;
    assert.equal('backgroundBlur' in requests[0].video, false, 'left to the system');
    camera.settings.backgroundBlur = false;
    await media.setProcessing('backgroundBlur', true);
    assert.deepEqual([requests.length, media.outgoingTracks().video === camera], [1, true]);
    assert.deepEqual([camera.applied[0].backgroundBlur, camera.applied[0].width], [true, { ideal: 1280 }], 'with the other constraints');
    assert.equal(processingState('backgroundBlur', { ...media.processing('backgroundBlur'), supported: SUPPORTED }), applies, 'what the camera does');
  }
});

test('music is stereo without processing, remembered and told to the call', async () => {
  const processing = ({ echoCancellation, noiseSuppression, autoGainControl, channelCount }) => [echoCancellation, noiseSuppression, autoGainControl, channelCount];
  const storage = storageOf();
  const exact = (value) => ({ exact: value });
  const first = makeProcessed({}, { storage });
  await first.media.start();
  assert.deepEqual(processing(first.requests[0].audio), [true, true, true, undefined]);
  assert.equal(first.media.outgoingTracks().audio.contentHint, '');
  await first.media.setProcessing('music', true);
  assert.deepEqual(processing(first.requests[1].audio), [exact(false), exact(false), exact(false), 2]);
  assert.equal(first.media.outgoingTracks().audio.contentHint, 'music');
  const { media, requests } = makeProcessed({ applies: true }, { storage });
  await media.start();
  assert.deepEqual(processing(requests[0].audio), [false, false, false, 2]);
  await media.setProcessing('music', false);
  assert.deepEqual([requests.length, processing(media.micTrack().getSettings()), media.outgoingTracks().audio.contentHint], [1, [true, true, true, undefined], '']);
});

test('1080p is requested from the running camera, and remembered', async () => {
  const storage = storageOf();
  const first = makeProcessed({ applies: true }, { storage });
  await first.media.start();
  assert.deepEqual([first.requests[0].video.width, first.requests[0].video.height], [{ ideal: 1280 }, { ideal: 720 }]);
  const camera = first.media.outgoingTracks().video;
  await first.media.setProcessing('highResolution', true);
  assert.deepEqual([first.requests.length, first.media.outgoingTracks().video === camera], [1, true]);
  assert.deepEqual([camera.applied[0].width, camera.applied[0].height], [{ ideal: 1920 }, { ideal: 1080 }]);
  const { media, requests } = makeProcessed({}, { storage });
  await media.start();
  assert.deepEqual(requests[0].video.height, { ideal: 1080 });
  const odd = makeProcessed({}, { storage: storageOf({ highResolution: 'yes' }) });
  await odd.media.start();
  assert.deepEqual(odd.requests[0].video.height, { ideal: 720 });
});

test('music is offered where a browser captures two channels', () => {
  const state = (supported, preferred) => processingState('music', { track: null, preferred, supported });
  assert.deepEqual([state({ channelCount: true }, true), state({ channelCount: true }, undefined), state({}, true)], [true, false, null]);
});

test('1080p is offered unless the camera tells that it has less', () => {
  const state = (capabilities, preferred) => processingState('highResolution', { track: capabilities && new ProcessedTrack('video', { capabilities }), preferred, supported: {} });
  assert.deepEqual([state(null, undefined), state({}, true), state({ width: { max: 1920 }, height: { max: 1080 } }, true)], [false, true, true]);
  assert.equal(state({ width: { max: 1080 }, height: { max: 1920 } }, false), false, 'an upright phone');
  assert.equal(state({ width: { max: 1280 }, height: { max: 720 } }, true), null);
});

test('a blur that is switched in the system redraws the page', async () => {
  const { media, seen } = makeProcessed({ capabilities: { backgroundBlur: [false, true] } });
  await media.start();
  const [camera, before] = [media.outgoingTracks().video, seen.length];
  camera.settings.backgroundBlur = true;
  camera.onconfigurationchange();
  assert.equal(seen.length, before + 1);
  assert.equal(processingState('backgroundBlur', { ...media.processing('backgroundBlur'), supported: SUPPORTED }), true);
});

test('only what can be switched is offered', () => {
  const state = (name, track, preferred, supported = SUPPORTED) => processingState(name, { track, preferred, supported });
  const mic = (capabilities, constraints) => new ProcessedTrack('audio', { capabilities, constraints });
  assert.equal(state('noiseSuppression', null, true), true, 'before there is a microphone');
  assert.equal(state('noiseSuppression', null, true, {}), null);
  assert.equal(state('noiseSuppression', mic({ noiseSuppression: [false] }), true), null);
  assert.equal(state('noiseSuppression', mic({ noiseSuppression: [true, false] }, { noiseSuppression: false }), true), false, 'what the microphone does');
  assert.equal(state('noiseSuppression', mic({}), false), false);
  assert.equal(state('backgroundBlur', null, undefined), null);
  assert.equal(state('backgroundBlur', mic({}), true), null);
  assert.equal(state('backgroundBlur', mic({ backgroundBlur: [true] }), undefined), null, 'the system decides');
  assert.equal(state('backgroundBlur', mic({ backgroundBlur: [true, false] }), undefined), false);
});
