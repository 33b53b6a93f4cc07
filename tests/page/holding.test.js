import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BOTH_THERE, everything, mute, stageOf, trouble } from './media-stage.js';
import { settle } from './stage.js';

test('a phone call takes the microphone and gives it back, and another one is fetched, since iOS leaves that one silent', async () => {
  const { media, clock } = stageOf(everything, BOTH_THERE);
  await media.start();
  const voice = media.voice();
  mute(voice);
  assert.ok(media.state.held.mic);
  assert.equal(media.state.trouble, null, 'a moment is nothing to tell');
  await clock.advance(1500);
  assert.equal(media.state.trouble, 'device-taken');
  mute(voice, false);
  assert.deepEqual([media.state.held.mic, media.state.trouble], [false, null]);
  await settle();
  assert.ok(voice.stopped && media.voice() !== voice);
});

test('a moment of silence costs no microphone', async () => {
  const { media, clock, asked } = stageOf(everything, BOTH_THERE);
  await media.start();
  mute(media.voice());
  await clock.advance(1000);
  mute(media.voice(), false);
  await clock.advance(10_000);
  assert.deepEqual([asked.length, media.state.trouble], [1, null]);
});

test('the microphone is fetched anew also where the camera came back first', async () => {
  const { media, clock } = stageOf(everything, BOTH_THERE);
  await media.start();
  const voice = media.voice();
  mute(voice);
  mute(media.outgoing().video);
  await clock.advance(5000);
  mute(media.outgoing().video, false);
  await settle();
  assert.equal(media.state.trouble, 'device-taken', 'it is still the microphone');
  mute(voice, false);
  await settle();
  assert.ok(voice.stopped && media.voice() !== voice);
  assert.equal(media.state.trouble, null);
});

test('the microphone is fetched anew also for who muted it while the phone rang, and stays muted', async () => {
  const { media, clock } = stageOf(everything, BOTH_THERE);
  await media.start();
  const voice = media.voice();
  mute(voice);
  await media.setMic(false);
  await clock.advance(5000);
  assert.equal(media.state.trouble, null, 'what is off is not missed');
  mute(voice, false);
  await settle();
  assert.ok(voice.stopped && media.voice() !== voice);
  assert.deepEqual([media.state.mic, media.voice().enabled], [false, false]);
});

test('a microphone that comes while it is held is told as taken, and fetched anew', async () => {
  let held = true;
  const { media, clock } = stageOf((wanted) => {
    const stream = everything(wanted);
    for (const track of stream.getAudioTracks()) track.muted = held;
    return stream;
  }, BOTH_THERE);
  await media.start();
  const voice = media.voice();
  await clock.advance(1500);
  assert.deepEqual([media.state.held.mic, media.state.trouble], [true, 'device-taken']);
  held = false;
  mute(voice, false);
  await settle();
  assert.ok(voice.stopped && media.voice() !== voice);
});

test('a page that stood still during the phone call knows how long it was', async () => {
  const stage = stageOf(everything, BOTH_THERE);
  await stage.media.start();
  const voice = stage.media.voice();
  mute(voice);
  stage.frozen = 60_000;
  mute(voice, false);
  await settle();
  assert.ok(voice.stopped && stage.media.voice() !== voice);
});

/** A phone call is over, and the new microphone is not to be had until the scene says so. */
async function afterPhoneCall(refusal) {
  let name = null;
  const stage = stageOf((wanted) => {
    if (name) throw trouble(name);
    return everything(wanted);
  }, BOTH_THERE);
  await stage.media.start();
  const voice = stage.media.voice();
  mute(voice);
  await stage.clock.advance(2000);
  name = refusal;
  mute(voice, false);
  await settle();
  return { ...stage, voice, allow: () => { name = null; } };
}

test('a microphone that cannot be fetched after a phone call is asked for until it is there', async () => {
  const { media, clock, troubles, voice, allow } = await afterPhoneCall('AbortError');
  await clock.advance(2000);
  assert.deepEqual([media.state.trouble, voice.stopped], ['device-taken', false]);
  await media.setMic(false);
  allow();
  await clock.advance(15_000);
  assert.ok(voice.stopped && media.voice() !== voice);
  assert.deepEqual([media.state.trouble, media.state.mic, media.voice().enabled], [null, false, false]);
  assert.ok(!troubles.includes('device-busy'));
});

test('where a new microphone is refused after a phone call, off and on again asks for it anew', async () => {
  const { media, asked, voice, allow } = await afterPhoneCall('NotAllowedError');
  assert.deepEqual([media.voice(), media.state.mic], [voice, true], 'elsewhere than on iOS it is heard');
  allow();
  await media.setMic(false);
  await media.setMic(true);
  assert.ok(voice.stopped && media.voice() !== voice && media.voice().enabled);
  const before = asked.length;
  await media.setMic(false);
  await media.setMic(true);
  assert.equal(asked.length, before, 'only while that one is in place');
});

