import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeMedia } from '../../public/media.js';
import { mediaCode } from '../../public/media-trouble.js';
import { makeClock, settle } from './stage.js';

const trouble = (name, message = '') => Object.assign(new Error(message), { name });

test('every refusal has its code', () => {
  const codes = {
    'camera-denied': trouble('NotAllowedError', 'Permission denied'),
    'camera-denied-system': trouble('NotAllowedError', 'Permission denied by system'),
    'device-not-found': trouble('NotFoundError'),
    'device-busy': trouble('NotReadableError'),
    'device-unfit': trouble('OverconstrainedError'),
    'blocked-by-site': trouble('SecurityError'),
    'device-trouble': trouble('SomethingNew'),
  };
  for (const [code, error] of Object.entries(codes)) assert.equal(mediaCode(error), code);
  for (const junk of [undefined, null, 'x', 7]) assert.equal(mediaCode(junk), 'device-trouble');
});

class Track {
  enabled = true;
  stopped = false;
  constructor(kind) { this.kind = kind; }
  stop() { this.stopped = true; }
  getSettings() { return { deviceId: `${this.kind}-1` }; }
}

class Stream {
  constructor(tracks = []) { this.tracks = [...tracks]; }
  addTrack(track) { this.tracks.push(track); }
  getTracks() { return this.tracks; }
  getVideoTracks() { return this.tracks.filter((track) => track.kind === 'video'); }
}

function stageOf(answer) {
  const clock = makeClock();
  const asked = [];
  const devices = {
    async getUserMedia(wanted) {
      asked.push(wanted);
      return answer(wanted);
    },
    async getDisplayMedia() { return new Stream([new Track('video')]); },
    async enumerateDevices() { return []; },
  };
  const media = makeMedia({ devices, clock, newStream: () => new Stream(), changed() {} });
  return { media, clock, asked };
}

const everything = ({ audio, video }) => new Stream([...(audio ? [new Track('audio')] : []), ...(video ? [new Track('video')] : [])]);

test('camera and microphone come with one question', async () => {
  const { media, asked } = stageOf(everything);
  await media.start();
  assert.equal(asked.length, 1);
  assert.ok(media.outgoing().audio && media.outgoing().video);
});

test('without a camera there is sound, without asking the person again', async () => {
  const { media } = stageOf((wanted) => {
    if (wanted.video) throw trouble('NotFoundError');
    return everything(wanted);
  });
  await media.start();
  assert.ok(media.outgoing().audio);
  assert.equal(media.outgoing().video, null);
  assert.equal(media.state.trouble, 'device-not-found');
  assert.deepEqual([media.state.mic, media.state.cam], [true, false]);
});

test('a refusal is not asked a second time', async () => {
  const { media, asked } = stageOf(() => { throw trouble('NotAllowedError'); });
  await media.start();
  assert.equal(asked.length, 1);
  assert.equal(media.state.trouble, 'camera-denied');
});

test('an insecure page says so instead of failing', async () => {
  const media = makeMedia({ devices: undefined, clock: makeClock(), newStream: () => new Stream(), changed() {} });
  await media.start();
  assert.equal(media.state.trouble, 'insecure-origin');
});

test('a question left open for long shows a hint and goes on waiting', async () => {
  let answer;
  const { media, clock } = stageOf(() => new Promise((done) => { answer = done; }));
  const started = media.start();
  await clock.advance(20_000);
  assert.equal(media.state.trouble, 'timeout');
  assert.ok(media.state.asking);
  answer(everything({ audio: true, video: true }));
  await started;
  assert.equal(media.state.trouble, null);
  assert.ok(media.outgoing().video);
});

test('an answer that comes after leaving is let go', async () => {
  let answer;
  const { media } = stageOf(() => new Promise((done) => { answer = done; }));
  const started = media.start();
  await settle();
  media.stop();
  const late = everything({ audio: true, video: true });
  answer(late);
  await started;
  assert.ok(late.getTracks().every((track) => track.stopped));
  assert.equal(media.outgoing().video, null);
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

test('a microphone that starts switched off is held but silent', async () => {
  const { media } = stageOf(everything);
  await media.start({ mic: false, cam: false });
  assert.equal(media.outgoing().audio.enabled, false);
  assert.equal(media.outgoing().video, null);
});
