// Bitrate adaptation: how much video a path is asked to carry. Audio has priority: where both do not fit, video pauses.
//
// Pure: four times a second a reading and the previous state come in and the next state comes out. There are four
// levels, and the pause below them. A step down happens at once or within two seconds. A step up is a trial, and each
// failed trial doubles the time until the next, so that video is not paused and resumed again and again. Audio loss that persists while
// video is paused is not caused by video: it becomes the baseline loss, which is tolerated after the pause.

/** @typedef {'motion' | 'text'} Content a camera's or a screen's */

/** The last level with video. */
const LOWEST = 3;
const PAUSED = 4;
/** Bits per second for audio and video together, below which a level is left. */
const REQUIRED_BITRATE = [350_000, 180_000, 100_000, 60_000];
const ENCODINGS = {
  motion: [
    { maxBitrate: 2_500_000, maxFramerate: 30, side: 0 },
    { maxBitrate: 600_000, maxFramerate: 30, side: 480 },
    { maxBitrate: 200_000, maxFramerate: 20, side: 270 },
    { maxBitrate: 60_000, maxFramerate: 10, side: 180 },
  ],
  // Text must stay legible: it may be late, but not blurred.
  text: [
    { maxBitrate: 2_500_000, maxFramerate: 30, side: 0 },
    { maxBitrate: 800_000, maxFramerate: 10, side: 0 },
    { maxBitrate: 300_000, maxFramerate: 5, side: 1080 },
    { maxBitrate: 100_000, maxFramerate: 2, side: 1080 },
  ],
};

// Shares of packets.
const EXTREME_LOSS = 0.5;
const SEVERE_LOSS = 0.3;
const HIGH_LOSS = 0.15;
const SOME_LOSS = 0.1;
const MAX_BASELINE_LOSS = 0.25;
const HIGH_DELAY_MS = 400;

// Times are counted in readings, which stop while the machine sleeps.
const SECOND = 4;
/** After a change of path or level the browser's bandwidth estimate needs time. */
const SETTLE = 4 * SECOND;
const IGNORE = 4 * SECOND;
/** Video is reported about once a second; without reports they may all be lost. */
const UNREPORTED = 3 * SECOND;
const UNREPORTED_WHEN_DELAYED = 1.5 * SECOND;
/** How far the minimum round trip moves towards the current one with each report. */
const MIN_RTT_DECAY = 0.02;
const STEP_UP_AFTER = 6 * SECOND;
const STEP_UP_AFTER_MAX = 60 * SECOND;
const STEP_UP_AFTER_MIN = 2 * SECOND;
/** A step down within this time after a step up means that the trial failed. */
const TRIAL_FAILED = 10 * SECOND;
const TRIAL_SUCCEEDED = 30 * SECOND;
/** A trial is announced as a resumed screen share only after it has lasted. */
const ANNOUNCE_AFTER = 10 * SECOND;
/** Chromium makes the picture of a new camera small, because its first frame is large, and keeps it small for many seconds.
 *  Once the estimate is high enough the picture gets a size that it keeps until the encoder is steady. */
const STARTING = 5 * SECOND;
const START = { maxBitrate: 2_500_000, maxFramerate: 30, side: 540 };
const START_REQUIRED_BITRATE = 600_000;
/** At level 0, of a camera with 1080p. */
const HIGH_RESOLUTION_BITRATE = 4_000_000;
/** Of music, in stereo. */
export const MUSIC_BITRATE = 128_000;

/**
 * @typedef {Pick<import('./rtcp-feedback.js').Feedback, 'loss' | 'audioLoss' | 'rtt' | 'reported' | 'available' | 'sending'>} Reading
 *
 * @typedef {object} BitrateAdaptation
 * @property {number} level 0 is best; 4 is paused
 * @property {number} loss smoothed, 0 to 1, without the baseline
 * @property {number} baselineLoss what the path loses without video, as far as known
 * @property {number} audioReports since video paused
 * @property {number | null} rtt of the last report, in ms
 * @property {number | null} minRtt in ms
 * @property {number} congested consecutive readings with congestion
 * @property {number} stable readings without
 * @property {number} unreported readings since the last report, while video was sent
 * @property {number} severe readings within which another severe loss pauses video
 * @property {number} settling readings until the browser's estimate is used
 * @property {number} ignored readings that are not evaluated
 * @property {number} sinceStepUp
 * @property {number} stepUpAfter stable readings until the next trial
 * @property {number} trial readings for which a screen still counts as paused although a trial is under way
 * @property {number} starting readings with video until its start is over
 * @property {boolean} carriesStart whether the estimate was high enough for `START`
 */

