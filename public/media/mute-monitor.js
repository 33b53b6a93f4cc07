// Holding: a track that falls silent because the system, not the person, has its device for a while: a phone call,
// another program, the pause button of Safari. It says whether it is held, whether for longer than a moment, and when
// it must be had anew.
//
// It asks for no device: it hears one track at a time, and time is handed in.

/** Tracks fall silent for a moment while a device settles. */
const SETTLED_MS = 1500;

/**
 * @typedef {object} Hold
 * @property {number | null} since when it fell silent; null while it is heard
 * @property {boolean} long for longer than a moment
 * @property {boolean} away while nobody looked at the page: it may well be over when somebody does
 * @property {any} [timer]
 *
 * @typedef {object} Holding
 * @property {(track: MediaStreamTrack) => void} watch this track in place of the one before
 * @property {() => void} forget
 * @property {() => boolean} held
 * @property {() => boolean} long held, and for longer than a moment
 * @property {() => boolean} seen and that before the person's eyes
 * @property {() => void} wake the page is looked at again
 */

/**
 * @param {object} parts
 * @param {() => boolean} parts.hidden whether nobody looks at the page now
 * @param {() => void} parts.changed
 * @param {() => void} parts.taken it has been held for longer than a moment, before the person's eyes
 * @param {() => void} parts.released the track is given back, after longer than a moment
 * @param {() => void} parts.kept the track is not given back, though the page is looked at again
 * @param {() => number} parts.now milliseconds
 * @param {import('../lib/clock.js').Clock} parts.clock
 * @returns {Holding}
 */
export function makeHolding({ hidden, changed, taken, released, kept, now, clock }) {
  /** @type {Hold | null} */
  let watched = null;

  function forget() {
    clock.cancel(watched?.timer);
    watched = null;
  }

  /** @param {Hold} hold */
  function fallsSilent(hold) {
    if (watched !== hold || hold.since !== null) return;
    hold.since = now();
    hold.away = hidden();
    hold.timer = clock.after(() => {
      hold.long = true;
      // Which of the two comes first when another program takes the screen as well is not said anywhere.
      hold.away ||= hidden();
      if (!hold.away) taken();
    }, SETTLED_MS);
  }

  /** The timers of a page in the background may stand still. @param {Hold} hold */
  function isLong({ since, long }) {
    return long || (since !== null && now() - since >= SETTLED_MS);
  }

  /** @param {Hold} hold */
  function isHeardAgain(hold) {
    if (watched !== hold || hold.since === null) return;
    clock.cancel(hold.timer);
    const long = isLong(hold);
    Object.assign(hold, { since: null, long: false, away: false });
    if (long) released();
    changed();
  }

  return {
    watch(track) {
      forget();
      /** @type {Hold} */
      const hold = { since: null, long: false, away: false };
      watched = hold;
      track.onmute = () => { fallsSilent(hold); changed(); };
      track.onunmute = () => isHeardAgain(hold);
      if (track.muted) fallsSilent(hold);
    },
    forget,
    held: () => watched !== null && watched.since !== null,
    long: () => watched !== null && isLong(watched),
    seen: () => watched !== null && watched.long && !watched.away,
    /** What fell silent before the person's eyes may be their own doing: Safari has a button for it. */
    wake() {
      const hold = watched;
      if (hold === null || hold.since === null) return;
      const { since } = hold;
      // The page stood still before the moment was over.
      if (!hold.long && isLong(hold)) hold.away = true;
      // A phone call that is over gives the track back by itself, or not at all.
      if (hold.away) clock.after(() => { if (watched === hold && hold.since === since && !hidden()) kept(); }, SETTLED_MS);
    },
  };
}
