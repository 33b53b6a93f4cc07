// Local track: the person's microphone or camera, which may be missing: switched, acquired (the newest request wins),
// muted by the system, lost, and recovered.
//
// It knows neither the other one nor which device is selected; `request` does.

import { makeDeviceRecovery } from './device-recovery.js';
import { MuteMonitor } from './mute-monitor.js';

/**
 * @import { Clock } from '../lib/clock.js'
 * @import { SerialQueue } from '../lib/serial-queue.js'
 * @import { CaptureResult } from './capture.js'
 * @import { FetchResult } from './device-recovery.js'
 * @import { MediaErrorCode } from './media-errors.js'
 *
 * @typedef {'mic' | 'cam'} Kind
 *
 * @typedef {object} LocalTrackParts
 * @property {Kind} kind
 * @property {() => Promise<CaptureResult>} request
 * @property {SerialQueue} queue for requests
 * @property {() => Promise<boolean>} isPresent lists the devices again: is there one of this kind?
 * @property {(error?: MediaErrorCode | null, label?: string) => void} changed with the error that replaces the last one, if
 *   any, and the label of the device it is about
 * @property {Clock} clock
 * @property {() => number} now milliseconds
 * @property {() => boolean} hidden whether the page is hidden
 */

/** @type {FetchResult} */
const NOTHING = { error: null };

export class LocalTrack {
  /** @type {LocalTrackParts} */
  #parts;
  /** @type {MediaStreamTrack | null} */
  #track = null;
  /** The newest request: results of earlier ones are stopped. @type {{done: boolean} | null} */
  #request = null;
  /** A microphone that may be silent although it is not muted. @type {MediaStreamTrack | null} */
  #suspect = null;
  #wanted = true;
  #on = true;
  #starting = false;
  /** @type {import('./device-recovery.js').DeviceRecovery} */
  #recovery;
  /** @type {MuteMonitor} */
  #monitor;

  /** @param {LocalTrackParts} parts */
  constructor(parts) {
    this.#parts = parts;
    const { clock, now, hidden, isPresent } = parts;
    const changed = () => parts.changed();
    this.#recovery = makeDeviceRecovery({
      clock, isPresent, changed,
      fetch: () => this.#fetchQuietly(),
      recovered: ({ label }, previousLabel) => { if (label && label !== previousLabel) parts.changed('device-switched', label); },
    });
    this.#monitor = new MuteMonitor({
      clock, now, hidden, changed,
      muted: () => parts.changed(this.#on ? null : undefined),
      unmuted: () => this.#unmuted(),
      stillMuted: () => this.#lost(),
    });
  }

  track() {
    return this.#track;
  }

  /** What the person has set last, whatever the device did. */
  wanted() {
    return this.#wanted;
  }

  /** Whether it runs, is being acquired or is lost. */
  isActive() {
    return this.#track !== null || this.#isRequesting() || this.#recovery.error() !== null;
  }

  /** `interrupted`: muted by the system; `taken`: and the person should know. */
  state() {
    return {
      on: this.#on, interrupted: this.#monitor.isMuted(), lost: this.#recovery.error(), taken: this.#on && this.#monitor.wasMutedInView(),
    };
  }

  /** It is being requested together with the other one. @param {boolean} wanted */
  start(wanted) {
    this.#wanted = wanted;
    this.#on = wanted;
    this.#starting = true;
  }

  /** The result of that request. @param {MediaStreamTrack | undefined} track */
  started(track) {
    this.#starting = false;
    // The camera may have been switched off during the browser's question.
    if (track && this.#parts.kind === 'cam' && !this.#wanted) track.stop();
    else if (track) this.#adopt(track);
    this.#applyWanted();
  }

  /** @param {boolean} on @returns {Promise<MediaErrorCode | null>} */
  async set(on) {
    this.#wanted = on;
    // During the browser's first question only the wish is noted. Switching on reacquires a muted or lost device.
    const works = this.#track !== null && this.#track !== this.#suspect && this.#recovery.error() === null && !this.#monitor.isLongMuted();
    if (on && !this.#starting && !works) return (await this.fetch()).error;
    // A camera that is off is released, so that its light goes out.
    if (this.#parts.kind === 'cam' && !on) this.release();
    if (this.#track) this.#track.enabled = on;
    else this.#recovery.stop();
    this.#on = on;
    this.#parts.changed();
    return null;
  }

  /**
   * Acquires a track in place of the one before.
   * @param {boolean} [quietly] without reporting an error
   * @param {() => Promise<CaptureResult>} [request] in place of the usual one
   * @returns {Promise<FetchResult>} neither if it was released, switched off or requested again meanwhile
   */
  async fetch(quietly = false, request = this.#parts.request) {
    /** @type {{done: boolean}} */
    const current = this.#request = { done: false };
    const isCurrent = () => this.#request === current;
    const result = await this.#parts.queue(async () => {
      if (!isCurrent()) return NOTHING;
      const { stream, error } = await request();
      const track = stream?.getTracks()[0];
      if (!isCurrent()) {
        track?.stop();
        return NOTHING;
      }
      if (track) this.#adopt(track);
      this.#applyWanted();
      this.#parts.changed(track || !quietly ? error : undefined);
      return { track, error };
    });
    // Once permission is granted the browser exposes the labels.
    if (isCurrent()) await this.#parts.isPresent();
    current.done = true;
    return isCurrent() ? result : NOTHING;
  }

  /** Stops it, and what is still being acquired. */
  release() {
    this.#track?.stop();
    this.#track = null;
    this.#request = null;
    this.#monitor.stop();
  }

  /** Releases it and ends its recovery. */
  stop() {
    this.release();
    this.#recovery.stop();
    this.#starting = false;
  }

  /** A device may have appeared. */
  recover() {
    this.#recovery.attempt();
  }

  pageVisible() {
    this.#recovery.attempt();
    this.#monitor.pageVisible();
  }

  #isRequesting() {
    return this.#request !== null && !this.#request.done;
  }

  /** @param {MediaStreamTrack} track */
  #adopt(track) {
    this.#track?.stop();
    this.#track = track;
    if (this.#parts.kind === 'cam') track.contentHint = 'motion';
    // The system's own switch for the blur of the background, where the browser reports it.
    /** @type {any} */ (track).onconfigurationchange = () => this.#parts.changed();
    this.#recovery.stop();
    track.onended = () => { if (this.#track === track) this.#lost(); };
    this.#monitor.watch(track);
  }

  /** A muted microphone stays acquired, so that unmuting it needs no permission. */
  #applyWanted() {
    this.#on = this.#track !== null && this.#wanted;
    if (this.#track) this.#track.enabled = this.#on;
  }

  /** Unplugged, or taken by another program for good. */
  #lost() {
    const error = this.#monitor.isLongMuted() ? 'device-taken' : this.#parts.kind === 'mic' ? 'mic-lost' : 'cam-lost';
    const label = this.#track?.label ?? '';
    this.release();
    this.#on = false;
    this.#recovery.start(label, error);
    this.#parts.changed(null);
  }

  /** After a phone call iOS unmutes the microphone but leaves it silent: only a new track works. */
  async #unmuted() {
    if (this.#parts.kind !== 'mic') return;
    this.#suspect = this.#track;
    const { error } = await this.#fetchQuietly();
    if (!error || error.startsWith('camera-denied') || !this.#suspect || this.#track !== this.#suspect) return;
    this.#recovery.start(this.#suspect.label, 'device-taken');
    this.#parts.changed();
  }

  /** Not during a request that reports its error. */
  async #fetchQuietly() {
    return this.#isRequesting() ? NOTHING : this.fetch(true);
  }
}
