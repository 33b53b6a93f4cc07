import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeMedia } from '../../public/media/media.js';
import { mediaCode, screenCode } from '../../public/media/media-errors.js';
import { everything, input, memoryOf, stageOf, Stream, Track, trouble } from './media-stage.js';
import { makeClock } from './stage.js';

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

test('a screen that is refused by anybody but the person is told as such', () => {
  const codes = [
    [null, trouble('NotAllowedError', 'Permission denied')],
    [null, trouble('NotAllowedError', 'The request is not allowed by the user agent or the platform in the current context.')],
    ['screen-denied-system', trouble('NotAllowedError', 'Permission denied by system')],
    ['screen-blocked', trouble('SecurityError')],
    ['screen-not-found', trouble('NotFoundError')],
    ...['NotReadableError', 'AbortError', 'InvalidStateError', 'OverconstrainedError', 'TypeError', 'SomethingNew'].map((name) => ['screen-failed', trouble(name)]),
  ];
  for (const [code, error] of codes) assert.equal(screenCode(error, true), code, error.message);
  assert.equal(screenCode(trouble('NotAllowedError'), false), 'screen-blocked');
});

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
  const media = makeMedia({ devices: undefined, secure: false, clock: makeClock(), newStream: () => new Stream(), changed() {} });
  await media.start();
  assert.equal(media.state.trouble, 'insecure-origin');
});

test('a browser without devices on a secure page is another trouble', async () => {
  const media = makeMedia({ devices: undefined, clock: makeClock(), newStream: () => new Stream(), changed() {} });
  await media.start();
  assert.equal(media.state.trouble, 'unsupported');
});

test('a refusal by the policy of the site is told as such', async () => {
  const { media } = stageOf(() => { throw trouble('NotAllowedError'); }, { allowed: (feature) => feature !== 'camera' });
  await media.start();
  assert.equal(media.state.trouble, 'blocked-by-site');
});

test('a refusal of what the browser has granted is the system behind it', async () => {
  const { media } = stageOf(() => { throw trouble('NotAllowedError'); }, { permissions: { query: async () => ({ state: 'granted' }) } });
  await media.start();
  assert.equal(media.state.trouble, 'camera-denied-system');
});

test('with the camera alone refused, the microphone that is allowed comes without another question', async () => {
  const states = { camera: 'denied', microphone: 'granted' };
  const { media, asked } = stageOf((wanted) => {
    if (wanted.video) throw trouble('NotAllowedError');
    return everything(wanted);
  }, { permissions: { query: async ({ name }) => ({ state: states[name] }) } });
  await media.start();
  assert.equal(asked.length, 2);
  assert.ok(media.outgoing().audio);
  assert.equal(media.state.trouble, 'camera-denied');
});

test('a chosen camera that is not there today costs neither the call nor the chosen microphone', async () => {
  const list = [input('audio', 'a'), input('audio', 'b'), input('video', 'front')];
  const memory = memoryOf({ audioinput: 'b', videoinput: 'gone' });
  const { media, asked } = stageOf(({ audio, video }) => {
    if (video?.deviceId?.exact === 'gone') throw trouble('OverconstrainedError');
    return new Stream([...(audio ? [new Track('audio', { id: audio.deviceId?.exact ?? 'a' })] : []), ...(video ? [new Track('video', { id: 'front' })] : [])]);
  }, { memory, list });
  await media.start();
  assert.deepEqual([media.voice().id, media.outgoing().video.id, media.state.trouble], ['b', 'front', null]);
  assert.equal(asked.length, 3);
});
