// RTCP feedback: the receiver reports on outgoing media as one reading: loss, delay and available bitrate.
//
// Pure: a getStats report and the previous reading come in. Chromium estimates the available bitrate, Firefox does not.

import { selectedPair } from './selected-path.js';

/** @typedef {import('./selected-path.js').Report} Report */
/** @typedef {{key: string, at: number, received: number, lost: number, sent: number, retransmitted: number, fractions: number[]}} StreamReport */

/** Fewer packets give no meaningful loss: such a report is merged with the next one, and after some seconds counted as
 *  if the missing packets had arrived. A still screen is sent as one or two packets a second. */
const ENOUGH_PACKETS = 8;
const MERGE_MS = 4000;

/**
 * @typedef {object} Feedback
 * @property {number | null} loss share of packets, 0 to 1: of video while it is sent, reported every second, else of
 *   audio, whose reports are up to five seconds old; null without a new report
 * @property {number | null} audioLoss share of audio packets; null without a new report
 * @property {number | null} rtt in ms; null without a new report
 * @property {boolean} reported whether there was a new report, even on too few packets
 * @property {number | null} available estimated bits per second; null where the browser has no estimate
 * @property {boolean} sending whether video was sent since the previous reading
 * @property {number} videoPackets sent so far
 * @property {string | null} path id of the selected candidate pair, or of the last one
 * @property {Map<string, StreamReport>} reports the last one of each stream
 */

/**
 * @param {Report} report
 * @param {Feedback} [before]
 * @returns {Feedback}
 */
export function feedbackOf(report, before) {
  /** @type {Feedback} */
  const reading = {
    loss: null, audioLoss: null, rtt: null, reported: false, available: null, sending: false, videoPackets: 0,
    path: selectedPair(report)?.id ?? before?.path ?? null, reports: new Map(),
  };
  /** @type {Record<string, number | null>} */
  const losses = { audio: null, video: null };
  for (const entry of report.values()) {
    if (entry.type === 'candidate-pair' && entry.availableOutgoingBitrate > 0) reading.available = entry.availableOutgoingBitrate;
    if (entry.type === 'outbound-rtp' && entry.kind === 'video') reading.videoPackets += entry.packetsSent ?? 0;
    if (entry.type === 'remote-inbound-rtp') losses[entry.kind] = lossOf(reading, entry, report, before?.reports.get(entry.id));
  }
  reading.sending = before !== undefined && reading.videoPackets > before.videoPackets;
  reading.audioLoss = losses.audio;
  reading.loss = reading.sending ? losses.video : losses.video ?? losses.audio;
  return reading;
}

/**
 * The reported fraction covers only the time since a report that may itself be lost. The totals do not have this
 * problem, but do not count a loss that a retransmission repaired. The worst of the three measures is used.
 * @param {Feedback} reading
 * @param {any} entry
 * @param {Report} report
 * @param {StreamReport} [last]
 * @returns {number | null}
 */
function lossOf(reading, entry, report, last) {
  const { roundTripTime: rtt, packetsLost: lost = 0, packetsReceived, fractionLost = 0 } = entry;
  const key = [entry.timestamp, lost, packetsReceived, entry.roundTripTimeMeasurements].join();
  const outbound = report.get(entry.localId);
  const { packetsSent: sent = 0, retransmittedPacketsSent: retransmitted = 0 } = outbound ?? {};
  const received = packetsReceived ?? sent - lost;
  const now = { key, at: entry.timestamp, received, lost, sent, retransmitted, fractions: [] };
  const known = last?.key === key;
  reading.reports.set(entry.id, known ? last : now);
  if (!last || known) return null;
  reading.reported = true;
  if (typeof rtt === 'number') reading.rtt = Math.max(reading.rtt ?? 0, rtt * 1000);
  const fractions = [...last.fractions, fractionLost];
  // Totals that restart belong to another stream.
  if (outbound && sent >= last.sent && sent - last.sent < ENOUGH_PACKETS && Math.abs(entry.timestamp - last.at) < MERGE_MS) {
    reading.reports.set(entry.id, { ...last, key, fractions });
    return null;
  }
  const newlyLost = Math.max(0, lost - last.lost);
  const weight = outbound && sent > last.sent ? Math.min(1, (sent - last.sent) / ENOUGH_PACKETS) : 1;
  return weight * Math.max(mean(fractions), share(newlyLost, newlyLost + received - last.received),
    share(retransmitted - last.retransmitted, sent - last.sent));
}

/** So many packets of video without a sign that any arrives, and then so many reports of complete audio. */
const UNREPORTED_PACKETS = 60;
const UNREPORTED_AUDIO_REPORTS = 2;
const NEARLY_ALL = 0.9;
const AUDIO_LOSS = 0.02;

/**
 * Detects, at the sender, a path that carries small packets only: the peer reports audio as complete, and of video nothing or
 * that nearly all is lost. The receiver cannot tell this from video that is paused.
 * @returns {(report: Report) => boolean}
 */
export function makeUnreportedVideoDetector() {
  /** @type {Map<string, number>} */
  const times = new Map();
  let sentBefore = 0;
  let audioReports = 0;

  return (report) => {
    const entries = [...report.values()];
    const sent = entries.reduce((sum, { type, kind, packetsSent = 0 }) => sum + (type === 'outbound-rtp' && kind === 'video' ? packetsSent : 0), 0);
    for (const { type, kind, id, timestamp, fractionLost = 0 } of entries) {
      if (type !== 'remote-inbound-rtp' || times.get(id) === timestamp) continue;
      times.set(id, timestamp);
      if (kind === 'audio' && fractionLost <= AUDIO_LOSS) audioReports += 1;
      else if (kind === 'audio' || fractionLost < NEARLY_ALL) sentBefore = sent;
    }
    // Another stream counts from zero.
    sentBefore = Math.min(sentBefore, sent);
    if (sent - sentBefore < UNREPORTED_PACKETS) audioReports = 0;
    return audioReports >= UNREPORTED_AUDIO_REPORTS;
  };
}

/** @param {number[]} numbers */
function mean(numbers) {
  return numbers.reduce((sum, each) => sum + each, 0) / numbers.length;
}

/** @param {number} part @param {number} whole */
function share(part, whole) {
  return part > 0 ? part / Math.max(part, whole) : 0;
}
