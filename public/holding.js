// Holding: tracks that fall silent because the system, not the person, has their device for a while: a phone call,
// another program, the pause button of Safari. It says which are held, which for longer than a moment, and which
// must be had anew.
//
// It asks for no device: it hears tracks, and time is handed in.

/** Tracks fall silent for a moment while a device settles. */
const SETTLED_MS = 1500;

/**
 * @typedef {import('./lost.js').Kind} Kind
 *
 * @typedef {object} Hold
 * @property {number | null} since when it fell silent; null while it is heard
 * @property {boolean} long for longer than a moment
 * @property {boolean} away while nobody looked at the page: it may well be over when somebody does
 * @property {any} [timer]
 *
 * @typedef {object} Holding
 * @property {(kind: Kind, track: MediaStreamTrack) => void} watch this track in place of the one before
 * @property {(kind: Kind) => void} forget
 * @property {(kind: Kind) => boolean} held
 * @property {(kind: Kind) => boolean} long held, and for longer than a moment
 * @property {(kind: Kind) => boolean} seen and that before the person's eyes
 * @property {() => void} wake the page is looked at again
 */

/**
 * @param {object} parts
 * @param {() => boolean} parts.hidden whether nobody looks at the page now
 * @param {() => void} parts.changed
 * @param {(kind: Kind) => void} parts.taken it has been held for longer than a moment, before the person's eyes
 * @param {(kind: Kind) => void} parts.released the track is given back, after longer than a moment
 * @param {(kind: Kind) => void} parts.kept the track is not given back, though the page is looked at again
 * @param {() => number} parts.now milliseconds
 * @param {import('./signaling.js').Clock} parts.clock
 * @returns {Holding}
 */
export function makeHolding({ hidden, changed, taken, released, kept, now, clock }) {
  /** @type {Record<Kind, Hold | null>} */
  const holds = { mic: null, cam: null };

  /** @param {Kind} kind */
  function forget(kind) {
    clock.cancel(holds[kind]?.timer);
    holds[kind] = null;
  }

  /** @param {Kind} kind @param {Hold} hold */
  function fallsSilent(kind, hold) {
    if (holds[kind] !== hold || hold.since !== null) return;
    hold.since = now();
    hold.away = hidden();
    hold.timer = clock.after(() => {
      hold.long = true;
      // Which of the two comes first when another program takes the screen as well is not said anywhere.
      hold.away ||= hidden();
      if (!hold.away) taken(kind);
    }, SETTLED_MS);
  }

  /** The timers of a page in the background may stand still. @param {Hold} hold */
  function isLong({ since, long }) {
    return long || (since !== null && now() - since >= SETTLED_MS);
  }

  /** @param {Kind} kind @param {Hold} hold */
  function isHeardAgain(kind, hold) {
    if (holds[kind] !== hold || hold.since === null) return;
    clock.cancel(hold.timer);
    const long = isLong(hold);
    Object.assign(hold, { since: null, long: false, away: false });
    if (long) released(kind);
    changed();
  }

  return {
    watch(kind, track) {
      forget(kind);
      /** @type {Hold} */
      const hold = { since: null, long: false, away: false };
      holds[kind] = hold;
      track.onmute = () => { fallsSilent(kind, hold); changed(); };
      track.onunmute = () => isHeardAgain(kind, hold);
      if (track.muted) fallsSilent(kind, hold);
    },
    forget,
    held: (kind) => (holds[kind]?.since ?? null) !== null,
    long(kind) {
      const { [kind]: hold } = holds;
      return hold !== null && isLong(hold);
    },
    seen(kind) {
      const { [kind]: hold } = holds;
      return hold !== null && hold.long && !hold.away;
    },
    /** What fell silent before the person's eyes may be their own doing: Safari has a button for it. */
    wake() {
      for (const kind of /** @type {const} */ (['mic', 'cam'])) {
        const { [kind]: hold } = holds;
        if (hold === null || hold.since === null) continue;
        const { since } = hold;
        // The page stood still before the moment was over.
        if (!hold.long && isLong(hold)) hold.away = true;
        if (!hold.away) continue;
        // A phone call that is over gives the track back by itself, or not at all.
        clock.after(() => { if (holds[kind] === hold && hold.since === since && !hidden()) kept(kind); }, SETTLED_MS);
      }
    },
  };
}
