// Liveness: whether packets still arrive over a connection, by its statistics four times a second.
//
// A broken path is detected within one to two seconds; the browser reports `disconnected` later, and ICE consent expires
// after half a minute (RFC 7675). Time is counted in readings: a machine that slept has seen no silence.

/**
 * @import { Report } from './selected-path.js'
 *
 * @typedef {'alive' | 'delayed' | 'silent'} LivenessState
 * @typedef {object} Liveness
 * @property {() => void} start idempotent
 * @property {() => void} stop
 * @property {() => LivenessState} state
 */

const INTERVAL_MS = 250;
/** Where packets arrive in each reading. Every gap of the last seconds extends it by twice its length. */
const SILENT_MIN_MS = 1000;
/** In silence a microphone sends every 400 ms, and a weak link has gaps of its own. */
const SILENT_MAX_MS = 2000;
const GAPS_REMEMBERED_MS = 5000;

/**
 * @param {object} parts
 * @param {() => Promise<number | null>} parts.read packets received so far; null where unknown
 * @param {() => boolean} parts.expected whether the peer has anything to send
 * @param {(state: LivenessState) => void} parts.emit each change
 * @param {import('../lib/clock.js').Clock} parts.clock
 * @returns {Liveness}
 */
export function makeLiveness({ read, expected, emit, clock }) {
  /** @type {LivenessState} */
  let state = 'alive';
  let last = 0;
  let silentMs = 0;
  /** The gaps before the recent readings, newest last. @type {number[]} */
  let gaps = [];
  let received = false;
  let running = false;
  /** @type {import('../lib/clock.js').Timer | undefined} */
  let timer;

  async function check() {
    const count = await read().catch(() => null);
    if (!running) return;
    if (count !== null) update(count);
    timer = clock.after(check, INTERVAL_MS);
  }

  /** @param {number} count */
  function update(count) {
    // Packets before the first reading count as well: a path may break in its first second.
    const moved = count !== last;
    if (moved) received = true;
    last = count;
    if (moved) gaps = [...gaps, silentMs].slice(-GAPS_REMEMBERED_MS / INTERVAL_MS);
    silentMs = moved || !received || !expected() ? 0 : silentMs + INTERVAL_MS;
    const silentAfter = silenceLimit(gaps);
    const now = silentMs >= silentAfter ? 'silent' : silentMs >= silentAfter / 2 ? 'delayed' : 'alive';
    if (now === state) return;
    state = now;
    emit(now);
  }

  return {
    start() {
      if (running) return;
      running = true;
      timer = clock.after(check, INTERVAL_MS);
    },
    stop() {
      running = false;
      clock.cancel(timer);
    },
    state: () => state,
  };
}

/**
 * How long no packet may arrive. It is shorter where packets have been regular for a while.
 * @param {number[]} gaps before the last readings with packets
 */
function silenceLimit(gaps) {
  if (gaps.length < GAPS_REMEMBERED_MS / INTERVAL_MS) return SILENT_MAX_MS;
  return Math.min(SILENT_MAX_MS, SILENT_MIN_MS + 2 * Math.max(...gaps));
}

/** Media packets received over a connection, of all kinds. @param {Report} report */
export function packetsReceived(report) {
  let sum = 0;
  for (const entry of report.values()) if (entry.type === 'inbound-rtp') sum += entry.packetsReceived ?? 0;
  return sum;
}

/** Video is stalled if within this time hardly any frame is decoded, and most of its packets are lost. */
const STALL_MS = 12_000;
const STALL_FRAMES = 24;
const STALL_PACKETS = 20;
const STALL_LOSS = 0.7;
const AUDIO_LOSS = 0.02;
/** On a slow link audio is late as well, and late audio is concealed. */
const AUDIO_CONCEALED = 0.05;

/** @typedef {{frames: number, audio: number, audioLost: number, video: number, videoLost: number, samples: number, concealed: number}} Totals */

/**
 * Detects a path that carries small packets only: audio is complete and no video arrives. On a link that is merely too
 * slow, audio suffers too, or the peer sends no video.
 * @param {number} [intervalMs] time between two readings
 * @returns {(report: Report, peer: {video: boolean, mayPause: boolean}) => boolean} `video`: the peer sends it; `mayPause`:
 *   receiving none of it is no symptom
 */
export function makeVideoStallDetector(intervalMs = INTERVAL_MS) {
  /** @type {Totals[]} */
  let recent = [];

  return (report, { video, mayPause }) => {
    const now = totalsOf(report);
    recent = video ? [...recent, now].slice(-STALL_MS / intervalMs - 1) : [];
    const [first] = recent;
    if (recent.length <= STALL_MS / intervalMs) return false;
    const change = (/** @type {keyof Totals} */ key) => now[key] - first[key];
    const moves = change('frames') < 0 || change('frames') >= STALL_FRAMES;
    const audioComplete = change('audio') >= STALL_MS / 100 && change('audioLost') <= change('audio') * AUDIO_LOSS
      && change('concealed') <= change('samples') * AUDIO_CONCEALED;
    if (moves || !audioComplete) return false;
    const [received, lost] = [change('video'), change('videoLost')];
    return (lost >= STALL_PACKETS && lost > (received + lost) * STALL_LOSS) || (!mayPause && received === 0 && now.video > 0);
  };
}

/** @param {Report} report */
function totalsOf(report) {
  const sum = { frames: 0, audio: 0, audioLost: 0, video: 0, videoLost: 0, samples: 0, concealed: 0 };
  for (const entry of report.values()) {
    if (entry.type !== 'inbound-rtp') continue;
    const kind = entry.kind === 'video' ? 'video' : 'audio';
    sum[kind] += entry.packetsReceived ?? 0;
    sum[`${kind}Lost`] += entry.packetsLost ?? 0;
    sum.frames += entry.framesDecoded ?? 0;
    sum.samples += entry.totalSamplesReceived ?? 0;
    sum.concealed += entry.concealedSamples ?? 0;
  }
  return sum;
}
