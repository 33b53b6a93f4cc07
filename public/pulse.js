// Pulse: whether packets still come over a connection, asked of its statistics four times a second.
//
// A path that broke is noticed here within two seconds; the browser itself says `disconnected` later, and
// consent runs out (RFC 7675) after half a minute. Time is counted in beats: who slept has heard no silence.

const BEAT_MS = 250;
const FAINT_MS = 1000;
const SILENT_MS = 2000;

/**
 * @typedef {'beating' | 'faint' | 'silent'} PulseState
 * @typedef {object} Pulse
 * @property {() => void} start begins, or goes on
 * @property {() => void} stop
 * @property {() => PulseState} state
 */

/**
 * @param {object} parts
 * @param {() => Promise<number | null>} parts.read packets received until now; null where nobody knows
 * @param {() => boolean} parts.expected whether the other side has anything to send
 * @param {(state: PulseState) => void} parts.tell each change
 * @param {import('./signaling.js').Clock} parts.clock
 * @returns {Pulse}
 */
export function makePulse({ read, expected, tell, clock }) {
  /** @type {PulseState} */
  let state = 'beating';
  /** @type {number | null} */
  let last = null;
  let quiet = 0;
  let flowed = false;
  let running = false;
  /** @type {any} */
  let timer;

  async function beat() {
    const count = await read().catch(() => null);
    if (!running) return;
    if (count !== null) weigh(count);
    timer = clock.after(beat, BEAT_MS);
  }

  /** @param {number} count */
  function weigh(count) {
    // What came before the first beat has flowed as well: a path may break in its first second.
    const moved = count !== (last ?? 0);
    if (moved) flowed = true;
    last = count;
    quiet = moved || !flowed || !expected() ? 0 : quiet + BEAT_MS;
    const now = quiet >= SILENT_MS ? 'silent' : quiet >= FAINT_MS ? 'faint' : 'beating';
    if (now === state) return;
    state = now;
    tell(now);
  }

  return {
    start() {
      if (running) return;
      running = true;
      timer = clock.after(beat, BEAT_MS);
    },
    stop() {
      running = false;
      clock.cancel(timer);
    },
    state: () => state,
  };
}

/**
 * Media packets received over a connection, of all kinds together.
 * @param {import('./path.js').Report} report
 */
export function packetsReceived(report) {
  let sum = 0;
  for (const one of report.values()) if (one.type === 'inbound-rtp') sum += one.packetsReceived ?? 0;
  return sum;
}
