import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LocalTrack } from '../../../public/media/local-track.js';
import { allTracks, makeControlledDevices, makeHarness, Stream, Track, mediaError } from '../harness/media.js';
import { makeClock, settle } from '../harness/fakes.js';

/** One local track whose requests the test resolves; records its reports. */
function makeTrackHarness(kind) {
  const clock = makeClock();
  const pending = [];
  const reports = [];
  const harness = { clock, pending, reports, attached: true };
  harness.local = new LocalTrack({
    kind, clock, now: clock.now, hidden: () => false, queue: (task) => task(), isPresent: async () => harness.attached,
    changed: (...changes) => { if (changes[0] !== undefined) reports.push(changes); },
    request: () => new Promise((answer) => {
      pending.push({
        resolve(label) {
          const track = new Track(kind, { label });
          answer({ stream: new Stream([track]), error: null });
          return track;
        },
        fail: (code) => answer({ stream: null, error: code }),
      });
    }),
  });
  return harness;
}

test('of two requests the newest wins, the other gets neither track nor error', async () => {
  const { local, pending, reports } = makeTrackHarness('mic');
  const results = [local.fetch(), local.fetch()];
  const late = pending[1].resolve('new');
  const early = pending[0].resolve('old');
  assert.deepEqual(await Promise.all(results), [{ error: null }, { track: late, error: null }]);
  assert.deepEqual([local.track(), early.stopped, late.stopped, reports], [late, true, false, [[null]]]);
});

test('a released request never runs, and its error is not reported', async () => {
  const { local, pending, reports } = makeTrackHarness('cam');
  const results = [local.fetch()];
  local.release();
  const late = pending[0].resolve('late');
  results.push(local.fetch());
  local.stop();
  pending[1].fail('device-busy');
  assert.deepEqual(await Promise.all(results), [{ error: null }, { error: null }]);
  assert.deepEqual([local.track(), local.isActive(), late.stopped, reports], [null, false, true, []]);
});

test('an ended device is reported, recovered, and reported with its successor', async () => {
  const harness = makeTrackHarness('cam');
  const { local, pending, reports, clock } = harness;
  const fetched = local.fetch();
  const before = pending[0].resolve('Desk');
  await fetched;
  before.onended();
  assert.deepEqual([local.state().lost, local.state().on, local.track(), local.isActive()], ['cam-lost', false, null, true]);
  await settle();
  pending[1].fail('device-busy');
  await clock.advance(1000);
  const after = pending[2].resolve('Lid');
  await settle();
  assert.deepEqual([local.state().lost, local.state().on, local.track()], [null, true, after]);
  assert.deepEqual(reports, [[null], [null], [null], ['device-switched', 'Lid']], 'a quiet failure is not reported');
});

test('the result of the common request follows the last setting', async () => {
  const [mic, cam] = [makeTrackHarness('mic'), makeTrackHarness('cam')];
  for (const { local } of [mic, cam]) {
    local.start(true);
    assert.equal(await local.set(false), null);
  }
  const tracks = [new Track('audio'), new Track('video')];
  mic.local.started(tracks[0]);
  cam.local.started(tracks[1]);
  assert.deepEqual([mic.local.track(), tracks[0].stopped, tracks[0].enabled], [tracks[0], false, false], 'acquired, and silent');
  assert.deepEqual([cam.local.track(), tracks[1].stopped], [null, true], 'its light goes out');
  assert.equal(await mic.local.set(true), null);
  assert.deepEqual([tracks[0].enabled, mic.pending.length], [true, 0], 'an acquired device needs no request');
});

test('switching the camera off releases it', async () => {
  const { media } = makeHarness(allTracks);
  await media.start();
  const camera = media.outgoingTracks().video;
  await media.setCam(false);
  assert.ok(camera.stopped);
  await media.setCam(true);
  assert.ok(media.outgoingTracks().video);
});

test('a device switched off during a request stays off', async () => {
  let hold = false;
  const waiting = [];
  const { media } = makeHarness((wanted) => (hold ? new Promise((done) => { waiting.push(() => done(allTracks(wanted))); }) : allTracks(wanted)));
  await media.start();
  hold = true;
  const camera = media.select('videoinput', 'video-2');
  const microphone = media.select('audioinput', 'audio-2');
  await settle();
  await media.setCam(false);
  await media.setMic(false);
  waiting.forEach((answer) => answer());
  await Promise.all([camera, microphone]);
  assert.deepEqual([media.state.cam, media.outgoingTracks().video], [false, null]);
  assert.deepEqual([media.state.mic, media.micTrack().enabled], [false, false]);
});

test('a new microphone stays muted, a new camera stays off', async () => {
  const { media, requests } = makeHarness(allTracks);
  await media.start();
  await media.setMic(false);
  await media.setCam(false);
  await media.select('audioinput', 'other');
  await media.select('videoinput', 'other');
  assert.deepEqual([media.state.mic, media.micTrack().enabled, media.state.cam, media.outgoingTracks().video], [false, false, false, null]);
  assert.equal(requests.length, 2);
  await media.setCam(true);
  assert.deepEqual(requests.at(-1).video.deviceId, { exact: 'other' });
});

test('a camera switched off during a failing request is not requested again', async () => {
  const { answer, waiting, hold } = makeControlledDevices();
  const { media, requests } = makeHarness(answer);
  await media.start();
  hold();
  const selection = media.select('videoinput', 'broken');
  await settle();
  await media.setCam(false);
  waiting.broken.refuse(mediaError('NotReadableError'));
  await selection;
  assert.deepEqual([requests.length, media.state.cam], [2, false]);
});
