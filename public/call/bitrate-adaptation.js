// Thrift: how much picture a path is asked to carry. Sound goes first: where both do not fit, the picture waits.
//
// Pure: a reading comes in with the state before, four times a second, and the next state comes out. There are four
// rungs and the pause below them. Down goes at once or within two seconds; up is a trial, and each that fails doubles
// the time until the next, so that a picture does not flap. What is lost of the sound while the picture waits is not
// the picture's doing: so much is borne when it is back, since to go without would help nobody.

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
/** No more than this is ever borne. */
const BEARABLE_LOSS = 0.25;
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
/** A trial is no news until it has lasted. */
const TRIAL = 10 * SECOND;

/**
 * @typedef {Pick<import('./rtcp-feedback.js').Feedback, 'loss' | 'sound' | 'rtt' | 'heard' | 'available' | 'sending'>} Reading
 *
 * @typedef {object} Thrift
 * @property {number} rung
 * @property {number} loss smoothed, 0 to 1, without what is borne
 * @property {number} borne what the path loses without a picture, as far as known
 * @property {number} told reports of the sound since the picture waits
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
 * @property {number} trial readings for which a screen is still said to wait, though a trial is made of it
 */

/** @returns {Thrift} */
export function thriftAtFirst() {
  return {
    rung: 0, loss: 0, borne: 0, told: 0, rtt: null, base: null, bad: 0, calm: 0, unheard: 0, shaken: 0,
    settling: SETTLES, excused: 0, sinceClimb: HELD, patience: FIRST_PATIENCE, trial: 0,
  };
}

/**
 * What was lost while a path was broken says nothing of the path that takes its place; what failed before and what is
 * borne is of the line under both, and a weak one breaks every few seconds.
 * @param {Thrift} state
 * @returns {Thrift}
 */
export function excused(state) {
  const { rung, calm, sinceClimb, patience, borne, trial } = state;
  return { ...thriftAtFirst(), rung, calm, sinceClimb, patience, borne, trial, excused: EXCUSED };
}

/**
 * Another path: what the one before could not carry, this one may, and is asked soon; not where a trial has only just
 * been made, since browsers go from path to path where each of them is weak.
 * @param {Thrift} state
 * @returns {Thrift}
 */
export function elsewhere(state) {
  if (state.sinceClimb < HELD) return excused(state);
  return { ...excused(state), rung: Math.min(state.rung, LOWEST), sinceClimb: 0, patience: SHORT_PATIENCE };
}

/** @param {Thrift} state @returns {'full' | 'reduced' | 'paused'} */
export function pictureOf({ rung }) {
  return rung === PAUSED ? 'paused' : rung === 0 ? 'full' : 'reduced';
}

/** Whether the picture is said to wait. @param {Thrift} state */
export function waits({ rung, trial }) {
  return rung === PAUSED || trial > 0;
}

/**
 * @param {Thrift} before
 * @param {Reading} said
 * @param {Content} [content] of the picture that is sent
 * @returns {Thrift}
 */
export function weigh(before, said, content = 'motion') {
  const state = judge(before, said);
  // A screen stands still while it waits, and each trial may bring it up to date: none is put off because others failed.
  if (content !== 'text') return { ...state, trial: 0 };
  const trial = state.rung === PAUSED ? TRIAL : Math.max(0, state.trial - 1);
  return { ...state, trial, patience: Math.min(state.patience, FIRST_PATIENCE) };
}

