// Start bitrate: with how much video a connection begins. Chromium begins with 300 kbit/s unless a parameter in the
// description that it receives says otherwise. Firefox ignores the parameter.
//
// More is asked for only where the last calls have carried it: the first video of a faster start fills the queue of a slow
// link, and delays audio by seconds. The path of a new connection is not known yet, so every path must have carried it.

/**
 * @import { Path } from './selected-path.js'
 *
 * @typedef {object} StartBitrate
 * @property {() => number | null} next for a new connection, in bits per second; null for what the browser begins with
 * @property {(path: Path | null, carried: number | null) => void} record what a path carries now; null if unknown
 *
 * @typedef {{downlink?: number, saveData?: boolean}} NetworkInformation `downlink` in Mbit/s; Chromium only
 * @typedef {{enough: boolean, at: number}} Remembered whether the path carried `START`, and when
 */

const KEY = 'webrtc-box.start-bitrate';
const PATHS = /** @type {const} */ (['direct', 'relay-udp', 'relay-tcp', 'relay-tls']);
const START = 1_500_000;
const LIFETIME_MS = 24 * 3600 * 1000;
const REWRITTEN_AFTER_MS = 3600 * 1000;
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
      const current = [...remembered.values()].filter(({ at }) => now() - at < LIFETIME_MS);
      const carried = current.length > 0 && current.every(({ enough }) => enough);
      return carried && !network.saveData && (network.downlink ?? Infinity) * 1_000_000 >= START ? START : null;
    },
    record(path, carried) {
      if (path === null || carried === null) return;
      const enough = carried >= START;
      const before = remembered.get(path);
      // Not with every reading.
      if (before?.enough === enough && now() - before.at < REWRITTEN_AFTER_MS) return;
      remembered.set(path, { enough, at: now() });
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
      const { enough, at } = stored?.[path] ?? {};
      if (typeof enough === 'boolean' && at <= now) remembered.set(path, { enough, at: Number(at) });
    }
  } catch {
    // Not JSON: nothing is remembered.
  }
  return remembered;
}

/**
 * @param {string | undefined} sdp as received
 * @param {number | null} bitrate in bits per second; null for no hint
 * @returns {string | undefined} the same with the hint for every video codec
 */
export function withStartBitrate(sdp, bitrate) {
  if (bitrate === null) return sdp;
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
