import assert from 'node:assert/strict';
import { test } from 'node:test';
import { joinLabel } from '../../../public/app/status.js';
import { Context, allTracks, input, storageOf, makeHarness, Stream, Track, mediaError } from '../harness/media.js';
import { settle } from '../harness/fakes.js';

test('a question left open for long shows a hint and keeps waiting', async () => {
  let answer;
  const { media, clock } = makeHarness(() => new Promise((done) => { answer = done; }));
  const started = media.start();
  await clock.advance(20_000);
  assert.equal(media.state.error, 'timeout');
  assert.ok(media.state.requesting);
  answer(allTracks({ audio: true, video: true }));
  await started;
  assert.equal(media.state.error, null);
  assert.ok(media.outgoingTracks().video);
});

test('an answer after leaving is stopped', async () => {
  let answer;
  const { media } = makeHarness(() => new Promise((done) => { answer = done; }));
  const started = media.start();
  await settle();
  media.stop();
  const late = allTracks({ audio: true, video: true });
  answer(late);
  await started;
  assert.ok(late.getTracks().every((track) => track.stopped));
  assert.equal(media.outgoingTracks().video, null);
});

test('a device switched off during the question stays off', async () => {
  let answer;
  const { media } = makeHarness((wanted) => new Promise((done) => { answer = () => done(allTracks(wanted)); }));
  const started = media.start();
  await settle();
  await media.setMic(false);
  await media.setCam(false);
  answer();
  await started;
  assert.deepEqual([media.state.mic, media.state.cam, media.outgoingTracks().video], [false, false, null]);
  assert.equal(media.micTrack().enabled, false);
  assert.deepEqual(media.wanted(), { mic: false, cam: false });
});

test('a retry keeps the microphone muted and the screen shared', async () => {
  let busy = false;
  const { media } = makeHarness((wanted) => {
    if (busy && wanted.video) throw mediaError('NotReadableError');
    return allTracks(wanted);
  });
  await media.start();
  await media.setMic(false);
  await media.setScreen(true);
  await media.setCam(false);
  busy = true;
  await media.setCam(true);
  assert.equal(media.state.error, 'device-busy');
  busy = false;
  await media.retry();
  assert.deepEqual([media.state.cam, media.state.mic, media.state.screen], [true, false, true]);
  assert.equal(media.micTrack().enabled, false);
});

test('a microphone that starts muted is acquired but silent', async () => {
  const { media } = makeHarness(allTracks);
  await media.start({ mic: false, cam: false });
  assert.equal(media.outgoingTracks().audio.enabled, false);
  assert.equal(media.outgoingTracks().video, null);
});

test('a permission granted in the settings is used at once', async () => {
  let allowed = false;
  const listeners = {};
  const status = { state: 'denied', addEventListener: (event, fn) => { listeners[event] = fn; } };
  const { media } = makeHarness((wanted) => {
    if (!allowed) throw mediaError('NotAllowedError');
    return allTracks(wanted);
  }, { permissions: { query: async () => status } });
  await media.start();
  assert.equal(media.state.error, 'camera-denied');
  [allowed, status.state] = [true, 'granted'];
  listeners.change();
  await settle();
  assert.ok(media.outgoingTracks().audio && media.outgoingTracks().video);
  assert.equal(media.state.error, null);
});

/** A shared screen with camera and microphone denied until the test allows one of them. */
async function shareWithDeniedDevices() {
  const states = { camera: 'denied', microphone: 'denied' };
  const listeners = {};
  const permissions = { query: async ({ name }) => ({ get state() { return states[name]; }, addEventListener: (_, fn) => { listeners[name] = fn; } }) };
  const { media } = makeHarness((wanted) => {
    if ((wanted.video && states.camera === 'denied') || (wanted.audio && states.microphone === 'denied')) throw mediaError('NotAllowedError');
    return allTracks(wanted);
  }, { permissions });
  await media.start();
  await media.setScreen(true);
  const allow = async (...names) => {
    for (const name of names) states[name] = 'granted';
    for (const name of names) listeners[name]();
    await settle();
  };
  return { media, shown: media.outgoingTracks().video, allow };
}

