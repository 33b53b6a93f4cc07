import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BOTH_DEVICES, allTracks, mute, makeHarness, mediaError } from '../harness/media.js';
import { settle } from '../harness/fakes.js';

test('a phone call mutes the microphone, and afterwards it is reacquired', async () => {
  const { media, clock } = makeHarness(allTracks, BOTH_DEVICES);
  await media.start();
  const mic = media.micTrack();
  mute(mic);
  assert.ok(media.state.interrupted.mic);
  assert.equal(media.state.error, null, 'a moment is not reported');
  await clock.advance(1500);
  assert.equal(media.state.error, 'device-taken');
  mute(mic, false);
  assert.deepEqual([media.state.interrupted.mic, media.state.error], [false, null]);
  await settle();
  assert.ok(mic.stopped && media.micTrack() !== mic);
});

test('a moment of muting does not reacquire the microphone', async () => {
  const { media, clock, requests } = makeHarness(allTracks, BOTH_DEVICES);
  await media.start();
  mute(media.micTrack());
  await clock.advance(1000);
  mute(media.micTrack(), false);
  await clock.advance(10_000);
  assert.deepEqual([requests.length, media.state.error], [1, null]);
});

test('the microphone is reacquired even if the camera is unmuted first', async () => {
  const { media, clock } = makeHarness(allTracks, BOTH_DEVICES);
  await media.start();
  const mic = media.micTrack();
  mute(mic);
  mute(media.outgoingTracks().video);
  await clock.advance(5000);
  mute(media.outgoingTracks().video, false);
  await settle();
  assert.equal(media.state.error, 'device-taken', 'it is still the microphone');
  mute(mic, false);
  await settle();
  assert.ok(mic.stopped && media.micTrack() !== mic);
  assert.equal(media.state.error, null);
});

test('a microphone muted by the person during a phone call stays muted', async () => {
  const { media, clock } = makeHarness(allTracks, BOTH_DEVICES);
  await media.start();
  const mic = media.micTrack();
  mute(mic);
  await media.setMic(false);
  await clock.advance(5000);
  assert.equal(media.state.error, null, 'a muted device is not reported');
  mute(mic, false);
  await settle();
  assert.ok(mic.stopped && media.micTrack() !== mic);
  assert.deepEqual([media.state.mic, media.micTrack().enabled], [false, false]);
});

test('a microphone that arrives muted is reported and reacquired', async () => {
  let muted = true;
  const { media, clock } = makeHarness((wanted) => {
    const stream = allTracks(wanted);
    for (const track of stream.getAudioTracks()) track.muted = muted;
    return stream;
  }, BOTH_DEVICES);
  await media.start();
  const mic = media.micTrack();
  await clock.advance(1500);
  assert.deepEqual([media.state.interrupted.mic, media.state.error], [true, 'device-taken']);
  muted = false;
  mute(mic, false);
  await settle();
  assert.ok(mic.stopped && media.micTrack() !== mic);
});

test('a suspended page measures the duration of the phone call', async () => {
  const harness = makeHarness(allTracks, BOTH_DEVICES);
  await harness.media.start();
  const mic = harness.media.micTrack();
  mute(mic);
  harness.frozen = 60_000;
  mute(mic, false);
  await settle();
  assert.ok(mic.stopped && harness.media.micTrack() !== mic);
});

/** After a phone call the microphone cannot be reacquired until `allow`. */
async function afterPhoneCall(errorName) {
  let name = null;
  const harness = makeHarness((wanted) => {
    if (name) throw mediaError(name);
    return allTracks(wanted);
  }, BOTH_DEVICES);
  await harness.media.start();
  const mic = harness.media.micTrack();
  mute(mic);
  await harness.clock.advance(2000);
  name = errorName;
  mute(mic, false);
  await settle();
  return { ...harness, mic, allow: () => { name = null; } };
}

test('a microphone that cannot be reacquired is retried until it can', async () => {
  const { media, clock, errors, mic, allow } = await afterPhoneCall('AbortError');
  await clock.advance(2000);
  assert.deepEqual([media.state.error, mic.stopped], ['device-taken', false]);
  await media.setMic(false);
  allow();
  await clock.advance(15_000);
  assert.ok(mic.stopped && media.micTrack() !== mic);
  assert.deepEqual([media.state.error, media.state.mic, media.micTrack().enabled], [null, false, false]);
  assert.ok(!errors.includes('device-busy'));
});

test('after a denial following a phone call, off and on requests it again', async () => {
  const { media, requests, mic, allow } = await afterPhoneCall('NotAllowedError');
  assert.deepEqual([media.micTrack(), media.state.mic], [mic, true], 'only on iOS it would be silent');
  allow();
  await media.setMic(false);
  await media.setMic(true);
  assert.ok(mic.stopped && media.micTrack() !== mic && media.micTrack().enabled);
  const before = requests.length;
  await media.setMic(false);
  await media.setMic(true);
  assert.equal(requests.length, before, 'only while that track is in use');
});

