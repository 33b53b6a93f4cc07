// Device recovery: reacquires one camera or microphone that was lost without being switched off: at once, whenever a
// device appears, and with increasing delay in between.
//
// Errors of the attempts are not reported, except a denial: the first error stays, so that a dismissed one is not shown
// again.

/**
 * @import { MediaErrorCode } from './media-errors.js'
 * @import { Timer } from '../lib/clock.js'
 *
 * @typedef {{track?: MediaStreamTrack, error: MediaErrorCode | null}} FetchResult neither if it is no longer wanted
 *
 * @typedef {object} DeviceRecovery
 * @property {(label: string, error: MediaErrorCode) => void} start the device with this label is lost
 * @property {() => Promise<void>} attempt tries now
 * @property {() => void} stop it is back, or not wanted
 * @property {() => MediaErrorCode | null} error null unless a device is lost
 */

/** A device in use elsewhere may become free at any moment. */
const RETRY_MIN_MS = 1000;
const RETRY_MAX_MS = 15_000;

/**
 * @param {object} parts
 * @param {() => Promise<boolean>} parts.isPresent whether a device of its kind is attached
 * @param {() => Promise<FetchResult>} parts.fetch
 * @param {(track: MediaStreamTrack, previousLabel: string) => void} parts.recovered
 * @param {() => void} parts.changed
 * @param {import('../lib/clock.js').Clock} parts.clock
 * @returns {DeviceRecovery}
 */
export function makeDeviceRecovery({ isPresent, fetch, recovered, changed, clock }) {
  /** @type {{label: string, error: MediaErrorCode, attempts: number, fetching: boolean, timer?: Timer} | null} */
  let lost = null;

  async function attempt() {
    const current = lost;
    // A denial by the person or the system is not questioned again.
    if (!current || current.error.startsWith('camera-denied')) return;
    if (!(await isPresent()) || current.fetching || lost !== current) return;
    clock.cancel(current.timer);
    current.fetching = true;
    const { track, error } = await fetch();
    current.fetching = false;
    if (track) return recovered(track, current.label);
    if (lost !== current) return;
    if (error?.startsWith('camera-denied')) current.error = error;
    else current.timer = clock.after(attempt, Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** current.attempts++));
    changed();
  }

  return {
    start(label, error) {
      lost = { label, error, attempts: 0, fetching: false };
      attempt();
    },
    attempt,
    stop() {
      clock.cancel(lost?.timer);
      lost = null;
    },
    error: () => lost?.error ?? null,
  };
}
