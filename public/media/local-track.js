// Own: the person's own microphone, or camera: a track that may be missing, and what becomes of it: switched, fetched
// where the newest asking wins, held by the system, lost, and had again by itself.
//
// It does not know the other one, nor which device is chosen: that is in what it asks. What it has to say is a code.

import { makeHolding } from './mute-monitor.js';
import { makeLost } from './device-recovery.js';

/** @type {import('./device-recovery.js').Taken} */
const NOTHING = { trouble: null };

/**
 * @typedef {'mic' | 'cam'} Kind
 * @typedef {import('./media-errors.js').MediaCode} MediaCode
 * @typedef {import('./device-recovery.js').Taken} Taken
 *
 * @typedef {object} Own
 * @property {() => MediaStreamTrack | null} track
 * @property {() => boolean} wanted the person's last word, whatever became of it
 * @property {() => boolean} sought it runs, is being fetched, or was lost
 * @property {() => {on: boolean, held: boolean, lost: MediaCode | null, taken: boolean}} state `held` by the system,
 *   `taken` so that the person is to know
 * @property {(wanted: boolean) => void} begin it is being asked for together with the other one
 * @property {(track: MediaStreamTrack | undefined) => void} settle what came of that
 * @property {(on: boolean) => Promise<MediaCode | null>} set resolves to what stood in the way
 * @property {() => Promise<Taken>} fetch another one in place of the one before, switched as the person wants it
 * @property {() => void} letGo also of what is still being fetched
 * @property {() => void} end lets go of it, and of what was lost
 * @property {() => void} regain there may be one now: what was lost is looked for
 * @property {() => void} wake the page is looked at again: what was taken is taken back
 */

/**
 * @param {object} parts
 * @param {Kind} parts.kind
 * @param {() => Promise<import('./capture.js').Catch>} parts.ask
 * @param {import('../lib/serial-queue.js').InTurn} parts.inTurn when it may be asked for
 * @param {() => Promise<boolean>} parts.look reads the list of devices anew: is there one of this kind?
 * @param {(news?: MediaCode | null, label?: string) => void} parts.changed with what is to be told in place of what was,
 *   if anything, and the label of the device it is about
 * @param {import('../lib/clock.js').Clock} parts.clock
 * @param {() => number} parts.now milliseconds
 * @param {() => boolean} parts.hidden whether nobody looks at the page
 * @returns {Own}
 */
export function makeOwn({ kind, ask, inTurn, look, changed, clock, now, hidden }) {
  /** @type {MediaStreamTrack | null} */
  let track = null;
  /** @type {{over: boolean} | null} the newest asking: what an earlier one still brings is not wanted */
  let newest = null;
  /** @type {MediaStreamTrack | null} a microphone that may be left silent, though it says otherwise */
  let stale = null;
  let wanted = true;
  let on = true;
  let beginning = false;
  const lost = makeLost({ clock, there: look, back, changed, take: fetchQuietly });
  const holding = makeHolding({ clock, now, hidden, changed, taken: () => changed(on ? null : undefined), released, kept: lose });

  const coming = () => newest !== null && !newest.over;

  /** @param {MediaStreamTrack} next */
  function adopt(next) {
    track?.stop();
    track = next;
    if (kind === 'cam') next.contentHint = 'motion';
    lost.forget();
    next.onended = () => { if (track === next) lose(); };
    holding.watch(next);
  }

  /** A muted microphone is held, so that switching it on asks nobody. */
  function switchAsWanted() {
    on = track !== null && wanted;
    if (track) track.enabled = on;
  }

  function letGo() {
    track?.stop();
    track = null;
    newest = null;
    holding.forget();
  }

  /** Unplugged, or taken for good: where somebody had it before, it is not the person who can plug it in. */
  function lose() {
    const trouble = holding.long() ? 'device-taken' : kind === 'mic' ? 'mic-lost' : 'cam-lost';
    const label = track?.label ?? '';
    letGo();
    on = false;
    lost.begin(label, trouble);
    changed(null);
  }

  /** @param {MediaStreamTrack} now @param {string} before */
  function back({ label }, before) {
    if (label && label !== before) changed('device-switched', label);
  }

  /** After a phone call iOS gives the microphone back and yet leaves it silent: only a new one is heard. */
  async function released() {
    if (kind !== 'mic') return;
    stale = track;
    const { trouble } = await fetchQuietly();
    if (!trouble || trouble.startsWith('camera-denied') || !stale || track !== stale) return;
    lost.begin(stale.label, 'device-taken');
    changed();
  }

  /** Not while it is asked for aloud. */
  async function fetchQuietly() {
    return coming() ? NOTHING : fetch(true);
  }

  /**
   * @param {boolean} [quietly] without a word where it fails
   * @returns {Promise<Taken>} neither where it was let go, switched off, or asked for anew in the meantime
   */
  async function fetch(quietly = false) {
    const mine = { over: false };
    newest = mine;
    const got = await inTurn(async () => {
      if (newest !== mine) return NOTHING;
      const { stream, trouble } = await ask();
      const next = stream?.getTracks()[0];
      if (newest !== mine) {
        next?.stop();
        return NOTHING;
      }
      if (next) adopt(next);
      switchAsWanted();
      changed(next || !quietly ? trouble : undefined);
      return { track: next, trouble };
    });
    // With the permission come the names of the devices.
    if (newest === mine) await look();
    mine.over = true;
    return newest === mine ? got : NOTHING;
  }

  return {
    track: () => track,
    wanted: () => wanted,
    sought: () => track !== null || coming() || lost.trouble() !== null,
    state: () => ({ on, held: holding.held(), lost: lost.trouble(), taken: on && holding.seen() }),
    begin(want) {
      wanted = want;
      on = want;
      beginning = true;
    },
    settle(next) {
      beginning = false;
      // The camera was switched off while the browser asked.
      if (next && kind === 'cam' && !wanted) next.stop();
      else if (next) adopt(next);
      switchAsWanted();
    },
    async set(want) {
      wanted = want;
      // While the browser asks, a switch is only a wish. Off and on again fetches what was not given back.
      const isFine = track !== null && track !== stale && lost.trouble() === null && !holding.long();
      if (want && !beginning && !isFine) return (await fetch()).trouble;
      // Off lets go of the camera, so that its light goes out.
      if (kind === 'cam' && !want) letGo();
      if (track) track.enabled = want;
      else lost.forget();
      on = want;
      changed();
      return null;
    },
    fetch: () => fetch(),
    letGo,
    end() {
      letGo();
      lost.forget();
      beginning = false;
    },
    regain: lost.regain,
    wake() {
      lost.regain();
      holding.wake();
    },
  };
}
