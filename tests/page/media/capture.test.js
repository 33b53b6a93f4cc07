import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Media } from '../../../public/media/media.js';
import { mediaErrorCode, screenErrorCode } from '../../../public/media/media-errors.js';
import { allTracks, input, storageOf, makeHarness, Stream, Track, mediaError } from '../harness/media.js';
import { makeClock } from '../harness/fakes.js';

test('every getUserMedia error has its code', () => {
  const codes = {
    'camera-denied': mediaError('NotAllowedError', 'Permission denied'),
    'camera-denied-system': mediaError('NotAllowedError', 'Permission denied by system'),
    'device-not-found': mediaError('NotFoundError'),
    'device-busy': mediaError('NotReadableError'),
    'device-unfit': mediaError('OverconstrainedError'),
    'blocked-by-site': mediaError('SecurityError'),
    'device-trouble': mediaError('SomethingNew'),
  };
  for (const [code, error] of Object.entries(codes)) assert.equal(mediaErrorCode(error), code);
  for (const junk of [undefined, null, 'x', 7]) assert.equal(mediaErrorCode(junk), 'device-trouble');
});

test('a screen refused by anything but the person has an error code', () => {
  const codes = [
    [null, mediaError('NotAllowedError', 'Permission denied')],
    [null, mediaError('NotAllowedError', 'The request is not allowed by the user agent or the platform in the current context.')],
    ['screen-denied-system', mediaError('NotAllowedError', 'Permission denied by system')],
    ['screen-blocked', mediaError('SecurityError')],
    ['screen-not-found', mediaError('NotFoundError')],
    ...['NotReadableError', 'AbortError', 'InvalidStateError', 'OverconstrainedError', 'TypeError', 'SomethingNew'].map((name) => ['screen-failed', mediaError(name)]),
  ];
  for (const [code, error] of codes) assert.equal(screenErrorCode(error, true), code, error.message);
  assert.equal(screenErrorCode(mediaError('NotAllowedError'), false), 'screen-blocked');
});

test('camera and microphone are requested with one question', async () => {
  const { media, requests } = makeHarness(allTracks);
  await media.start();
  assert.equal(requests.length, 1);
  assert.ok(media.outgoingTracks().audio && media.outgoingTracks().video);
});

test('without a camera there is audio without a second question', async () => {
  const { media } = makeHarness((wanted) => {
    if (wanted.video) throw mediaError('NotFoundError');
    return allTracks(wanted);
  });
  await media.start();
  assert.ok(media.outgoingTracks().audio);
  assert.equal(media.outgoingTracks().video, null);
  assert.equal(media.state.error, 'device-not-found');
  assert.deepEqual([media.state.mic, media.state.cam], [true, false]);
});

test('a denied request is not repeated', async () => {
  const { media, requests } = makeHarness(() => { throw mediaError('NotAllowedError'); });
  await media.start();
  assert.equal(requests.length, 1);
  assert.equal(media.state.error, 'camera-denied');
});

test('an insecure page has its own error', async () => {
  const media = new Media({ devices: undefined, secure: false, clock: makeClock(), newStream: () => new Stream(), changed() {} });
  await media.start();
  assert.equal(media.state.error, 'insecure-origin');
});

test('a browser without devices on a secure page has another error', async () => {
  const media = new Media({ devices: undefined, clock: makeClock(), newStream: () => new Stream(), changed() {} });
  await media.start();
  assert.equal(media.state.error, 'unsupported');
});

test('a denial by the site\'s policy has its own code', async () => {
  const { media } = makeHarness(() => { throw mediaError('NotAllowedError'); }, { allowed: (feature) => feature !== 'camera' });
  await media.start();
  assert.equal(media.state.error, 'blocked-by-site');
});

test('a denial of granted permissions is blamed on the system', async () => {
  const { media } = makeHarness(() => { throw mediaError('NotAllowedError'); }, { permissions: { query: async () => ({ state: 'granted' }) } });
  await media.start();
  assert.equal(media.state.error, 'camera-denied-system');
});

test('with the camera denied, a granted microphone needs no second question', async () => {
  const states = { camera: 'denied', microphone: 'granted' };
  const { media, requests } = makeHarness((wanted) => {
    if (wanted.video) throw mediaError('NotAllowedError');
    return allTracks(wanted);
  }, { permissions: { query: async ({ name }) => ({ state: states[name] }) } });
  await media.start();
  assert.equal(requests.length, 2);
  assert.ok(media.outgoingTracks().audio);
  assert.equal(media.state.error, 'camera-denied');
});

test('a missing selected camera costs neither call nor selected microphone', async () => {
  const list = [input('audio', 'a'), input('audio', 'b'), input('video', 'front')];
  const storage = storageOf({ audioinput: 'b', videoinput: 'gone' });
  const { media, requests } = makeHarness(({ audio, video }) => {
    if (video?.deviceId?.exact === 'gone') throw mediaError('OverconstrainedError');
    return new Stream([...(audio ? [new Track('audio', { id: audio.deviceId?.exact ?? 'a' })] : []), ...(video ? [new Track('video', { id: 'front' })] : [])]);
  }, { storage, list });
  await media.start();
  assert.deepEqual([media.micTrack().id, media.outgoingTracks().video.id, media.state.error], ['b', 'front', null]);
  assert.equal(requests.length, 3);
});