/** @returns {BitrateAdaptation} */
export function initialBitrate() {
  return {
    level: 0, loss: 0, baselineLoss: 0, audioReports: 0, rtt: null, minRtt: null, congested: 0, stable: 0, unreported: 0, severe: 0,
    settling: SETTLE, ignored: 0, sinceStepUp: TRIAL_SUCCEEDED, stepUpAfter: STEP_UP_AFTER, trial: 0, starting: STARTING, carriesStart: false,
  };
}

/**
 * After an interruption of the path its losses are ignored. Failed trials and the baseline stay: they belong to the
 * network under the path, and a weak one interrupts paths every few seconds.
 * @param {BitrateAdaptation} state
 * @returns {BitrateAdaptation}
 */
export function afterInterruption(state) {
  const { level, stable, sinceStepUp, stepUpAfter, baselineLoss, trial, starting, carriesStart } = state;
  return { ...initialBitrate(), level, stable, sinceStepUp, stepUpAfter, baselineLoss, trial, starting, carriesStart, ignored: IGNORE };
}

/**
 * A new path may carry what the old one could not and gets a trial soon, except right after another trial: browsers
 * switch between paths that are all weak.
 * @param {BitrateAdaptation} state
 * @returns {BitrateAdaptation}
 */
export function afterPathChange(state) {
  const next = afterInterruption(state);
  if (state.sinceStepUp < TRIAL_SUCCEEDED) return next;
  return { ...next, level: Math.min(state.level, LOWEST), sinceStepUp: 0, stepUpAfter: STEP_UP_AFTER_MIN };
}

/** @param {BitrateAdaptation} state @returns {'full' | 'reduced' | 'paused'} */
export function outgoingVideoOf({ level }) {
  return level === PAUSED ? 'paused' : level === 0 ? 'full' : 'reduced';
}

/** Whether the browser's estimate can be used. @param {BitrateAdaptation} state */
export function isSettled({ settling, ignored }) {
  return settling === 0 && ignored === 0;
}

/** Whether the page announces to the peer that video is paused. @param {BitrateAdaptation} state */
export function isAnnouncedPaused({ level, trial }) {
  return level === PAUSED || trial > 0;
}

/**
 * @param {BitrateAdaptation} before
 * @param {Reading} reading
 * @param {Content} [content] of the video that is sent
 * @returns {BitrateAdaptation}
 */
export function adapt(before, reading, content = 'motion') {
  const loss = reading.loss === null ? null : Math.max(0, reading.loss - before.baselineLoss);
  const state = evaluate(content === 'text' ? { ...before, starting: 0 } : before, { ...reading, loss });
  if (content !== 'text') return { ...state, trial: 0 };
  // A paused screen is out of date, and each trial may update it: failed trials do not delay the next.
  const trial = state.level === PAUSED ? ANNOUNCE_AFTER : Math.max(0, state.trial - 1);
  return { ...state, trial, stepUpAfter: Math.min(state.stepUpAfter, STEP_UP_AFTER) };
}