test('a microphone that ends while muted was taken, not unplugged', async () => {
  let busy = false;
  const { media, clock, errors } = makeHarness((wanted) => {
    if (busy) throw mediaError('NotReadableError');
    return allTracks(wanted);
  }, BOTH_DEVICES);
  await media.start();
  mute(media.micTrack());
  await clock.advance(2000);
  busy = true;
  media.micTrack().onended();
  await clock.advance(20_000);
  busy = false;
  media.pageVisible();
  await settle();
  assert.ok(media.micTrack());
  assert.deepEqual(errors, [null, 'device-taken', null]);
});

test('a device taken while the page was hidden is reacquired in view', async () => {
  const harness = makeHarness(allTracks, BOTH_DEVICES);
  const { media, clock, errors } = harness;
  await media.start();
  const mic = media.micTrack();
  harness.hidden = true;
  mute(mic);
  await clock.advance(60_000);
  assert.ok(!mic.stopped);
  harness.hidden = false;
  media.pageVisible();
  await clock.advance(1500);
  await settle();
  assert.ok(mic.stopped && media.micTrack() !== mic);
  assert.deepEqual([media.state.interrupted.mic, media.state.mic, media.state.error], [false, true, null]);
  assert.ok(!errors.includes('mic-lost'), 'the error is not about plugging it in');
});

test('a device unmuted by itself when the page is visible is kept', async () => {
  const harness = makeHarness(allTracks, BOTH_DEVICES);
  const { media, clock } = harness;
  await media.start();
  const camera = media.outgoingTracks().video;
  harness.hidden = true;
  mute(camera);
  await clock.advance(60_000);
  harness.hidden = false;
  media.pageVisible();
  await clock.advance(500);
  mute(camera, false);
  await clock.advance(60_000);
  assert.deepEqual([camera.stopped, media.outgoingTracks().video], [false, camera]);
});

test('a device unmuted as the page becomes visible is not reported', async () => {
  // Systems mute after the page is hidden, before it, or before it with suspended timers.
  for (const order of ['hidden first', 'silent first', 'frozen']) {
    const harness = makeHarness(allTracks, BOTH_DEVICES);
    const { media, clock, errors } = harness;
    await media.start();
    const camera = media.outgoingTracks().video;
    harness.hidden = order === 'hidden first';
    mute(camera);
    await clock.advance(100);
    harness.hidden = true;
    if (order === 'frozen') harness.frozen = 60_000;
    else await clock.advance(60_000);
    harness.hidden = false;
    media.pageVisible();
    await media.setMic(false);
    await clock.advance(1450);
    mute(camera, false);
    await clock.advance(60_000);
    assert.deepEqual([errors, camera.stopped], [[null], false], order);
  }
});

test('a device still muted in view is reported, but not while hidden again', async () => {
  const harness = makeHarness((wanted) => {
    if (harness.clock.now() > 0) throw mediaError('NotReadableError');
    return allTracks(wanted);
  }, BOTH_DEVICES);
  const { media, clock } = harness;
  await media.start();
  const showPage = async (ms) => {
    harness.hidden = false;
    media.pageVisible();
    await clock.advance(ms);
  };
  harness.hidden = true;
  mute(media.micTrack());
  await clock.advance(60_000);
  await showPage(1000);
  harness.hidden = true;
  await clock.advance(60_000);
  assert.equal(media.state.error, null);
  await showPage(1499);
  assert.equal(media.state.error, null);
  await clock.advance(1);
  assert.equal(media.state.error, 'device-taken');
});

test('a device paused in the browser stays paused when the page is visible', async () => {
  const harness = makeHarness(allTracks, BOTH_DEVICES);
  const { media, clock, requests } = harness;
  await media.start();
  mute(media.outgoingTracks().video);
  await clock.advance(5000);
  harness.hidden = true;
  await clock.advance(5000);
  harness.hidden = false;
  media.pageVisible();
  await clock.advance(60_000);
  assert.deepEqual([requests.length, media.state.interrupted.cam], [1, true]);
});

test('switching on reacquires a microphone that stays muted', async () => {
  const { media, clock } = makeHarness(allTracks, BOTH_DEVICES);
  await media.start();
  for (const presses of [[true], [false, true]]) {
    const mic = media.micTrack();
    mute(mic);
    await clock.advance(5000);
    for (const on of presses) await media.setMic(on);
    assert.ok(mic.stopped && media.micTrack() !== mic);
    assert.deepEqual([media.state.mic, media.state.interrupted.mic, media.state.error], [true, false, null]);
  }
});
