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
 * @param {import('../lib/clock.js').Clock} parts.clock
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
 * @param {import('./selected-path.js').Report} report
 */
export function packetsReceived(report) {
  let sum = 0;
  for (const one of report.values()) if (one.type === 'inbound-rtp') sum += one.packetsReceived ?? 0;
  return sum;
}

/** Of a picture that is to come: within this long it hardly moves, and of its packets most are lost. */
const STILL_MS = 12_000;
const STILL_FRAMES = 24;
const STILL_PACKETS = 20;
const STILL_LOST = 0.7;
const SOUND_LOST = 0.02;
/** A thin line makes the sound late as well, and late sound is made up. */
const SOUND_MADE_UP = 0.05;

/** @typedef {{frames: number, sound: number, soundLost: number, picture: number, pictureLost: number, samples: number, madeUp: number}} Tally */

/**
 * Whether a path carries small packets only: the sound comes whole and the picture does not come at all. Where the line
 * is too thin for it the sound suffers as well, or nothing of the picture is sent.
 * @param {number} [beatMs] the time between two readings
 * @returns {(report: import('./selected-path.js').Report, theirs: {picture: boolean, mayRest: boolean}) => boolean} `mayRest`: nothing of it is no wonder
 */
export function makePictureWatch(beatMs = BEAT_MS) {
  /** @type {Tally[]} */
  let recent = [];

  return (report, { picture, mayRest }) => {
    const now = tallyOf(report);
    recent = picture ? [...recent, now].slice(-STILL_MS / beatMs - 1) : [];
    const [from] = recent;
    if (recent.length <= STILL_MS / beatMs) return false;
    const of = (/** @type {keyof Tally} */ key) => now[key] - from[key];
    const moves = of('frames') < 0 || of('frames') >= STILL_FRAMES;
    const soundIsWhole = of('sound') >= STILL_MS / 100 && of('soundLost') <= of('sound') * SOUND_LOST && of('madeUp') <= of('samples') * SOUND_MADE_UP;
    if (moves || !soundIsWhole) return false;
    const [came, lost] = [of('picture'), of('pictureLost')];
    return (lost >= STILL_PACKETS && lost > (came + lost) * STILL_LOST) || (!mayRest && came === 0 && now.picture > 0);
  };
}

/** @param {import('./selected-path.js').Report} report */
function tallyOf(report) {
  const sum = { frames: 0, sound: 0, soundLost: 0, picture: 0, pictureLost: 0, samples: 0, madeUp: 0 };
  for (const one of report.values()) {
    if (one.type !== 'inbound-rtp') continue;
    const kind = one.kind === 'video' ? 'picture' : 'sound';
    sum[kind] += one.packetsReceived ?? 0;
    sum[`${kind}Lost`] += one.packetsLost ?? 0;
    sum.frames += one.framesDecoded ?? 0;
    sum.samples += one.totalSamplesReceived ?? 0;
    sum.madeUp += one.concealedSamples ?? 0;
  }
  return sum;
}