/** @param {BitrateAdaptation} before @param {Reading} reading @returns {BitrateAdaptation} */
function evaluate(before, reading) {
  const state = afterStart(withReading(before, reading), reading);
  if (before.ignored) return state;
  const loss = reading.loss ?? 0;
  // Share of what the level above needs that is available; null where the browser does not estimate.
  const headroom = reading.available === null ? null : reading.available / (REQUIRED_BITRATE[state.level - 1] ?? Infinity);
  if (state.level === PAUSED) return onPaused(state, reading.audioLoss, headroom);
  const available = state.settling || !reading.sending ? null : reading.available;
  const delay = (state.rtt ?? 0) - (state.minRtt ?? 0);
  const fittingLevel = available === null ? 0 : REQUIRED_BITRATE.filter((bitrate) => bitrate > available).length;
  if ((loss >= EXTREME_LOSS || fittingLevel === PAUSED) && delay >= HIGH_DELAY_MS / 2) return stepDown(state, PAUSED);
  const unreportedLimit = delay >= HIGH_DELAY_MS / 2 ? UNREPORTED_WHEN_DELAYED : UNREPORTED;
  if (loss >= SEVERE_LOSS || state.unreported >= unreportedLimit) return onSevereLoss(state);
  if (fittingLevel > state.level + 1 && state.congested > 0) return stepDown(state, LOWEST);
  const lossy = state.loss >= HIGH_LOSS;
  if (lossy || fittingLevel > state.level || delay >= HIGH_DELAY_MS) return onCongestion(state, lossy);
  return onStable(state, headroom, state.loss < SOME_LOSS && delay < HIGH_DELAY_MS / 2);
}

/** A lower level ends the start. @param {BitrateAdaptation} state @param {Reading} reading */
function afterStart(state, { available, sending }) {
  if (!state.starting || !sending) return state;
  const carriesStart = state.carriesStart || (available ?? 0) >= START_REQUIRED_BITRATE;
  return { ...state, carriesStart, starting: state.level > 0 ? 0 : state.starting - 1 };
}

/** Counts and smooths. @param {BitrateAdaptation} before @param {Reading} reading */
function withReading(before, { loss, audioLoss, rtt, reported, sending }) {
  const state = { ...before, sinceStepUp: before.sinceStepUp + 1 };
  for (const name of /** @type {const} */ (['settling', 'severe', 'ignored'])) state[name] = Math.max(0, state[name] - 1);
  if (before.ignored) return state;
  if (loss !== null) state.loss += (loss - state.loss) / 2;
  if (reported) state.unreported = 0;
  else if (sending) state.unreported += 1;
  // The baseline rises only during a pause.
  if (audioLoss !== null && audioLoss < state.baselineLoss) state.baselineLoss += (audioLoss - state.baselineLoss) / 4;
  if (rtt !== null) {
    state.rtt = rtt;
    state.minRtt = state.minRtt === null || rtt < state.minRtt ? rtt : state.minRtt + MIN_RTT_DECAY * (rtt - state.minRtt);
  }
  return state;
}

/**
 * Audio alone does not show how much would fit, so only a trial can tell. There is none while audio itself is hardly
 * received.
 * @param {BitrateAdaptation} state
 * @param {number | null} audioLoss
 * @param {number | null} headroom
 */
function onPaused(state, audioLoss, headroom) {
  const next = audioLoss === null ? { ...state, stable: state.stable + 1 } : updateBaseline(state, audioLoss);
  const after = headroom !== null && headroom < 1 ? Math.min(STEP_UP_AFTER_MAX, 2 * next.stepUpAfter) : stepUpDelay(next, headroom);
  return next.stable >= after ? stepUp(next) : next;
}

/**
 * The first report after the pause began also covers the time before it; if it is bad, the next one decides. If that
 * one is no better, video was not the cause and has not failed.
 * @param {BitrateAdaptation} state
 * @param {number} audioLoss
 */
function updateBaseline(state, audioLoss) {
  const audioReports = state.audioReports + 1;
  const stable = audioLoss >= (audioReports === 1 ? SOME_LOSS : SEVERE_LOSS) ? 0 : state.stable + 1;
  if (audioReports === 1) return { ...state, audioReports, stable };
  const baselineLoss = Math.min(MAX_BASELINE_LOSS, audioReports === 2 ? audioLoss : (state.baselineLoss + audioLoss) / 2);
  const unrelated = audioLoss < SEVERE_LOSS && baselineLoss >= state.baselineLoss + SOME_LOSS;
  return { ...state, audioReports, stable, baselineLoss, stepUpAfter: unrelated ? STEP_UP_AFTER : state.stepUpAfter };
}

/** One severe loss may be a burst; a second one within seconds pauses video. @param {BitrateAdaptation} state */
function onSevereLoss(state) {
  if (state.severe) return stepDown(state, PAUSED);
  return { ...(state.level < LOWEST ? stepDown(state, LOWEST) : { ...state, stable: 0, unreported: 0 }), severe: SETTLE };
}

