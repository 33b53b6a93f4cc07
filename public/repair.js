// Repair: when a broken connection is mended by an ICE restart, by which side, and when no restart will do.

/** The one mends at once; the other leaves it this long to be heard. */
const OTHER_WAITS_MS = 1000;
const EVERY_MS = 5000;
/** Silence over a path that stands may be theirs to end. */
const SILENCE_EVERY_MS = 8000;
/** A restart under way is given this long before another one undoes it. */
const RESTART_WITHIN_MS = 3000;
/** So long where theirs may have left them with a path that is none; see `goesFirst`. */
const DOUBTFUL_WITHIN_MS = 1500;

/**
 * @typedef {object} Repair
 * @property {() => void} broke
 * @property {() => void} mended
 * @property {() => void} goOn the path is back; whether anything comes over it is not known yet
 * @property {() => void} heardOffer they have begun to mend it themselves
 * @property {(atOnce: boolean) => void} soon mends what is broken now; `atOnce`, also what only may be
 * @property {() => void} stop
 */

/**
 * @param {object} parts
 * @param {Pick<RTCPeerConnection, 'connectionState' | 'signalingState' | 'restartIce' | 'localDescription' | 'remoteDescription'>} parts.pc
 * @param {Pick<import('./negotiation.js').Negotiation, 'answered' | 'repeat'>} parts.negotiation
 * @param {boolean} parts.polite
 * @param {() => boolean} parts.silent whether nothing comes over a path that stands
 * @param {() => boolean} parts.reachable whether an offer would be heard now
 * @param {() => void} parts.giveUp asked for after several repairs in vain
 * @param {import('./signaling.js').Clock} parts.clock
 * @returns {Repair}
 */
export function makeRepair({ pc, negotiation, polite, silent, reachable, giveUp, clock }) {
  /** @type {any} */
  let timer;
  let repairs = 0;
  /** @type {any} a restart is under way until this runs out */
  let underWay = null;

  const ill = () => pc.connectionState !== 'connected' || silent();
  const first = () => goesFirst(pc, polite);

  /** @param {number} ms */
  function schedule(ms) {
    clock.cancel(timer);
    timer = clock.after(repair, ms);
  }

  function scheduleNext() {
    schedule(pc.connectionState === 'connected' ? SILENCE_EVERY_MS : EVERY_MS);
  }

  function repair() {
    if (pc.signalingState === 'closed' || !ill()) return;
    if (!reachable()) return schedule(EVERY_MS);
    if (underWay !== null && pc.signalingState === 'stable') return schedule(RESTART_WITHIN_MS);
    repairs += 1;
    // A restart mends a lost path; a connection whose keys or peer are gone needs another one.
    if (repairs > (first() ? 3 : 5)) return giveUp();
    restart();
    scheduleNext();
  }

  function restart() {
    if (pc.signalingState === 'have-local-offer') return negotiation.repeat();
    giveTime(RESTART_WITHIN_MS);
    pc.restartIce();
  }

  /** @param {number} ms */
  function giveTime(ms) {
    clock.cancel(underWay);
    underWay = clock.after(() => { underWay = null; }, ms);
  }

  function stop() {
    clock.cancel(timer);
    clock.cancel(underWay);
    underWay = null;
  }

  function mended() {
    repairs = 0;
    stop();
  }

  return {
    broke: () => schedule(first() ? 0 : OTHER_WAITS_MS),
    mended,
    goOn: () => (ill() ? scheduleNext() : mended()),
    heardOffer() {
      const doubtful = ill() && goesFirst(pc, true);
      giveTime(doubtful ? DOUBTFUL_WITHIN_MS : RESTART_WITHIN_MS);
      if (doubtful) schedule(DOUBTFUL_WITHIN_MS);
      else if (ill()) scheduleNext();
      else clock.cancel(timer);
    },
    soon(atOnce) {
      // Of two alike both may: where their offers meet, one stands.
      if (ill() && negotiation.answered()) schedule(goesFirst(pc, false) ? 0 : OTHER_WAITS_MS);
      else if (atOnce && negotiation.answered() && reachable()) restart();
      else negotiation.repeat();
    },
    stop,
  };
}

/**
 * Which side mends first: of two alike the impolite one, of two unlike browsers Firefox. While Chromium waits for the
 * answer to its restart, it tries what it has gathered against the candidates it knew before. Firefox still answers
 * there, and has left it a moment later; Chromium then stays with that pair for seconds and nobody hears it. Whoever
 * answers a restart takes the pair that is named to it.
 * @param {Pick<RTCPeerConnection, 'localDescription' | 'remoteDescription'>} pc
 * @param {boolean} polite
 */
export function goesFirst({ localDescription, remoteDescription }, polite) {
  const [ours, theirs] = [localDescription, remoteDescription].map((each) => /^o=mozilla/m.test(each?.sdp ?? ''));
  return ours === theirs ? !polite : ours;
}
