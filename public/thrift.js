// Thrift: how much picture a path is asked to carry. Sound goes first: where both do not fit, the picture waits.
//
// Pure: a reading comes in with the state before, four times a second, and the next state comes out. There are four
// rungs and the pause below them. Down goes at once or within two seconds; up is a trial, and each that fails doubles
// the time until the next, so that a picture does not flap.

/** @typedef {'motion' | 'text'} Content a camera's, or a screen's */

/** Below this rung there is no picture. */
const LOWEST = 3;
const PAUSED = 4;
/** Bits a second, sound and picture together, without which a rung is left. */
const NEEDS = [350_000, 180_000, 100_000, 60_000];
const PICTURES = {
  motion: [
    { maxBitrate: 1_500_000, maxFramerate: 30, side: 0 },
    { maxBitrate: 600_000, maxFramerate: 30, side: 480 },
    { maxBitrate: 200_000, maxFramerate: 20, side: 270 },
    { maxBitrate: 60_000, maxFramerate: 10, side: 180 },
  ],
  // Text is read, not watched: it comes late rather than blurred.
  text: [
    { maxBitrate: 2_500_000, maxFramerate: 30, side: 0 },
    { maxBitrate: 800_000, maxFramerate: 10, side: 0 },
    { maxBitrate: 300_000, maxFramerate: 5, side: 1080 },
    { maxBitrate: 100_000, maxFramerate: 2, side: 1080 },
  ],
};

const DROWNING = 0.5;
const SEVERE_LOSS = 0.3;
const MUCH_LOSS = 0.15;
const SOME_LOSS = 0.1;
const LATE_MS = 400;

// Times are counted in readings: who slept has seen no trouble.
const SECOND = 4;
/** On a new path, or another rung, the browser needs a while until it knows what fits. */
const SETTLES = 4 * SECOND;
const EXCUSED = 4 * SECOND;
/** Reports of a picture come about every second; without any, it may be that none gets through. */
const UNHEARD = 3 * SECOND;
const UNHEARD_WHEN_LATE = 1.5 * SECOND;
/** So much of a round trip that stays longer is taken for the quickest one with each report. */
const FORGETS = 0.02;
const FIRST_PATIENCE = 6 * SECOND;
const LAST_PATIENCE = 60 * SECOND;
const SHORT_PATIENCE = 2 * SECOND;
const FAILED_WITHIN = 10 * SECOND;
const HELD = 30 * SECOND;

/**
 * @typedef {Pick<import('./feedback.js').Feedback, 'loss' | 'rtt' | 'available' | 'sending'>} Reading
 *
 * @typedef {object} Thrift
 * @property {number} rung
 * @property {number} loss smoothed, 0 to 1
 * @property {number | null} rtt the last round trip, milliseconds
 * @property {number | null} base the quickest so far
 * @property {number} bad readings of trouble in a row
 * @property {number} calm readings without
 * @property {number} unheard readings since somebody reported, while a picture was sent
 * @property {number} shaken readings within which another severe loss pauses the picture
 * @property {number} settling readings until the browser's estimate is believed
 * @property {number} excused readings in which nothing is weighed
 * @property {number} sinceClimb
 * @property {number} patience calm readings until the next trial
 */

/** @returns {Thrift} */
export function thriftAtFirst() {
  return {
    rung: 0, loss: 0, rtt: null, base: null, bad: 0, calm: 0, unheard: 0, shaken: 0, settling: SETTLES, excused: 0,
    sinceClimb: HELD, patience: FIRST_PATIENCE,
  };
}

/**
 * What was lost while a path was broken says nothing of the path that takes its place.
 * @param {Thrift} state
 * @returns {Thrift}
 */
export function excused(state) {
  const { rung, calm, sinceClimb } = state;
  return { ...thriftAtFirst(), rung, calm, sinceClimb, excused: EXCUSED };
}

/**
 * Another path: what the one before could not carry, this one may, and is asked soon.
 * @param {Thrift} state
 * @returns {Thrift}
 */
export function elsewhere(state) {
  return { ...excused(state), rung: Math.min(state.rung, LOWEST), sinceClimb: 0, patience: SHORT_PATIENCE };
}

/** @param {Thrift} state @returns {'full' | 'reduced' | 'paused'} */
export function pictureOf({ rung }) {
  return rung === PAUSED ? 'paused' : rung === 0 ? 'full' : 'reduced';
}

/**
 * @param {Thrift} before
 * @param {Reading} reading
 * @returns {Thrift}
 */
