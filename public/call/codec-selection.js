// Codec selection: which video codec a connection prefers. A codec that this device encodes and decodes in hardware comes
// first; without one, or while the browser has not told, its own order stands.
//
// Each side orders its own description, and a browser sends what the other's description has first. A side without hardware
// answers in the order of the offer, as does a client that knows nothing of this.

import { nextTask } from '../lib/clock.js';

/**
 * @typedef {{mimeType: string, sdpFmtpLine?: string}} Codec as in `RTCRtpReceiver.getCapabilities`
 *
 * @typedef {object} CodecSelection
 * @property {(transceiver: RTCRtpTransceiver) => void} apply to a video transceiver, before an offer or an answer
 *
 * @typedef {object} CodecSelectionParts
 * @property {Pick<MediaCapabilities, 'encodingInfo' | 'decodingInfo'>} [mediaCapabilities]
 * @property {() => {codecs: Codec[]} | null | undefined} [capabilities] of a video receiver
 */

/** What a camera sends at most. */
const VIDEO = { width: 1280, height: 720, framerate: 30, bitrate: 2_500_000 };
const NOT_A_CODEC = /\/(rtx|red|ulpfec|flexfec.*)$/i;

/**
 * @param {Codec[]} codecs in the browser's own order
 * @param {(codec: Codec) => boolean} isEfficient
 * @returns {Codec[] | null} all of them in another order; null for the browser's own
 */
export function orderedCodecs(codecs, isEfficient) {
  const efficient = codecs.filter((codec) => !NOT_A_CODEC.test(codec.mimeType) && isEfficient(codec));
  return efficient.length ? [...efficient, ...codecs.filter((codec) => !efficient.includes(codec))] : null;
}

/**
 * Asks the browser at once, one question in each task, and uses the answers once they are there.
 * @param {CodecSelectionParts} [parts]
 * @returns {CodecSelection}
 */
export function makeCodecSelection({
  mediaCapabilities = globalThis.navigator?.mediaCapabilities, capabilities = () => globalThis.RTCRtpReceiver?.getCapabilities?.('video'),
} = {}) {
  /** @type {Codec[] | null} */
  let preferred = null;
  efficientOrder(mediaCapabilities, capabilities).then((order) => { preferred = order; });

  return {
    apply(transceiver) {
      try {
        if (preferred) transceiver.setCodecPreferences?.(/** @type {RTCRtpCodec[]} */ (preferred));
      } catch {
        // The browser refuses a codec that it has named itself: its own order stands.
      }
    },
  };
}

/** @param {CodecSelectionParts['mediaCapabilities']} mediaCapabilities @param {NonNullable<CodecSelectionParts['capabilities']>} capabilities */
async function efficientOrder(mediaCapabilities, capabilities) {
  await nextTask();
  const codecs = capabilities()?.codecs ?? [];
  /** @type {Set<Codec>} */
  const efficient = new Set();
  for (const codec of codecs.filter(({ mimeType }) => !NOT_A_CODEC.test(mimeType))) {
    await nextTask();
    if (await isEfficient(mediaCapabilities, codec)) efficient.add(codec);
  }
  return orderedCodecs(codecs, (codec) => efficient.has(codec));
}

/**
 * @param {CodecSelectionParts['mediaCapabilities']} mediaCapabilities
 * @param {Codec} codec
 * @returns {Promise<boolean>} false also where the browser does not know the question
 */
async function isEfficient(mediaCapabilities, { mimeType, sdpFmtpLine }) {
  const video = { ...VIDEO, contentType: sdpFmtpLine ? `${mimeType};${sdpFmtpLine}` : mimeType };
  try {
    const infos = await Promise.all([mediaCapabilities?.encodingInfo({ type: 'webrtc', video }), mediaCapabilities?.decodingInfo({ type: 'webrtc', video })]);
    return infos.every((info) => info?.supported && info.smooth && info.powerEfficient);
  } catch {
    return false;
  }
}
