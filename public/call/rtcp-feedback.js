// Feedback: what comes back of the media we send, as one reading: lost, late, and how much would fit.
//
// Pure: a report of getStats comes in with the reading before. Chromium says how much would fit, Firefox does not.

import { selectedPair } from './selected-path.js';

/** @typedef {import('./selected-path.js').Report} Report */
/** @typedef {{seen: string, at: number, came: number, lost: number, sent: number, again: number, shares: number[]}} Told */

/** One lost of three packets says nothing: a report of fewer is told with the next, and after some seconds as if the
 *  rest had come. Of a screen on which nothing moves a browser sends no more than a packet or two each second. */
const ENOUGH = 8;
const LONG_MS = 4000;

/**
 * @typedef {object} Feedback
 * @property {number | null} loss share of packets, 0 to 1: of the picture while one is sent, whose reports come every
 *   second, else of the sound, which are five seconds old; null where nobody has reported since the reading before
 * @property {number | null} sound share of the sound's packets, as its own reports say; null as well
 * @property {number | null} rtt milliseconds, as those reports say; null as well
 * @property {boolean} heard whether anybody has reported since the reading before, be it too little to tell
 * @property {number | null} available bits a second that would fit, as the browser estimates; null where it does not say
 * @property {boolean} sending whether a picture has been sent since the reading before
 * @property {number} pictures packets of it sent so far
 * @property {string | null} path the pair it goes by; while there is none, the one before
 * @property {Map<string, Told>} told each stream's last report
 */

/**
 * @param {Report} report
 * @param {Feedback} [before]
 * @returns {Feedback}
 */
export function feedbackOf(report, before) {
  /** @type {Feedback} */
  const reading = { loss: null, sound: null, rtt: null, heard: false, available: null, sending: false, pictures: 0, path: selectedPair(report)?.id ?? before?.path ?? null, told: new Map() };
  /** @type {Record<string, number | null>} */
  const losses = { audio: null, video: null };
  for (const entry of report.values()) {
    if (entry.type === 'candidate-pair' && entry.availableOutgoingBitrate > 0) reading.available = entry.availableOutgoingBitrate;
    if (entry.type === 'outbound-rtp' && entry.kind === 'video') reading.pictures += entry.packetsSent ?? 0;
    if (entry.type === 'remote-inbound-rtp') losses[entry.kind] = lossOf(reading, entry, report, before?.told.get(entry.id));
  }
  reading.sending = before !== undefined && reading.pictures > before.pictures;
  reading.sound = losses.audio;
  reading.loss = reading.sending ? losses.video : losses.video ?? losses.audio;
  return reading;
}

/**
 * The share is said for the time since a report that may itself have been lost; the sums are not, but what was sent
 * again and came at last is no loss in them. The worst of the three is taken.
 * @param {Feedback} reading
 * @param {any} entry
 * @param {Report} report
 * @param {Told} [last]
 * @returns {number | null}
 */
function lossOf(reading, entry, report, last) {
  const { roundTripTime: rtt, packetsLost: lost = 0, packetsReceived, fractionLost = 0 } = entry;
  const seen = [entry.timestamp, lost, packetsReceived, entry.roundTripTimeMeasurements].join();
  const ours = report.get(entry.localId);
  const { packetsSent: sent = 0, retransmittedPacketsSent: again = 0 } = ours ?? {};
  const came = packetsReceived ?? sent - lost;
  const now = { seen, at: entry.timestamp, came, lost, sent, again, shares: [] };
  const old = last?.seen === seen;
  reading.told.set(entry.id, old ? last : now);
  if (!last || old) return null;
  reading.heard = true;
  if (typeof rtt === 'number') reading.rtt = Math.max(reading.rtt ?? 0, rtt * 1000);
  const shares = [...last.shares, fractionLost];
  // Sums that begin anew are of another stream.
  if (ours && sent >= last.sent && sent - last.sent < ENOUGH && Math.abs(entry.timestamp - last.at) < LONG_MS) {
    reading.told.set(entry.id, { ...last, seen, shares });
    return null;
  }
  const gone = Math.max(0, lost - last.lost);
  const weight = ours && sent > last.sent ? Math.min(1, (sent - last.sent) / ENOUGH) : 1;
  return weight * Math.max(mean(shares), share(gone, gone + came - last.came), share(again - last.again, sent - last.sent));
}

/** @param {number[]} numbers */
function mean(numbers) {
  return numbers.reduce((sum, each) => sum + each, 0) / numbers.length;
}

/** @param {number} part @param {number} whole */
function share(part, whole) {
  return part > 0 ? part / Math.max(part, whole) : 0;
}