export function weigh(before, reading) {
  const state = passed(before, reading);
  if (before.excused) return state;
  const loss = reading.loss ?? 0;
  // The rung above, as far as the browser knows: there is plenty for it, or it says nothing, or too little.
  const fits = reading.available === null ? null : reading.available / (NEEDS[state.rung - 1] ?? Infinity);
  if (state.rung === PAUSED) return wait(state, loss, fits);
  const room = state.settling ? null : reading.available;
  const late = (state.rtt ?? 0) - (state.base ?? 0);
  const fitting = room === null ? 0 : NEEDS.filter((needed) => needed > room).length;
  if ((loss >= DROWNING || fitting === PAUSED) && late >= LATE_MS / 2) return fall(state, PAUSED);
  if (loss >= SEVERE_LOSS || state.unheard >= (late >= LATE_MS / 2 ? UNHEARD_WHEN_LATE : UNHEARD)) return shake(state);
  if (fitting > state.rung + 1) return fall(state, LOWEST);
  const lossy = state.loss >= MUCH_LOSS;
  if (lossy || fitting > state.rung || late >= LATE_MS) return suffer(state, lossy);
  return enjoy(state, fits, state.loss < SOME_LOSS && late < LATE_MS / 2);
}

/** One reading later. @param {Thrift} before @param {Reading} reading */
function passed(before, { loss, rtt, sending }) {
  const state = { ...before, sinceClimb: before.sinceClimb + 1 };
  for (const name of /** @type {const} */ (['settling', 'shaken', 'excused'])) state[name] = Math.max(0, state[name] - 1);
  if (before.excused) return state;
  if (loss !== null) state.loss += (loss - state.loss) / 2;
  if (loss !== null) state.unheard = 0;
  else if (sending) state.unheard += 1;
  if (rtt !== null) {
    state.rtt = rtt;
    state.base = state.base === null || rtt < state.base ? rtt : state.base + FORGETS * (rtt - state.base);
  }
  return state;
}

/** Sound alone says little of what would fit, so in the end only a trial can tell.
 *  @param {Thrift} state @param {number} loss @param {number | null} fits */
function wait(state, loss, fits) {
  const calm = loss >= MUCH_LOSS ? 0 : state.calm + 1;
  const patience = fits !== null && fits < 1 ? Math.min(LAST_PATIENCE, 2 * state.patience) : state.patience;
  return calm >= (plenty(fits) ? SHORT_PATIENCE : patience) ? climb(state) : { ...state, calm };
}

/** The first time may be a gust; the second within seconds is the weather. @param {Thrift} state */
function shake(state) {
  if (state.shaken) return fall(state, PAUSED);
  return { ...(state.rung < LOWEST ? fall(state, LOWEST) : { ...state, calm: 0, unheard: 0 }), shaken: SETTLES };
}

/** What arrives late is no reason to go without; what does not arrive is. @param {Thrift} state @param {boolean} lossy */
function suffer(state, lossy) {
  const bad = state.bad + 1;
  if (state.rung < LOWEST ? bad >= 2 * SECOND : lossy && bad >= 4 * SECOND) return fall(state, state.rung + 1);
  return { ...state, bad, calm: 0 };
}

/** @param {Thrift} state @param {number | null} fits @param {boolean} well */
function enjoy(state, fits, well) {
  const patience = state.sinceClimb >= HELD ? FIRST_PATIENCE : state.patience;
  const next = { ...state, bad: 0, calm: well ? state.calm + 1 : 0, patience };
  const mayClimb = state.rung > 0 && (fits ?? 1) >= 1;
  return mayClimb && next.calm >= (plenty(fits) ? SHORT_PATIENCE : patience) ? climb(next) : next;
}

/** @param {number | null} fits */
function plenty(fits) {
  return fits !== null && fits >= 1.5;
}

/** @param {Thrift} state @param {number} rung */
function fall(state, rung) {
  const failed = state.sinceClimb < FAILED_WITHIN;
  return { ...state, rung, bad: 0, calm: 0, unheard: 0, patience: failed ? Math.min(LAST_PATIENCE, 2 * state.patience) : state.patience };
}

/** @param {Thrift} state */
function climb(state) {
  return { ...state, rung: state.rung - 1, loss: 0, rtt: null, bad: 0, calm: 0, unheard: 0, shaken: 0, settling: SETTLES, sinceClimb: 0 };
}

/**
 * What the picture's sender is to be told.
 * @param {Thrift} state
 * @param {{content: Content, width?: number, height?: number}} picture
 */
export function pictureParameters({ rung }, { content, width = 0, height = 0 }) {
  const { side, maxBitrate, maxFramerate } = PICTURES[content][Math.min(rung, LOWEST)];
  const scaleResolutionDownBy = side ? Math.max(1, Math.min(width, height) / side) : 1;
  return {
    degradationPreference: content === 'text' ? 'maintain-resolution' : 'maintain-framerate',
    encoding: { active: rung !== PAUSED, maxBitrate, maxFramerate, scaleResolutionDownBy },
  };
}

/**
 * Sound is cut down last, and only where every packet counts.
 * @param {Thrift} state
 */
export function soundParameters({ rung }) {
  const maxBitrate = rung < LOWEST ? 32_000 : rung === LOWEST ? 20_000 : 16_000;
  return { encoding: { active: true, maxBitrate, priority: 'high', networkPriority: 'high' } };
}
