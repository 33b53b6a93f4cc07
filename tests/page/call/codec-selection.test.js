import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeCodecSelection, orderedCodecs } from '../../../public/call/codec-selection.js';
import { nextTask } from '../../../public/lib/clock.js';
import { settle } from '../harness/fakes.js';

const codec = (name, sdpFmtpLine) => ({ mimeType: `video/${name}`, ...(sdpFmtpLine && { sdpFmtpLine }) });
const VP8 = codec('VP8');
const RTX = codec('rtx');
const VP9 = codec('VP9', 'profile-id=0');
const H264_BASELINE = codec('H264', 'packetization-mode=1;profile-level-id=42001f');
const H264_MODE_0 = codec('H264', 'packetization-mode=0;profile-level-id=42e01f');
const H264_HIGH = codec('H264', 'packetization-mode=1;profile-level-id=640032');
const AV1 = codec('AV1', 'level-idx=5;profile=0;tier=0');
const [RED, ULPFEC, FLEXFEC] = ['red', 'ulpfec', 'flexfec-03'].map((name) => codec(name));
const ALL = [VP8, RTX, VP9, H264_BASELINE, H264_MODE_0, AV1, H264_HIGH, RED, ULPFEC, FLEXFEC];

for (const [what, efficient, expected] of /** @type {const} */ ([
  ['nothing is efficient', [], null],
  ['hardware for H264: its profiles and modes in the browser\'s order', [H264_HIGH, H264_MODE_0, H264_BASELINE], [H264_BASELINE, H264_MODE_0, H264_HIGH, VP8, RTX, VP9, AV1, RED, ULPFEC, FLEXFEC]],
  ['hardware for one profile of H264', [H264_HIGH], [H264_HIGH, VP8, RTX, VP9, H264_BASELINE, H264_MODE_0, AV1, RED, ULPFEC, FLEXFEC]],
  ['hardware for AV1', [AV1], [AV1, VP8, RTX, VP9, H264_BASELINE, H264_MODE_0, H264_HIGH, RED, ULPFEC, FLEXFEC]],
  ['retransmissions and redundancy are never first', [RTX, RED, ULPFEC, FLEXFEC], null],
])) {
  test(`the order of codecs where ${what}`, () => {
    assert.deepEqual(orderedCodecs(ALL, (each) => efficient.includes(each)), expected);
  });
}

test('no codecs are no order', () => assert.equal(orderedCodecs([], () => true), null));

/** Each codec is asked for in a task of its own. */
async function answers() {
  for (let codecs = 0; codecs <= ALL.length; codecs += 1) {
    await nextTask();
    await settle();
  }
}

/** `info`: what the browser tells of a codec for encoding and for decoding. */
async function applied(info, { codecs = ALL, refuses = false } = {}) {
  const asked = [];
  const ask = (what) => async (configuration) => {
    asked.push(configuration);
    return { supported: true, smooth: true, powerEfficient: true, ...info(configuration, what) };
  };
  const selection = makeCodecSelection({ mediaCapabilities: { encodingInfo: ask('encode'), decodingInfo: ask('decode') }, capabilities: () => ({ codecs }) });
  const set = [];
  const transceiver = { setCodecPreferences(order) { if (refuses) throw new TypeError('codec'); set.push(order); } };
  selection.apply(transceiver);
  assert.deepEqual(set, [], 'nothing waits for the answer');
  await answers();
  selection.apply(transceiver);
  return { asked, first: set[0]?.[0] ?? null };
}

test('a codec is preferred if both directions are supported, smooth and efficient', async () => {
  const isH264 = ({ video }) => video.contentType === `video/H264;${H264_HIGH.sdpFmtpLine}`;
  assert.equal((await applied((asked) => ({ powerEfficient: isH264(asked) }))).first, H264_HIGH);
  for (const name of ['supported', 'smooth', 'powerEfficient']) {
    for (const failing of ['encode', 'decode']) {
      assert.equal((await applied((asked, what) => ({ [name]: isH264(asked) && what !== failing, ...(name !== 'powerEfficient' && { powerEfficient: isH264(asked) }) }))).first, null, `${name} ${failing}`);
    }
  }
});

test('every codec is asked for once in each direction', async () => {
  const { asked } = await applied(() => ({}));
  assert.equal(asked.length, 12);
  assert.deepEqual(asked.find(({ video }) => video.contentType === 'video/VP8'), { type: 'webrtc', video: { contentType: 'video/VP8', width: 1280, height: 720, framerate: 30, bitrate: 2_500_000 } });
});

test('a browser that does not know the question keeps its own order', async () => {
  assert.equal((await applied(() => { throw new TypeError('webrtc is no type'); })).first, null);
  assert.equal((await applied(() => ({}), { codecs: [] })).first, null);
  assert.equal((await applied(() => ({}), { refuses: true })).first, null);
  for (const parts of [{}, { mediaCapabilities: {}, capabilities: () => ({ codecs: ALL }) }, { capabilities: () => null }]) {
    const selection = makeCodecSelection(parts);
    await answers();
    selection.apply({ setCodecPreferences: () => assert.fail('no order is known') });
  }
});

test('a browser without preferences of codecs is left alone', async () => {
  const infos = async () => ({ supported: true, smooth: true, powerEfficient: true });
  const selection = makeCodecSelection({ mediaCapabilities: { encodingInfo: infos, decodingInfo: infos }, capabilities: () => ({ codecs: ALL }) });
  await answers();
  selection.apply({});
});