test('a microphone that ends while it is held was taken, not unplugged', async () => {
  let busy = false;
  const { media, clock, troubles } = stageOf((wanted) => {
    if (busy) throw trouble('NotReadableError');
    return everything(wanted);
  }, BOTH_THERE);
  await media.start();
  mute(media.voice());
  await clock.advance(2000);
  busy = true;
  media.voice().onended();
  await clock.advance(20_000);
  busy = false;
  media.wake();
  await settle();
  assert.ok(media.voice());
  assert.deepEqual(troubles, [null, 'device-taken', null]);
});

test('what the system took while nobody looked is fetched when the page is looked at again', async () => {
  const stage = stageOf(everything, BOTH_THERE);
  const { media, clock, troubles } = stage;
  await media.start();
  const voice = media.voice();
  stage.hidden = true;
  mute(voice);
  await clock.advance(60_000);
  assert.ok(!voice.stopped);
  stage.hidden = false;
  media.wake();
  await clock.advance(1500);
  await settle();
  assert.ok(voice.stopped && media.voice() !== voice);
  assert.deepEqual([media.state.held.mic, media.state.mic, media.state.trouble], [false, true, null]);
  assert.ok(!troubles.includes('mic-lost'), 'nobody is told to plug it in');
});

test('what comes back by itself when the page is looked at again is kept', async () => {
  const stage = stageOf(everything, BOTH_THERE);
  const { media, clock } = stage;
  await media.start();
  const camera = media.outgoing().video;
  stage.hidden = true;
  mute(camera);
  await clock.advance(60_000);
  stage.hidden = false;
  media.wake();
  await clock.advance(500);
  mute(camera, false);
  await clock.advance(60_000);
  assert.deepEqual([camera.stopped, media.outgoing().video], [false, camera]);
});

test('what comes back with the person who looks at the page again is not told as taken', async () => {
  // Each as a system may have it: silent after the page is hidden, before it, and before it with timers that stand still.
  for (const order of ['hidden first', 'silent first', 'frozen']) {
    const stage = stageOf(everything, BOTH_THERE);
    const { media, clock, troubles } = stage;
    await media.start();
    const camera = media.outgoing().video;
    stage.hidden = order === 'hidden first';
    mute(camera);
    await clock.advance(100);
    stage.hidden = true;
    if (order === 'frozen') stage.frozen = 60_000;
    else await clock.advance(60_000);
    stage.hidden = false;
    media.wake();
    await media.setMic(false);
    await clock.advance(1450);
    mute(camera, false);
    await clock.advance(60_000);
    assert.deepEqual([troubles, camera.stopped], [[null], false], order);
  }
});

test('what is still taken a moment after the person looks at the page again is told, and not while they look away once more', async () => {
  const stage = stageOf((wanted) => {
    if (stage.clock.now() > 0) throw trouble('NotReadableError');
    return everything(wanted);
  }, BOTH_THERE);
  const { media, clock } = stage;
  await media.start();
  const looks = async (ms) => {
    stage.hidden = false;
    media.wake();
    await clock.advance(ms);
  };
  stage.hidden = true;
  mute(media.voice());
  await clock.advance(60_000);
  await looks(1000);
  stage.hidden = true;
  await clock.advance(60_000);
  assert.equal(media.state.trouble, null);
  await looks(1499);
  assert.equal(media.state.trouble, null);
  await clock.advance(1);
  assert.equal(media.state.trouble, 'device-taken');
});

test('what the person paused in the browser itself stays paused when they come back to the page', async () => {
  const stage = stageOf(everything, BOTH_THERE);
  const { media, clock, asked } = stage;
  await media.start();
  mute(media.outgoing().video);
  await clock.advance(5000);
  stage.hidden = true;
  await clock.advance(5000);
  stage.hidden = false;
  media.wake();
  await clock.advance(60_000);
  assert.deepEqual([asked.length, media.state.held.cam], [1, true]);
});

test('off and on again fetches a microphone that is not given back', async () => {
  const { media, clock } = stageOf(everything, BOTH_THERE);
  await media.start();
  const voice = media.voice();
  mute(voice);
  await clock.advance(5000);
  await media.setMic(false);
  await media.setMic(true);
  assert.ok(voice.stopped && media.voice() !== voice);
  assert.deepEqual([media.state.mic, media.state.held.mic, media.state.trouble], [true, false, null]);
});
