import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Context, everything, stageOf, Stream, Track, trouble } from './media-stage.js';
import { settle } from './stage.js';

test('a shared screen takes the place of the camera and gives it back', async () => {
  const { media } = stageOf(everything);
  await media.start();
  const camera = media.outgoing().video;
  await media.setScreen(true);
  assert.notEqual(media.outgoing().video, camera);
  media.outgoing().video.onended();
  await settle();
  assert.equal(media.outgoing().video, camera);
});

test('the sound of a screen goes out with the voice, and the voice alone when it ends', async () => {
  const { media } = stageOf(({ audio, video }) => new Stream([...(audio ? [new Track('audio', { label: 'voice' })] : []), ...(video ? [new Track('video')] : [])]),
    { screen: () => new Stream([new Track('video'), new Track('audio', { label: 'film' })]) });
  await media.start();
  const voice = media.outgoing().audio;
  await media.setScreen(true);
  assert.equal(media.outgoing().audio.label, '[voice][film]');
  assert.equal(media.outgoing().audio, media.outgoing().audio, 'mixed once');
  await media.setMic(false);
  assert.equal(voice.enabled, false, 'the switch is the voice, not the film');
  media.outgoing().video.onended();
  await settle();
  assert.equal(media.outgoing().audio, voice);
  assert.equal(Context.open, 0);
});

test('a browser that cannot share sound shares the picture; who put it off is not asked again', async () => {
  const asked = [];
  const { media } = stageOf(everything, { screen: (wanted) => {
    asked.push(wanted);
    if (wanted.audio) throw new TypeError('audio');
    return new Stream([new Track('video')]);
  } });
  await media.start();
  await media.setScreen(true);
  assert.deepEqual([asked.length, media.state.screen], [2, true]);
  const other = stageOf(everything, { screen: () => { asked.push(1); throw trouble('NotAllowedError'); } });
  await other.media.start();
  await other.media.setScreen(true);
  assert.deepEqual([asked.length, other.media.state.screen], [3, false]);
});

test('who closes the picker hears nothing, who is refused hears why, until the next try', async () => {
  let refuse = null;
  const stage = stageOf(everything, { screen: () => {
    if (refuse) throw refuse;
    return new Stream([new Track('video')]);
  } });
  const { media, troubles } = stage;
  await media.start();
  refuse = trouble('NotAllowedError', 'Permission denied');
  await media.setScreen(true);
  assert.deepEqual([media.state.screen, troubles], [false, [null]]);
  refuse = trouble('NotAllowedError', 'Permission denied by system');
  await media.setScreen(true);
  assert.deepEqual([media.state.screen, media.state.trouble], [false, 'screen-denied-system']);
  assert.ok(media.outgoing().video, 'the camera goes on');
  refuse = trouble('NotAllowedError', 'Permission denied');
  await media.setScreen(true);
  assert.equal(media.state.trouble, null);
  refuse = trouble('NotReadableError');
  await media.setScreen(true);
  assert.equal(media.state.trouble, 'screen-failed');
  refuse = null;
  await media.setScreen(true);
  assert.deepEqual([media.state.screen, media.state.trouble], [true, null]);
});

test('a screen does not hide what is wrong with the camera, and the policy of the site is told', async () => {
  const { media } = stageOf((wanted) => {
    if (wanted.video) throw trouble('NotReadableError');
    return everything(wanted);
  }, { allowed: (feature) => feature !== 'display-capture', screen: () => { throw trouble('NotAllowedError'); } });
  await media.start();
  await media.setScreen(false);
  assert.equal(media.state.trouble, 'device-busy');
  await media.setScreen(true);
  assert.equal(media.state.trouble, 'screen-blocked');
});

test('while a screen is being picked no other picker opens, and the one that was picked stays shared', async () => {
  const answers = [];
  const { media } = stageOf(everything, { screen: () => new Promise((done, refuse) => { answers.push({ done, refuse }); }) });
  await media.start();
  const both = [media.setScreen(true), media.setScreen(true)];
  await settle();
  answers[0].done(new Stream([new Track('video', { label: 'first' })]));
  await settle();
  answers[1]?.refuse(trouble('NotAllowedError'));
  await Promise.all(both);
  assert.deepEqual([answers.length, media.state.screen, media.outgoing().video.label, media.outgoing().video.stopped], [1, true, 'first', false]);
});

test('a screen picked after leaving is let go, and in the next call another one can be picked before that', async () => {
  const answers = [];
  const { media } = stageOf(everything, { screen: () => new Promise((done) => { answers.push(done); }) });
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
  assert.equal(media.outgoing().video.label, 'now');
});