/** Delay alone does not pause video, loss does. @param {BitrateAdaptation} state @param {boolean} lossy */
function onCongestion(state, lossy) {
  const congested = state.congested + 1;
  if (state.level < LOWEST ? congested >= 2 * SECOND : lossy && congested >= 4 * SECOND) return stepDown(state, state.level + 1);
  return { ...state, congested, stable: 0 };
}

/** @param {BitrateAdaptation} state @param {number | null} headroom @param {boolean} good */
function onStable(state, headroom, good) {
  const stepUpAfter = state.sinceStepUp >= TRIAL_SUCCEEDED ? STEP_UP_AFTER : state.stepUpAfter;
  const next = { ...state, congested: 0, stable: good ? state.stable + 1 : 0, stepUpAfter };
  const mayStepUp = state.level > 0 && (headroom ?? 1) >= 1;
  return mayStepUp && next.stable >= stepUpDelay(next, headroom) ? stepUp(next) : next;
}

/** With ample bandwidth the trial comes sooner, unless one has failed before. @param {BitrateAdaptation} state @param {number | null} headroom */
function stepUpDelay({ stepUpAfter }, headroom) {
  return stepUpAfter === STEP_UP_AFTER && headroom !== null && headroom >= 1.5 ? STEP_UP_AFTER_MIN : stepUpAfter;
}

/** @param {BitrateAdaptation} state @param {number} level */
function stepDown(state, level) {
  // Video that is often paused and resumed is worse than video that stays paused.
  const failed = state.sinceStepUp < (level === PAUSED ? TRIAL_SUCCEEDED : TRIAL_FAILED);
  const stepUpAfter = failed ? Math.min(STEP_UP_AFTER_MAX, 2 * Math.max(STEP_UP_AFTER, state.stepUpAfter)) : state.stepUpAfter;
  return { ...state, level, congested: 0, stable: 0, audioReports: 0, unreported: 0, stepUpAfter };
}

/** @param {BitrateAdaptation} state */
function stepUp(state) {
  return { ...state, level: state.level - 1, loss: 0, rtt: null, congested: 0, stable: 0, unreported: 0, severe: 0, settling: SETTLE, sinceStepUp: 0 };
}

/**
 * Parameters for the video sender.
 * @param {BitrateAdaptation} state
 * @param {{content: Content, width?: number, height?: number}} video
 */
export function videoParameters({ level, starting, carriesStart }, { content, width = 0, height = 0 }) {
  const isStart = content === 'motion' && level === 0 && starting > 0 && carriesStart;
  const { side, maxFramerate, ...limit } = isStart ? START : ENCODINGS[content][Math.min(level, LOWEST)];
  const isHighResolution = content === 'motion' && level === 0 && !isStart && Math.min(width, height) > 720;
  const maxBitrate = isHighResolution ? HIGH_RESOLUTION_BITRATE : limit.maxBitrate;
  const scaleResolutionDownBy = side ? Math.max(1, Math.min(width, height) / side) : 1;
  return {
    degradationPreference: content === 'text' || isStart ? 'maintain-resolution' : 'maintain-framerate',
    encoding: { active: level !== PAUSED, maxBitrate, maxFramerate, scaleResolutionDownBy },
  };
}

/**
 * Parameters for the audio sender: reduced last, and only on the lowest levels. Where loss and not capacity is the cause of a low
 * level, audio keeps its bitrate: below about 26 kbit/s Opus sends no repair data (FEC).
 * @param {BitrateAdaptation} state
 * @param {boolean} [music]
 * @param {number | null} [available] estimated bits per second
 */
export function audioParameters({ level }, music = false, available = null) {
  const isSlow = level === PAUSED || (level === LOWEST && (available ?? 0) < REQUIRED_BITRATE[1]);
  const maxBitrate = music && level < 2 ? MUSIC_BITRATE : !isSlow ? 32_000 : level === LOWEST ? 20_000 : 16_000;
  return { encoding: { active: true, maxBitrate, priority: 'high', networkPriority: 'high' } };
}
