// Mute monitor: a track that the system mutes for a while, during a phone call, while another program uses the device, or
// with Safari's pause button. It reports whether it is muted, whether for long, and when it must be reacquired.

/**
 * @import { Clock, Timer } from '../lib/clock.js'
 *
 * @typedef {object} Watched
 * @property {number | null} since when the track was muted
 * @property {boolean} long muted for longer than a moment
 * @property {boolean} hidden muted while the page was hidden: it may be over when the page is visible again
 * @property {Timer} [timer]
 *
 * @typedef {object} MuteMonitorParts
 * @property {() => boolean} hidden whether the page is hidden
 * @property {() => void} changed
 * @property {() => void} muted for longer than a moment, while the page was visible
 * @property {() => void} unmuted after longer than a moment
 * @property {() => void} stillMuted although the page is visible again
 * @property {() => number} now milliseconds
 * @property {Clock} clock
 */

/** Tracks are muted for a moment while a device settles. */
const SETTLE_MS = 1500;

export class MuteMonitor {
  /** @type {MuteMonitorParts} */
  #parts;
  /** @type {Watched | null} */
  #watched = null;

  /** @param {MuteMonitorParts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  /** @param {MediaStreamTrack} track replaces the one before */
  watch(track) {
    this.stop();
    /** @type {Watched} */
    const watched = { since: null, long: false, hidden: false };
    this.#watched = watched;
    track.onmute = () => {
      this.#onMute(watched);
      this.#parts.changed();
    };
    track.onunmute = () => this.#onUnmute(watched);
    if (track.muted) this.#onMute(watched);
  }

  stop() {
    this.#parts.clock.cancel(this.#watched?.timer);
    this.#watched = null;
  }

  isMuted() {
    return this.#watched !== null && this.#watched.since !== null;
  }

  /** Muted for longer than a moment. */
  isLongMuted() {
    return this.#watched !== null && this.#isLong(this.#watched);
  }

  /** Muted for longer than a moment while the page was visible. */
  wasMutedInView() {
    return this.#watched !== null && this.#watched.long && !this.#watched.hidden;
  }

  /** What was muted in view may be the person's own doing: Safari has a button for it. */
  pageVisible() {
    const watched = this.#watched;
    if (watched === null || watched.since === null) return;
    const { since } = watched;
    // The page was suspended before the moment was over.
    if (!watched.long && this.#isLong(watched)) watched.hidden = true;
    if (!watched.hidden) return;
    // After a phone call the track is unmuted by itself or not at all.
    this.#parts.clock.after(() => {
      if (this.#watched === watched && watched.since === since && !this.#parts.hidden()) this.#parts.stillMuted();
    }, SETTLE_MS);
  }

  /** @param {Watched} watched */
  #onMute(watched) {
    const { clock, now, hidden, muted } = this.#parts;
    if (this.#watched !== watched || watched.since !== null) return;
    watched.since = now();
    watched.hidden = hidden();
    watched.timer = clock.after(() => {
      watched.long = true;
      // If another program takes the screen as well, the order of the two events is not defined.
      watched.hidden ||= hidden();
      if (!watched.hidden) muted();
    }, SETTLE_MS);
  }

  /** @param {Watched} watched */
  #onUnmute(watched) {
    if (this.#watched !== watched || watched.since === null) return;
    this.#parts.clock.cancel(watched.timer);
    const long = this.#isLong(watched);
    Object.assign(watched, { since: null, long: false, hidden: false });
    if (long) this.#parts.unmuted();
    this.#parts.changed();
  }

  /** Timers of a page in the background may be suspended. @param {Watched} watched */
  #isLong({ since, long }) {
    return long || (since !== null && this.#parts.now() - since >= SETTLE_MS);
  }
}
