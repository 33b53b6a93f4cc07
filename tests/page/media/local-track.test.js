import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LocalTrack } from '../../../public/media/local-track.js';
import { everything, slowly, makeHarness, Stream, Track, mediaError } from '../harness/media.js';
import { makeClock, settle } from '../harness/fakes.js';

/** One local track alone: the test answers its requests and records its reports. */
function alone(kind) {
  const clock = makeClock();
  const questions = [];
  const reports = [];
  const harness = { clock, questions, reports, attached: true };
  harness.local = new LocalTrack({
    kind, clock, now: clock.now, hidden: () => false, queue: (task) => task(), isPresent: async () => harness.attached,
    changed: (...changes) => { if (changes[0] !== undefined) reports.push(changes); },
    request: () => new Promise((answer) => {
      questions.push({
        comes(label) {
          const track = new Track(kind, { label });
          answer({ stream: new Stream([track]), error: null });
          return track;
        },
        fails: (code) => answer({ stream: null, error: code }),
      });
    }),
  });
  return harness;
}

test('of two requests the newest wins, the other gets neither track nor error', async () => {
  const { local, questions, reports } = alone('mic');
  const askings = [local.fetch(), local.fetch()];
  const late = questions[1].comes('new');
  const early = questions[0].comes('old');
  assert.deepEqual(await Promise.all(askings), [{ error: null }, { track: late, error: null }]);
  assert.deepEqual([local.track(), early.stopped, late.stopped, reports], [late, true, false, [[null]]]);
});

test('a released request never runs, and its error is not reported', async () => {
  const { local, questions, reports } = alone('cam');
  const askings = [local.fetch()];
  local.release();
  const late = questions[0].comes('late');
  askings.push(local.fetch());
  local.stop();
  questions[1].fails('device-busy');
  assert.deepEqual(await Promise.all(askings), [{ error: null }, { error: null }]);
  assert.deepEqual([local.track(), local.isActive(), late.stopped, reports], [null, false, true, []]);
});

test('an ended device is reported, recovered, and reported with its successor', async () => {
  const harness = alone('cam');
  const { local, questions, reports, clock } = harness;
  const had = local.fetch();
  const before = questions[0].comes('Desk');
  await had;
  before.onended();
  assert.deepEqual([local.state().lost, local.state().on, local.track(), local.isActive()], ['cam-lost', false, null, true]);
  await settle();
  questions[1].fails('device-busy');
  await clock.advance(1000);
  const after = questions[2].comes('Lid');
  await settle();
  assert.deepEqual([local.state().lost, local.state().on, local.track()], [null, true, after]);
  assert.deepEqual(reports, [[null], [null], [null], ['device-switched', 'Lid']], 'a quiet failure is not reported');
});

test('the result of the common request follows the last setting', async () => {
  const [mic, cam] = [alone('mic'), alone('cam')];
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
  assert.deepEqual([tracks[0].enabled, mic.questions.length], [true, 0], 'an acquired device needs no request');
});

test('switching the camera off releases it', async () => {
  const { media } = makeHarness(everything);
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
  const { media } = makeHarness((wanted) => (hold ? new Promise((done) => { waiting.push(() => done(everything(wanted))); }) : everything(wanted)));
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
  const { media, asked } = makeHarness(everything);
  await media.start();
  await media.setMic(false);
  await media.setCam(false);
  await media.select('audioinput', 'other');
  await media.select('videoinput', 'other');
  assert.deepEqual([media.state.mic, media.micTrack().enabled, media.state.cam, media.outgoingTracks().video], [false, false, false, null]);
  assert.equal(asked.length, 2);
  await media.setCam(true);
  assert.deepEqual(asked.at(-1).video.deviceId, { exact: 'other' });
});

test('a camera switched off during a failing request is not requested again', async () => {
  const { answer, waiting, hold } = slowly();
  const { media, asked } = makeHarness(answer);
  await media.start();
  hold();
  const chosen = media.select('videoinput', 'broken');
  await settle();
  await media.setCam(false);
  waiting.broken.refuse(mediaError('NotReadableError'));
  await chosen;
  assert.deepEqual([asked.length, media.state.cam], [2, false]);
});
