import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeStartBitrate, withStartBitrate } from '../../../public/call/start-bitrate.js';

const HOUR = 3600 * 1000;
const lines = (...all) => all.map((line) => `${line}\r\n`).join('');

/** Storage that counts its writes. */
function makeStorage(value = null) {
  return { value, writes: 0, getItem() { return this.value; }, setItem(key, text) { Object.assign(this, { value: text, writes: this.writes + 1 }); } };
}

const CARRIED = JSON.stringify({ direct: { enough: true, at: 1 } });

test('more than the browser begins with is for paths that have all carried it', () => {
  const storage = makeStorage();
  const make = () => makeStartBitrate({ storage, now: () => HOUR });
  assert.equal(make().next(), null, 'nothing is known');
  make().record('direct', 2_000_000);
  assert.equal(make().next(), 1_500_000);
  make().record('relay-udp', 456_000);
  assert.equal(make().next(), null);
  make().record('relay-udp', 1_500_000);
  assert.equal(make().next(), 1_500_000);
});

test('storage is written for a change, or when it is an hour old', () => {
  let now = HOUR;
  const storage = makeStorage();
  const start = makeStartBitrate({ storage, now: () => now });
  for (const bitrate of [401_000, 480_000, null, 499_000]) start.record('direct', bitrate);
  start.record(null, 100_000);
  assert.equal(storage.writes, 1);
  start.record('direct', 1_500_000);
  assert.equal(storage.writes, 2);
  now += HOUR;
  start.record('direct', 1_600_000);
  assert.equal(storage.writes, 3);
});

test('what is remembered expires after a day', () => {
  let now = HOUR;
  const storage = makeStorage();
  const start = makeStartBitrate({ storage, now: () => now });
  start.record('direct', 1_500_000);
  now += 23 * HOUR;
  assert.equal(start.next(), 1_500_000);
  now += 2 * HOUR;
  assert.deepEqual([start.next(), makeStartBitrate({ storage, now: () => now }).next()], [null, null]);
});

test('stored values that this page cannot have written are ignored', () => {
  for (const value of ['', '{', 'null', '7', '[]', '{"direct":null}', '{"direct":{"enough":"x","at":1}}', '{"direct":{"enough":true}}',
    `{"direct":{"enough":true,"at":${2 * HOUR}}}`, '{"other":{"enough":true,"at":1}}']) {
    assert.equal(makeStartBitrate({ storage: makeStorage(value), now: () => HOUR }).next(), null, value);
  }
});

test('a network that the browser knows to be slow begins as the browser does', () => {
  const next = (network) => makeStartBitrate({ network, storage: makeStorage(CARRIED), now: () => HOUR }).next();
  assert.deepEqual([next(undefined), next({ downlink: 10 }), next({ downlink: 0.6 }), next({ downlink: 10, saveData: true })], [1_500_000, 1_500_000, null, null]);
});

test('every video codec of the description gets the hint', () => {
  const sdp = lines('v=0', 'm=audio 9 X 111', 'a=rtpmap:111 opus/48000/2', 'a=fmtp:111 useinbandfec=1', 'm=video 9 X 96 97 98 45',
    'a=rtpmap:96 VP8/90000', 'a=rtcp-fb:96 nack', 'a=rtpmap:97 rtx/90000', 'a=fmtp:97 apt=96', 'a=rtpmap:98 VP9/90000', 'a=fmtp:98 profile-id=0', 'a=rtpmap:45 red/90000');
  assert.equal(withStartBitrate(sdp, 1_500_000), lines('v=0', 'm=audio 9 X 111', 'a=rtpmap:111 opus/48000/2', 'a=fmtp:111 useinbandfec=1', 'm=video 9 X 96 97 98 45',
    'a=rtpmap:96 VP8/90000', 'a=fmtp:96 x-google-start-bitrate=1500', 'a=rtcp-fb:96 nack', 'a=rtpmap:97 rtx/90000', 'a=fmtp:97 apt=96',
    'a=rtpmap:98 VP9/90000', 'a=fmtp:98 profile-id=0;x-google-start-bitrate=1500', 'a=rtpmap:45 red/90000'));
});

test('a description of another shape is unchanged', () => {
  for (const sdp of [undefined, '', 'broken', 'm=video ', lines('m=audio 9 X 96', 'a=rtpmap:96 VP8/90000'), lines('m=video 9 X 96', 'a=rtpmap:x VP8/90000')]) {
    assert.equal(withStartBitrate(sdp, 1_500_000), sdp);
  }
  assert.equal(withStartBitrate(lines('m=video 9 X 96', 'a=rtpmap:96 VP8/90000'), null), lines('m=video 9 X 96', 'a=rtpmap:96 VP8/90000'));
});
