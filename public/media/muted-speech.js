// Muted speech: notices that the person speaks into a microphone that they have muted here.
//
// Muting only disables the track: the device stays open, so that unmuting needs no permission. A copy of that track is
// measured and neither sent nor kept. A device that is closed, or muted by the system, is never opened for this.

/**
 * @import { Clock, Timer } from '../lib/clock.js'
 * @import { makeLevelMeter } from './level-meter.js'
 */

const INTERVAL_MS = 100;
/** A timer of a page in the background is late; the level in between is not known. */
const MAX_STEP_MS = 2 * INTERVAL_MS;
/** -35 dB and more counts as speech, -42 dB and less as silence. Between the two nothing changes. */
const SPEECH_LEVEL = 0.5;
const SILENCE_LEVEL = 0.36;
const MIN_SPEECH_MS = 500;
const SHOWN_MS = 5000;
const PAUSE_MS = 20_000;

export class MutedSpeech {
  /** Whether it is to be shown now. */
  detected = false;
  #parts;
  /** @type {{track: MediaStreamTrack, copy: MediaStreamTrack} | null} */
  #watched = null;
  /** @type {Timer | undefined} */
  #timer;
  #spokenMs = 0;
  #lastReadAt = 0;
  #shownAt = -Infinity;

  /**
   * @param {object} parts
   * @param {ReturnType<typeof makeLevelMeter>} parts.meter used for nothing else
   * @param {Clock} parts.clock
   * @param {() => number} parts.now milliseconds
   * @param {() => void} parts.changed `detected` has changed
   */
  constructor(parts) {
    this.#parts = parts;
  }

  /** @param {MediaStreamTrack | null} track muted by the person; null: nothing is muted, or there is no call */
  watch(track) {
    if (this.#watched?.track === (track ?? undefined)) return;
    this.#stop();
    if (track) this.#start(track);
    this.#setDetected(false);
  }

  /** @param {MediaStreamTrack} track */
  #start(track) {
    const copy = track.clone();
    copy.enabled = true;
    this.#watched = { track, copy };
    this.#parts.meter.watch(copy);
    this.#lastReadAt = this.#parts.now();
    this.#schedule();
  }

  #stop() {
    this.#parts.clock.cancel(this.#timer);
    this.#parts.meter.watch(null);
    this.#watched?.copy.stop();
    this.#watched = null;
    this.#spokenMs = 0;
  }

  #schedule() {
    this.#timer = this.#parts.clock.after(() => {
      this.#read();
      this.#schedule();
    }, INTERVAL_MS);
  }

  #read() {
    const now = this.#parts.now();
    const step = Math.min(now - this.#lastReadAt, MAX_STEP_MS);
    this.#lastReadAt = now;
    const level = this.#parts.meter.read();
    if (level >= SPEECH_LEVEL) this.#spokenMs += step;
    else if (level <= SILENCE_LEVEL) this.#spokenMs = Math.max(0, this.#spokenMs - step);
    if (this.detected && now - this.#shownAt >= SHOWN_MS) this.#setDetected(false);
    if (this.#spokenMs < MIN_SPEECH_MS) return;
    this.#spokenMs = 0;
    if (now - this.#shownAt < PAUSE_MS) return;
    this.#shownAt = now;
    this.#setDetected(true);
  }

  /** @param {boolean} detected */
  #setDetected(detected) {
    if (this.detected === detected) return;
    this.detected = detected;
    this.#parts.changed();
  }
}
