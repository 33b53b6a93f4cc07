// Stats sampler: reads the connection's statistics once a second and keeps the last minute of samples.

import { pathOf, qualityOf, qualityReason, readReport, sampleOf } from './selected-path.js';

const INTERVAL_MS = 1000;
const KEPT = 60;

/**
 * @import { Path, Quality, Sample } from './selected-path.js'
 *
 * @typedef {object} StatsSampler
 * @property {() => void} start idempotent
 * @property {() => void} stop
 * @property {Sample[]} samples
 * @property {() => Path | null} path
 * @property {() => boolean} isUdpBlocked whether it is known that this network blocks UDP
 * @property {() => Quality | null} quality
 * @property {() => 'loss' | 'delay' | null} qualityReason
 */

/**
 * @param {object} parts
 * @param {() => RTCPeerConnection | null} parts.connection
 * @param {import('../lib/clock.js').Clock} parts.clock
 * @param {() => number} parts.now
 * @param {() => void} parts.changed
 * @returns {StatsSampler}
 */
export function makeStatsSampler({ connection, clock, now, changed }) {
  /** @type {Sample[]} */
  const samples = [];
  /** @type {RTCPeerConnection | null} */
  let source = null;
  let running = false;
  /** @type {import('../lib/clock.js').Timer | undefined} */
  let timer;

  async function read() {
    const pc = connection();
    if (pc !== source) samples.length = 0;
    source = pc;
    const report = pc && await readReport(pc).catch(() => null);
    if (!running) return;
    if (report && pc === connection()) {
      samples.push(sampleOf(report, now(), samples.at(-1)));
      if (samples.length > KEPT) samples.shift();
      changed();
    }
    // The pair is often selected a moment after the connection state is `connected`.
    const isSelected = samples.length > 0 && pathOf(report ?? new Map()) !== null;
    timer = clock.after(read, isSelected ? INTERVAL_MS : INTERVAL_MS / 4);
  }

  /**
   * Evaluates the mean of the last three samples: one late or lost packet is not poor quality.
   * @template T
   * @param {(recent: Pick<Sample, 'rtt' | 'lossRate'>) => T} evaluate
   */
  function recent(evaluate) {
    const last = samples.slice(-3);
    if (!last.length) return null;
    const rtts = last.flatMap(({ rtt }) => (rtt === null ? [] : [rtt]));
    return evaluate({ rtt: rtts.length ? mean(rtts) : null, lossRate: mean(last.map((each) => each.lossRate)) });
  }

  return {
    samples,
    start() {
      if (running) return;
      running = true;
      read();
    },
    stop() {
      running = false;
      clock.cancel(timer);
      samples.length = 0;
      source = null;
    },
    path: () => samples.at(-1)?.path ?? null,
    isUdpBlocked: () => source?.iceGatheringState === 'complete' && (samples.at(-1)?.udpBlocked ?? false),
    quality: () => recent(qualityOf),
    qualityReason: () => recent(qualityReason),
  };
}

/** @param {number[]} numbers */
function mean(numbers) {
  return numbers.reduce((sum, each) => sum + each, 0) / numbers.length;
}
