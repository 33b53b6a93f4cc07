import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Context, allTracks, makeHarness, Stream, Track, mediaError } from '../harness/media.js';
import { settle } from '../harness/fakes.js';

test('a shared screen replaces the camera and gives way to it again', async () => {
  const { media } = makeHarness(allTracks);
  await media.start();
  const camera = media.outgoingTracks().video;
  await media.setScreen(true);
  assert.notEqual(media.outgoingTracks().video, camera);
  media.outgoingTracks().video.onended();
  await settle();
  assert.equal(media.outgoingTracks().video, camera);
});

test('screen audio is mixed with the microphone and removed when it ends', async () => {
  const { media } = makeHarness(({ audio, video }) => new Stream([...(audio ? [new Track('audio', { label: 'mic' })] : []), ...(video ? [new Track('video')] : [])]),
    { screen: () => new Stream([new Track('video'), new Track('audio', { label: 'film' })]) });
  await media.start();
  const mic = media.outgoingTracks().audio;
  await media.setScreen(true);
  assert.equal(media.outgoingTracks().audio.label, '[mic][film]');
  assert.equal(media.outgoingTracks().audio, media.outgoingTracks().audio, 'mixed once');
  await media.setMic(false);
  assert.equal(mic.enabled, false, 'the toggle affects the microphone, not the screen audio');
  media.outgoingTracks().video.onended();
  await settle();
  assert.equal(media.outgoingTracks().audio, mic);
  assert.equal(Context.open, 0);
});

test('a browser without screen audio shares video; a cancel is final', async () => {
  const requests = [];
  const { media } = makeHarness(allTracks, { screen: (wanted) => {
    requests.push(wanted);
    if (wanted.audio) throw new TypeError('audio');
    return new Stream([new Track('video')]);
  } });
  await media.start();
  await media.setScreen(true);
  assert.deepEqual([requests.length, media.state.screen], [2, true]);
  const other = makeHarness(allTracks, { screen: () => { requests.push(1); throw mediaError('NotAllowedError'); } });
  await other.media.start();
  await other.media.setScreen(true);
  assert.deepEqual([requests.length, other.media.state.screen], [3, false]);
});

test('a cancelled picker reports nothing, a refusal reports until the next try', async () => {
  let refuse = null;
  const harness = makeHarness(allTracks, { screen: () => {
    if (refuse) throw refuse;
    return new Stream([new Track('video')]);
  } });
  const { media, errors } = harness;
  await media.start();
  refuse = mediaError('NotAllowedError', 'Permission denied');
  await media.setScreen(true);
  assert.deepEqual([media.state.screen, errors], [false, [null]]);
  refuse = mediaError('NotAllowedError', 'Permission denied by system');
  await media.setScreen(true);
  assert.deepEqual([media.state.screen, media.state.error], [false, 'screen-denied-system']);
  assert.ok(media.outgoingTracks().video, 'the camera continues');
  refuse = mediaError('NotAllowedError', 'Permission denied');
  await media.setScreen(true);
  assert.equal(media.state.error, null);
  refuse = mediaError('NotReadableError');
  await media.setScreen(true);
  assert.equal(media.state.error, 'screen-failed');
  refuse = null;
  await media.setScreen(true);
  assert.deepEqual([media.state.screen, media.state.error], [true, null]);
});

test('a shared screen does not hide the camera\'s error, a policy is reported', async () => {
  const { media } = makeHarness((wanted) => {
    if (wanted.video) throw mediaError('NotReadableError');
    return allTracks(wanted);
  }, { allowed: (feature) => feature !== 'display-capture', screen: () => { throw mediaError('NotAllowedError'); } });
  await media.start();
  await media.setScreen(false);
  assert.equal(media.state.error, 'device-busy');
  await media.setScreen(true);
  assert.equal(media.state.error, 'screen-blocked');
});

test('a second picker does not open, and the picked screen stays shared', async () => {
  const answers = [];
  const { media } = makeHarness(allTracks, { screen: () => new Promise((done, refuse) => { answers.push({ done, refuse }); }) });
  await media.start();
  const both = [media.setScreen(true), media.setScreen(true)];
  await settle();
  answers[0].done(new Stream([new Track('video', { label: 'first' })]));
  await settle();
  answers[1]?.refuse(mediaError('NotAllowedError'));
  await Promise.all(both);
  assert.deepEqual([answers.length, media.state.screen, media.outgoingTracks().video.label, media.outgoingTracks().video.stopped], [1, true, 'first', false]);
});

test('a screen picked after leaving is stopped, and the next call can share', async () => {
  const answers = [];
  const { media } = makeHarness(allTracks, { screen: () => new Promise((done) => { answers.push(done); }) });
  await media.start();
  const late = [media.setScreen(true)];
  await settle();
  media.stop();
  await media.start();
  late.push(media.setScreen(true));
  await settle();
  const [before, now] = ['before', 'now'].map((label) => new Stream([new Track('video', { label })]));
  answers[0](before);
  await settle();
  assert.deepEqual([before.getTracks()[0].stopped, media.state.screen], [true, false]);
  answers[1](now);
  await Promise.all(late);
  assert.equal(media.outgoingTracks().video.label, 'now');
});