/** @param {Thrift} before @param {Reading} said @returns {Thrift} */
function judge(before, said) {
  const reading = { ...said, loss: said.loss === null ? null : Math.max(0, said.loss - before.borne) };
  const state = passed(before, reading);
  if (before.excused) return state;
  const loss = reading.loss ?? 0;
  // The rung above, as far as the browser knows: there is plenty for it, or it says nothing, or too little.
  const fits = reading.available === null ? null : reading.available / (NEEDS[state.rung - 1] ?? Infinity);
  if (state.rung === PAUSED) return wait(state, reading.sound, fits);
  const room = state.settling || !reading.sending ? null : reading.available;
  const late = (state.rtt ?? 0) - (state.base ?? 0);
  const fitting = room === null ? 0 : NEEDS.filter((needed) => needed > room).length;
  if ((loss >= DROWNING || fitting === PAUSED) && late >= LATE_MS / 2) return fall(state, PAUSED);
  if (loss >= SEVERE_LOSS || state.unheard >= (late >= LATE_MS / 2 ? UNHEARD_WHEN_LATE : UNHEARD)) return shake(state);
  if (fitting > state.rung + 1 && state.bad > 0) return fall(state, LOWEST);
  const lossy = state.loss >= MUCH_LOSS;
  if (lossy || fitting > state.rung || late >= LATE_MS) return suffer(state, lossy);
  return enjoy(state, fits, state.loss < SOME_LOSS && late < LATE_MS / 2);
}

/** One reading later. @param {Thrift} before @param {Reading} reading */
function passed(before, { loss, sound, rtt, heard, sending }) {
  const state = { ...before, sinceClimb: before.sinceClimb + 1 };
  for (const name of /** @type {const} */ (['settling', 'shaken', 'excused'])) state[name] = Math.max(0, state[name] - 1);
  if (before.excused) return state;
  if (loss !== null) state.loss += (loss - state.loss) / 2;
  if (heard) state.unheard = 0;
  else if (sending) state.unheard += 1;
  // Upwards only a pause can tell.
  if (sound !== null && sound < state.borne) state.borne += (sound - state.borne) / 4;
  if (rtt !== null) {
    state.rtt = rtt;
    state.base = state.base === null || rtt < state.base ? rtt : state.base + FORGETS * (rtt - state.base);
  }
  return state;
}

/** Sound alone says little of what would fit, so in the end only a trial can tell; but none is made where it is itself
 *  hardly heard. @param {Thrift} state @param {number | null} sound @param {number | null} fits */
function wait(state, sound, fits) {
  const next = sound === null ? { ...state, calm: state.calm + 1 } : learn(state, sound);
  const patience = fits !== null && fits < 1 ? Math.min(LAST_PATIENCE, 2 * next.patience) : patienceOf(next, fits);
  return next.calm >= patience ? climb(next) : next;
}

/** The first report after the picture went is of the time before as well; where that is bad, the next is waited for.
 *  Where that one is no better, the picture was not to blame and has not failed. @param {Thrift} state @param {number} sound */
function learn(state, sound) {
  const told = state.told + 1;
  const calm = sound >= (told === 1 ? SOME_LOSS : SEVERE_LOSS) ? 0 : state.calm + 1;
  if (told === 1) return { ...state, told, calm };
  const borne = Math.min(BEARABLE_LOSS, told === 2 ? sound : (state.borne + sound) / 2);
  const innocent = sound < SEVERE_LOSS && borne >= state.borne + SOME_LOSS;
  return { ...state, told, calm, borne, patience: innocent ? FIRST_PATIENCE : state.patience };
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
  return mayClimb && next.calm >= patienceOf(next, fits) ? climb(next) : next;
}

/** Where there is plenty it is tried sooner, but not what has failed before. @param {Thrift} state @param {number | null} fits */
function patienceOf({ patience }, fits) {
  return patience === FIRST_PATIENCE && fits !== null && fits >= 1.5 ? SHORT_PATIENCE : patience;
}

/** @param {Thrift} state @param {number} rung */
function fall(state, rung) {
  // A picture that comes and goes is worse than one that waits.
  const failed = state.sinceClimb < (rung === PAUSED ? HELD : FAILED_WITHIN);
  const patience = failed ? Math.min(LAST_PATIENCE, 2 * Math.max(FIRST_PATIENCE, state.patience)) : state.patience;
  return { ...state, rung, bad: 0, calm: 0, told: 0, unheard: 0, patience };
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
