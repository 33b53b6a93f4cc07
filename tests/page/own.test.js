import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeOwn } from '../../public/media/local-track.js';
import { everything, slowly, stageOf, Stream, Track, trouble } from './media-stage.js';
import { makeClock, settle } from './stage.js';

/** One device with no page around it: the scene answers its questions, and hears what it has to say. */
function alone(kind) {
  const clock = makeClock();
  const questions = [];
  const news = [];
  const stage = { clock, questions, news, attached: true };
  stage.own = makeOwn({
    kind, clock, now: clock.now, hidden: () => false, inTurn: (task) => task(), look: async () => stage.attached,
    changed: (...told) => { if (told[0] !== undefined) news.push(told); },
    ask: () => new Promise((answer) => {
      questions.push({
        comes(label) {
          const track = new Track(kind, { label });
          answer({ stream: new Stream([track]), trouble: null });
          return track;
        },
        fails: (code) => answer({ stream: null, trouble: code }),
      });
    }),
  });
  return stage;
}

test('of two askings for one device the newest wins, and the other one is told neither track nor trouble', async () => {
  const { own, questions, news } = alone('mic');
  const askings = [own.fetch(), own.fetch()];
  const late = questions[1].comes('new');
  const early = questions[0].comes('old');
  assert.deepEqual(await Promise.all(askings), [{ trouble: null }, { track: late, trouble: null }]);
  assert.deepEqual([own.track(), early.stopped, late.stopped, news], [late, true, false, [[null]]]);
});

test('what is let go while the browser asks never runs, and its refusal is no news', async () => {
  const { own, questions, news } = alone('cam');
  const askings = [own.fetch()];
  own.letGo();
  const late = questions[0].comes('late');
  askings.push(own.fetch());
  own.end();
  questions[1].fails('device-busy');
  assert.deepEqual(await Promise.all(askings), [{ trouble: null }, { trouble: null }]);
  assert.deepEqual([own.track(), own.sought(), late.stopped, news], [null, false, true, []]);
});

test('a device that ends is told, looked for, and told again where another one comes in its place', async () => {
  const stage = alone('cam');
  const { own, questions, news, clock } = stage;
  const had = own.fetch();
  const before = questions[0].comes('Desk');
  await had;
  before.onended();
  assert.deepEqual([own.state().lost, own.state().on, own.track(), own.sought()], ['cam-lost', false, null, true]);
  await settle();
  questions[1].fails('device-busy');
  await clock.advance(1000);
  const after = questions[2].comes('Lid');
  await settle();
  assert.deepEqual([own.state().lost, own.state().on, own.track()], [null, true, after]);
  assert.deepEqual(news, [[null], [null], [null], ['device-switched', 'Lid']], 'what failed quietly is no news');
});

test('what the two are asked for together is settled by the last word on each', async () => {
  const [mic, cam] = [alone('mic'), alone('cam')];
  for (const { own } of [mic, cam]) {
    own.begin(true);
    assert.equal(await own.set(false), null);
  }
  const tracks = [new Track('audio'), new Track('video')];
  mic.own.settle(tracks[0]);
  cam.own.settle(tracks[1]);
  assert.deepEqual([mic.own.track(), tracks[0].stopped, tracks[0].enabled], [tracks[0], false, false], 'held, and silent');
  assert.deepEqual([cam.own.track(), tracks[1].stopped], [null, true], 'its light goes out');
  assert.equal(await mic.own.set(true), null);
  assert.deepEqual([tracks[0].enabled, mic.questions.length], [true, 0], 'nobody is asked for what is held');
});

test('switching the camera off lets go of it', async () => {
  const { media } = stageOf(everything);
  await media.start();
  const camera = media.outgoing().video;
  await media.setCam(false);
  assert.ok(camera.stopped);
  await media.setCam(true);
  assert.ok(media.outgoing().video);
});

test('a camera or microphone switched off while another one is fetched stays off', async () => {
  let hold = false;
  const waiting = [];
  const { media } = stageOf((wanted) => (hold ? new Promise((done) => { waiting.push(() => done(everything(wanted))); }) : everything(wanted)));
  await media.start();
  hold = true;
  const camera = media.choose('videoinput', 'video-2');
  const microphone = media.choose('audioinput', 'audio-2');
  await settle();
  await media.setCam(false);
  await media.setMic(false);
  waiting.forEach((answer) => answer());
  await Promise.all([camera, microphone]);
  assert.deepEqual([media.state.cam, media.outgoing().video], [false, null]);
  assert.deepEqual([media.state.mic, media.voice().enabled], [false, false]);
});

test('another microphone while muted stays muted, another camera while off stays off', async () => {
  const { media, asked } = stageOf(everything);
  await media.start();
  await media.setMic(false);
  await media.setCam(false);
  await media.choose('audioinput', 'other');
  await media.choose('videoinput', 'other');
  assert.deepEqual([media.state.mic, media.voice().enabled, media.state.cam, media.outgoing().video], [false, false, false, null]);
  assert.equal(asked.length, 2);
  await media.setCam(true);
  assert.deepEqual(asked.at(-1).video.deviceId, { exact: 'other' });
});

test('a camera switched off while one that will not start was fetched is not fetched again', async () => {
  const { answer, waiting, hold } = slowly();
  const { media, asked } = stageOf(answer);
  await media.start();
  hold();
  const chosen = media.choose('videoinput', 'broken');
  await settle();
  await media.setCam(false);
  waiting.broken.refuse(trouble('NotReadableError'));
  await chosen;
  assert.deepEqual([asked.length, media.state.cam], [2, false]);
});
