// Readings: once a second, what the connection's statistics say; the last minute of them is kept.
//
// It reads and keeps; drawing and judging are elsewhere.

import { pathOf, qualityOf, reasonOf, sampleOf } from './selected-path.js';

const EVERY_MS = 1000;
const KEPT = 60;

/**
 * @typedef {import('./selected-path.js').Sample} Sample
 * @typedef {object} Readings
 * @property {() => void} watch begins, or goes on
 * @property {() => void} rest
 * @property {Sample[]} samples
 * @property {() => import('./selected-path.js').Path | null} path
 * @property {() => boolean} udpShut whether it is known that this network lets no UDP through
 * @property {() => import('./selected-path.js').Quality | null} quality
 * @property {() => 'loss' | 'delay' | null} reason why the quality is not good
 */

/**
 * @param {object} parts
 * @param {() => RTCPeerConnection | null} parts.connection
 * @param {import('../lib/clock.js').Clock} parts.clock
 * @param {() => number} parts.now
 * @param {() => void} parts.changed
 * @returns {Readings}
 */
export function makeReadings({ connection, clock, now, changed }) {
  /** @type {Sample[]} */
  const samples = [];
  /** @type {RTCPeerConnection | null} */
  let source = null;
  let watching = false;
  /** @type {any} */
  let timer;

  async function read() {
    const pc = connection();
    if (pc !== source) samples.length = 0;
    source = pc;
    const report = await pc?.getStats().catch(() => null);
    if (!watching) return;
    if (report && pc === connection()) {
      samples.push(sampleOf(report, now(), samples.at(-1)));
      if (samples.length > KEPT) samples.shift();
      changed();
    }
    // The pair is often chosen a moment after the connection says it is there.
    const soon = samples.length > 0 && pathOf(report ?? new Map()) !== null;
    timer = clock.after(read, soon ? EVERY_MS : EVERY_MS / 4);
  }

  return {
    samples,
    watch() {
      if (watching) return;
      watching = true;
      read();
    },
    rest() {
      watching = false;
      clock.cancel(timer);
      samples.length = 0;
      source = null;
    },
    path: () => samples.at(-1)?.path ?? null,
    udpShut: () => source?.iceGatheringState === 'complete' && (samples.at(-1)?.udpShut ?? false),
    quality: () => judged(qualityOf),
    reason: () => judged(reasonOf),
  };

  /**
   * By the last three readings: one late or lost packet is not a bad line.
   * @template T
   * @param {(recent: Pick<Sample, 'rtt' | 'lossRate'>) => T} judge
   */
  function judged(judge) {
    const recent = samples.slice(-3);
    if (!recent.length) return null;
    const rtts = recent.flatMap(({ rtt }) => (rtt === null ? [] : [rtt]));
    return judge({ rtt: rtts.length ? mean(rtts) : null, lossRate: mean(recent.map((each) => each.lossRate)) });
  }
}

/** @param {number[]} numbers */
function mean(numbers) {
  return numbers.reduce((sum, each) => sum + each, 0) / numbers.length;
}
