// Repair: when a broken connection is mended by an ICE restart, by which side, and when no restart will do.
//
// One side of the two makes the restarts, the other asks it for them: so two never meet, and nobody has to take an offer
// back, after which Chromium shows nothing any more of what comes. Only who is not heard for a while is not waited for.
// Where the keys of a connection that stood are gone no restart helps: Firefox gives DTLS up together with ICE, and never
// takes it up again, though it may say that it is connected.

const EVERY_MS = 5000;
/** Silence over a path that stands may be theirs to end. */
const SILENCE_EVERY_MS = 8000;
/** A restart under way is given this long before another one undoes it. */
const RESTART_WITHIN_MS = 3000;
/** Who was asked for a restart has this long to begin one. */
const ASKED_WITHIN_MS = 2000;

/**
 * @typedef {object} Repair
 * @property {() => void} broke
 * @property {() => void} mended
 * @property {() => void} goOn the path is back; whether anything comes over it is not known yet
 * @property {() => void} heardOffer they have begun to mend it themselves
 * @property {() => void} asked they want a restart
 * @property {(atOnce: boolean) => void} soon mends what is broken now; `atOnce`, also what only may be
 * @property {() => void} stop
 */

/**
 * @param {object} parts
 * @param {Pick<RTCPeerConnection, 'connectionState' | 'signalingState' | 'restartIce' | 'sctp'>} parts.pc
 * @param {Pick<import('./negotiation.js').Negotiation, 'answered' | 'repeat' | 'firefox'>} parts.negotiation
 * @param {boolean} parts.polite
 * @param {() => void} parts.ask them for a restart
 * @param {() => boolean} parts.silent whether nothing comes over a path that stands
 * @param {() => boolean} parts.reachable whether an offer would be heard now
 * @param {() => void} parts.giveUp asked for after several repairs in vain, or where none would help
 * @param {import('../lib/clock.js').Clock} parts.clock
 * @returns {Repair}
 */
export function makeRepair({ pc, negotiation, polite, ask, silent, reachable, giveUp, clock }) {
  /** @type {any} */
  let timer;
  let repairs = 0;
  let asking = false;
  /** @type {any} a restart is under way until this runs out */
  let underWay = null;
  /** It was connected once. */
  let stood = false;
  let keysLost = false;

  const ill = () => hopeless() || pc.connectionState !== 'connected' || silent();
  const ours = () => makesRestarts(negotiation.firefox(), polite);

  /** Of one that never stood others would fail as well, one after the other. */
  function hopeless() {
    return (keysLost ||= stood && pc.sctp?.transport?.state === 'failed');
  }

  /** @param {number} ms */
  function schedule(ms) {
    clock.cancel(timer);
    timer = clock.after(repair, ms);
  }

  function scheduleNext() {
    schedule(hopeless() ? 0 : pc.connectionState === 'connected' ? SILENCE_EVERY_MS : EVERY_MS);
  }

  function repair() {
    if (pc.signalingState === 'closed' || !(ill() || asking)) return;
    if (!reachable()) return schedule(EVERY_MS);
    if (hopeless()) return giveUp();
    if (underWay !== null && pc.signalingState === 'stable') return schedule(RESTART_WITHIN_MS);
    if (!asking) repairs += 1;
    // A restart mends a lost path; a connection whose keys or peer are gone needs another one.
    if (repairs > (ours() ? 3 : 5)) return giveUp();
    begin();
  }

  /** Asked in vain, we make it ourselves. */
  function begin() {
    asking = !ours() && !asking;
    if (asking) {
      ask();
      schedule(ASKED_WITHIN_MS);
    } else {
      restart();
      scheduleNext();
    }
  }

  function restart() {
    if (pc.signalingState === 'have-local-offer') return negotiation.repeat();
    giveTime();
    pc.restartIce();
  }

  function giveTime() {
    clock.cancel(underWay);
    underWay = clock.after(() => { underWay = null; }, RESTART_WITHIN_MS);
  }

  function stop() {
    clock.cancel(timer);
    clock.cancel(underWay);
    underWay = null;
    asking = false;
  }

  function mended() {
    repairs = 0;
    stop();
  }

  return {
    broke() {
      // Who has been asked keeps the time to begin, whatever the browser notices besides.
      if (!asking) schedule(0);
    },
    mended,
    goOn() {
      stood = true;
      if (!ill()) return mended();
      asking = false;
      scheduleNext();
    },
    heardOffer() {
      giveTime();
      asking = false;
      if (ill()) scheduleNext();
      else clock.cancel(timer);
    },
    asked() {
      if (hopeless()) return schedule(0);
      if (underWay === null || pc.signalingState === 'have-local-offer') restart();
    },
    soon(atOnce) {
      // Theirs is about to be answered.
      if (pc.signalingState === 'have-remote-offer') return;
      // What was said before may have gone into a socket that was dead already: who is back is asked anew.
      const again = asking && reachable();
      if (again) asking = false;
      if (negotiation.answered() && ill()) schedule(0);
      else if (negotiation.answered() && (again || (atOnce && reachable()))) begin();
      else negotiation.repeat();
    },
    stop,
  };
}

/**
 * Which side makes the restarts: of two alike the impolite one, of two unlike browsers Firefox. While Chromium waits for
 * the answer to its restart, it tries what it has gathered against the candidates it knew before. Firefox still answers
 * there, and has left it a moment later; Chromium then stays with that pair for seconds, and nobody hears it.
 * @param {{ours: boolean, theirs: boolean}} firefox whether either browser is one
 * @param {boolean} polite
 */
export function makesRestarts({ ours, theirs }, polite) {
  return ours === theirs ? !polite : ours;
}