test('permissions granted during a screen share keep it running', async () => {
  const { media, shown, allow } = await shareWithDeniedDevices();
  await allow('camera', 'microphone');
  assert.deepEqual([media.state.screen, shown.stopped, media.outgoingTracks().video === shown], [true, false, true]);
  assert.deepEqual([media.state.mic, media.state.cam, media.state.error], [true, true, null]);
  await media.setScreen(false);
  assert.ok(media.outgoingTracks().video && media.outgoingTracks().audio);
});

test('a camera granted alone does not hide the denied microphone', async () => {
  const { media, shown, allow } = await shareWithDeniedDevices();
  await allow('camera');
  assert.deepEqual([shown.stopped, media.state.cam, media.state.mic, media.state.error], [false, true, false, 'camera-denied']);
});

test('leaving during a retry ends it before the camera', async () => {
  let refuse;
  const { media, requests } = makeHarness(() => new Promise((_, no) => { refuse = () => no(mediaError('NotAllowedError')); }));
  const started = media.start();
  await settle();
  refuse();
  await started;
  await media.setScreen(true);
  const again = media.retry();
  await settle();
  media.stop();
  refuse();
  await settle();
  await Promise.race([again, settle()]);
  assert.deepEqual([requests.length, media.state.error], [2, null]);
});

test('each setter returns its error', async () => {
  let refuse = null;
  const { media } = makeHarness((wanted) => {
    if (refuse) throw refuse;
    return allTracks(wanted);
  }, { screen: () => { throw refuse ?? mediaError('NotAllowedError'); } });
  await media.start({ mic: true, cam: false });
  assert.deepEqual([await media.setScreen(true), await media.setMic(false), await media.setMic(true)], [null, null, null]);
  refuse = mediaError('NotReadableError');
  assert.deepEqual([await media.setCam(true), await media.setScreen(true), await media.setCam(false)], ['device-busy', 'screen-failed', null]);
  media.micTrack().onended();
  await settle();
  assert.equal(await media.setMic(true), 'device-busy');
});

test('the hint of an open question ends with leaving, restarts with the next', async () => {
  const { media, clock } = makeHarness(() => new Promise(() => {}));
  media.start();
  await clock.advance(15_000);
  media.stop();
  await clock.advance(5000);
  assert.equal(media.state.error, null);
  media.start();
  await clock.advance(19_999);
  assert.equal(media.state.error, null);
  await clock.advance(1);
  assert.equal(media.state.error, 'timeout');
});

test('a restart during the question opens one camera after the other', async () => {
  const answers = [];
  const { media, cameras } = makeHarness((wanted) => new Promise((done) => {
    const stream = allTracks(wanted);
    answers.push({ resolve: () => done(stream), stream });
  }));
  const starts = [media.start()];
  await settle();
  media.stop();
  starts.push(media.start());
  await settle();
  assert.equal(answers.length, 1);
  answers[0].resolve();
  await settle();
  assert.ok(answers[0].stream.getTracks().every((track) => track.stopped));
  answers[1].resolve();
  await Promise.all(starts);
  assert.deepEqual([cameras.maximum, media.outgoingTracks().video.stopped, media.state.requesting], [1, false, false]);
});

test('an unanswered question leaves the switches usable', async () => {
  let isUnanswered = false;
  const { media, clock } = makeHarness((wanted) => (isUnanswered ? new Promise(() => {}) : allTracks(wanted)));
  await media.start({ mic: true, cam: false });
  isUnanswered = true;
  media.setCam(true);
  await clock.advance(5000);
  isUnanswered = false;
  await media.setCam(false);
  assert.equal(media.state.cam, false);
  const pressed = media.setCam(true);
  await clock.advance(5000);
  assert.equal(await pressed, null);
  assert.deepEqual([media.state.cam, media.outgoingTracks().video.stopped], [true, false]);
});

