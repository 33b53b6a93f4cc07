// Start bitrate: with how much video a connection begins. Without a hint Chromium begins with 300 kbit/s and keeps the
// picture small for many seconds. Firefox ignores the hint.
//
// The hint is a parameter in the description that the browser receives. A path that did not carry the usual start is
// remembered for a day. The path of a new connection is not known yet, so the lowest of all paths counts: a picture that
// is small at first costs less than sound that is lost.

/**
 * @import { Path } from './selected-path.js'
 *
 * @typedef {object} StartBitrate
 * @property {() => number} next for a new connection, in bits per second
 * @property {(path: Path | null, carried: number | null) => void} record what a path carries now; null if unknown
 *
 * @typedef {{downlink?: number, saveData?: boolean}} NetworkInformation `downlink` in Mbit/s; Chromium only
 * @typedef {{bitrate: number, at: number}} Remembered
 */

const KEY = 'webrtc-box.start-bitrate';
const PATHS = /** @type {const} */ (['direct', 'relay-udp', 'relay-tcp', 'relay-tls']);
const START = 1_500_000;
const LOWEST = 100_000;
/** What Chromium begins with itself. */
const DEFAULT = 300_000;
const STEP = 100_000;
const LIFETIME_MS = 24 * 3600 * 1000;
const VIDEO_CODEC = /^a=rtpmap:(\d+) (?:VP8|VP9|H264|H265|AV1)\/90000\b/gim;

/**
 * @param {object} [parts]
 * @param {Pick<Storage, 'getItem' | 'setItem'>} [parts.storage]
 * @param {NetworkInformation} [parts.network]
 * @param {() => number} [parts.now] milliseconds since 1970
 * @returns {StartBitrate}
 */
export function makeStartBitrate({ storage, network = {}, now = Date.now } = {}) {
  const remembered = read(storage, now());

  return {
    next() {
      if (network.saveData) return DEFAULT;
      const current = [...remembered.values()].filter(({ at }) => now() - at < LIFETIME_MS);
      return Math.min(START, Math.max(DEFAULT, (network.downlink ?? Infinity) * 1_000_000), ...current.map(({ bitrate }) => bitrate));
    },
    record(path, carried) {
      if (path === null || carried === null) return;
      const bitrate = Math.max(LOWEST, Math.floor(carried / STEP) * STEP);
      // Rounding keeps the storage from being written with every reading.
      if (bitrate >= START ? !remembered.delete(path) : remembered.get(path)?.bitrate === bitrate) return;
      if (bitrate < START) remembered.set(path, { bitrate, at: now() });
      storage?.setItem(KEY, JSON.stringify(Object.fromEntries(remembered)));
    },
  };
}

/**
 * @param {Pick<Storage, 'getItem'> | undefined} storage
 * @param {number} now
 * @returns {Map<Path, Remembered>} only what this page may have written
 */
function read(storage, now) {
  /** @type {Map<Path, Remembered>} */
  const remembered = new Map();
  try {
    const stored = JSON.parse(storage?.getItem(KEY) ?? '{}');
    for (const path of PATHS) {
      const { bitrate, at } = stored?.[path] ?? {};
      if (bitrate >= LOWEST && bitrate < START && at <= now) remembered.set(path, { bitrate: Number(bitrate), at: Number(at) });
    }
  } catch {
    // Not JSON: nothing is remembered.
  }
  return remembered;
}

/**
 * @param {string | undefined} sdp as received
 * @param {number} bitrate in bits per second
 * @returns {string | undefined} the same with the hint for every video codec
 */
export function withStartBitrate(sdp, bitrate) {
  const hint = `x-google-start-bitrate=${Math.round(bitrate / 1000)}`;
  return sdp?.split(/^(?=m=)/m).map((section) => (section.startsWith('m=video ') ? inSection(section, hint) : section)).join('');
}

/** @param {string} section @param {string} hint */
function inSection(section, hint) {
  const codecs = new Set([...section.matchAll(VIDEO_CODEC)].map(([, type]) => type));
  const hinted = section.replace(/^a=fmtp:(\d+) (.*\w)/gm, (line, type) => (codecs.delete(type) ? `${line};${hint}` : line));
  // VP8 has no parameters of its own.
  return hinted.replace(/^a=rtpmap:(\d+) .*\w(\r?\n)/gm, (line, type, end) => (codecs.has(type) ? `${line}a=fmtp:${type} ${hint}${end}` : line));
}