test('leaving during a microphone switch does not start the camera', async () => {
  const answers = [];
  const list = [input('audio', 'a'), input('audio', 'b')];
  const { media, requests } = makeHarness(({ audio }) => new Promise((done) => { answers.push(() => done(new Stream([new Track('audio', { id: audio?.deviceId?.exact === 'b' && answers.length > 1 ? 'b' : 'a' })]))); }),
    { list, storage: storageOf({ audioinput: 'b' }) });
  const started = media.start({ mic: true, cam: false });
  await settle();
  await media.setCam(true);
  answers[0]();
  await settle();
  assert.equal(requests.length, 2, 'the saved microphone is requested');
  media.stop();
  answers[1]();
  await started;
  assert.deepEqual([requests.length, media.outgoingTracks().video], [2, null]);
});

test('a selected device that returns is used again', async () => {
  const storage = { getItem: () => JSON.stringify({ audioinput: 'headset', videoinput: 'webcam', labels: {} }), setItem() {} };
  const [headset, webcam] = [input('audio', 'headset'), input('video', 'webcam')];
  const builtIn = [input('audio', 'built-in'), input('video', 'built-in-cam')];
  const harness = makeHarness(({ audio, video }) => {
    const named = (video || audio).deviceId?.exact;
    if (named && !harness.list.some(({ deviceId }) => deviceId === named)) throw mediaError('NotFoundError');
    return new Stream([...(audio ? [new Track('audio', { id: named ?? 'built-in' })] : []), ...(video ? [new Track('video', { id: video.deviceId?.exact ?? 'built-in-cam' })] : [])]);
  }, { storage, list: builtIn });
  await harness.media.start();
  const ids = () => [harness.media.micTrack().id, harness.media.outgoingTracks().video.id];
  assert.deepEqual(ids(), ['built-in', 'built-in-cam']);
  await harness.plug(...builtIn, headset, webcam);
  await settle();
  assert.deepEqual(ids(), ['headset', 'webcam']);
});

test('joining with audio requests the microphone and reports a second denial', async () => {
  let allowed = false;
  const harness = makeHarness(({ video }) => {
    if (video || !allowed) throw mediaError('NotAllowedError', 'Permission denied');
    return new Stream([new Track('audio')]);
  });
  await harness.media.start();
  assert.equal(joinLabel(harness.media.state), 'joinSoundOnly');
  assert.equal(await harness.media.requestMic(), 'camera-denied');
  assert.deepEqual([harness.media.state.error, joinLabel(harness.media.state)], ['camera-denied-again', 'joinBare']);
  allowed = true;
  assert.equal(await harness.media.requestMic(), null);
  assert.deepEqual([harness.media.state.hasMic, harness.media.state.mic], [true, true]);
});

test('suspended mixing resumes by itself or with a touch', async () => {
  const harness = makeHarness(() => new Stream([new Track('audio'), new Track('video')]), { screen: () => new Stream([new Track('video'), new Track('audio')]) });
  await harness.media.start();
  await harness.media.setScreen(true);
  harness.media.outgoingTracks();
  for (const wake of [() => Context.last.onstatechange(), () => harness.media.resumeAudio(), () => harness.media.pageVisible()]) {
    Context.last.state = 'interrupted';
    wake();
    assert.equal(Context.last.state, 'running');
  }
});

test('an open microphone question shows a hint, and the newest one counts', async () => {
  const answers = [];
  const harness = makeHarness(({ video }) => {
    if (video || !harness.refused) {
      harness.refused = true;
      throw mediaError('NotAllowedError', 'Permission denied');
    }
    return new Promise((answer) => { answers.push(() => answer(new Stream([new Track('audio')]))); });
  });
  await harness.media.start();
  const first = harness.media.requestMic();
  await harness.clock.advance(20_000);
  assert.deepEqual([harness.media.state.error, joinLabel(harness.media.state)], ['timeout', 'joinBare']);
  const second = harness.media.setMic(true);
  await settle();
  answers[0]();
  assert.equal(await first, null);
  assert.equal(harness.media.state.hasMic, false, 'its result is not used');
  answers[1]();
  await second;
  assert.deepEqual([harness.media.state.hasMic, harness.media.state.error], [true, null]);
  const third = harness.media.requestMic();
  await settle();
  answers[2]();
  await third;
  await harness.clock.advance(30_000);
  assert.equal(harness.media.state.error, null, 'no hint after the answer');
});
