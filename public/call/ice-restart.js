// ICE restart: when a broken connection gets one, which side makes it, and when a new connection is needed instead.
//
// One side makes the restarts and the other asks for them: two offers then never collide and none is rolled back, after
// which Chromium decodes video without showing it. Only a peer that has not answered for a while is not waited for.
// Where the DTLS keys of an established connection are gone a restart does not help: Firefox gives up DTLS together with
// ICE and does not resume it, even if it reports `connected`.

/**
 * @import { Clock, Timer } from '../lib/clock.js'
 * @import { Negotiation } from './negotiation.js'
 *
 * @typedef {object} IceRestartParts
 * @property {Pick<RTCPeerConnection, 'connectionState' | 'signalingState' | 'restartIce' | 'sctp'>} pc
 * @property {Pick<Negotiation, 'isAnswered' | 'repeatOffer' | 'firefox'>} negotiation
 * @property {boolean} polite
 * @property {() => void} request asks the peer for a restart
 * @property {() => boolean} silent whether no packets arrive over an established path
 * @property {() => boolean} reachable whether the peer would receive an offer now
 * @property {() => void} giveUp called after several failed restarts, or where none would help
 * @property {Clock} clock
 */

const INTERVAL_MS = 5000;
/** Silence over an established path may be the peer's to fix. */
const SILENT_INTERVAL_MS = 8000;
/** No second restart interrupts one that is this young. */
const RESTART_TIMEOUT_MS = 3000;
/** The time the peer has to begin a restart after a request. */
const REQUEST_TIMEOUT_MS = 2000;
/** After a candidate over TCP or TLS, one over UDP is awaited for this long; it needs fewer round trips. */
const UDP_TIMEOUT_MS = 500;

export class IceRestart {
  /** @type {IceRestartParts} */
  #parts;
  /** @type {Timer | undefined} */
  #timer;
  #attempts = 0;
  #requested = false;
  /** Runs while a restart is under way. @type {Timer | null} */
  #restartTimer = null;
  #wasConnected = false;
  #keysLost = false;
  /** Whether the server was reached over UDP, by this connection and by its current restart. */
  #udp = { before: false, now: false };
  /** Send the candidates that wait. @type {(() => void)[]} */
  #held = [];
  /** @type {Timer | undefined} */
  #heldTimer;

  /** @param {IceRestartParts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  /** The path is down. */
  connectionLost() {
    // A requested peer keeps its time to begin, whatever the browser notices meanwhile.
    if (!this.#requested) this.#schedule(0);
  }

  /** Packets arrive again. */
  recovered() {
    this.#attempts = 0;
    this.stop();
  }

  /** The path is up again; it is not known yet whether packets arrive. */
  pathRestored() {
    this.#wasConnected = true;
    if (!this.#isBroken()) return this.recovered();
    this.#requested = false;
    this.#scheduleNext();
  }

  /** The peer has begun a restart. */
  restartReceived() {
    this.#markStarted();
    this.#requested = false;
    if (this.#isBroken()) this.#scheduleNext();
    else this.#parts.clock.cancel(this.#timer);
  }

  /** The peer asks for a restart. */
  handleRequest() {
    if (this.#isHopeless()) return this.#schedule(0);
    if (this.#restartTimer === null || this.#parts.pc.signalingState === 'have-local-offer') this.#restart();
  }

  /**
   * A candidate was gathered. Those over TCP or TLS wait for one over UDP while a restart is under way.
   * @param {RTCIceCandidate | null} candidate
   * @param {() => void} send
   */
  candidateGathered(candidate, send) {
    const transport = serverTransport(candidate);
    if (transport === 'udp') this.#udp = { before: true, now: true };
    const isStream = transport === 'stream' && this.#restartTimer !== null && this.#udp.before;
    if (!isStream && (candidate || !this.#held.length)) return send();
    if (!this.#held.length) this.#heldTimer = this.#parts.clock.after(() => this.#releaseCandidates(), UDP_TIMEOUT_MS);
    this.#held.push(send);
  }

  /** Restarts a broken connection now. @param {boolean} force also one that only may be broken */
  soon(force) {
    const { pc, negotiation, reachable } = this.#parts;
    // The peer's offer is about to be answered.
    if (pc.signalingState === 'have-remote-offer') return;
    // An earlier request may have been lost with a dead socket: ask again.
    const repeat = this.#requested && reachable();
    if (repeat) this.#requested = false;
    if (negotiation.isAnswered() && this.#isBroken()) this.#schedule(0);
    else if (negotiation.isAnswered() && (repeat || (force && reachable()))) this.#begin();
    else negotiation.repeatOffer();
  }

  stop() {
    this.#parts.clock.cancel(this.#timer);
    this.#parts.clock.cancel(this.#restartTimer);
    this.#restartTimer = null;
    this.#requested = false;
  }

  /**
   * Chromium tries no path of lower priority before the previous one has been silent for 2.5 s. So where a restart finds that
   * UDP no longer reaches the server, a new connection is faster, unless both browsers are Firefox.
   */
  #releaseCandidates() {
    const { pc, negotiation, reachable, giveUp } = this.#parts;
    if (pc.signalingState === 'closed') return;
    const { local, remote } = negotiation.firefox();
    if (!this.#udp.now && !(local && remote) && reachable()) return giveUp();
    const held = this.#held;
    this.#held = [];
    for (const send of held) send();
  }

  #isBroken() {
    return this.#isHopeless() || this.#parts.pc.connectionState !== 'connected' || this.#parts.silent();
  }

  #isOurs() {
    return makesRestarts(this.#parts.negotiation.firefox(), this.#parts.polite);
  }

  /** Where the first connection never succeeded, replacements would fail the same way. */
  #isHopeless() {
    return (this.#keysLost ||= this.#wasConnected && this.#parts.pc.sctp?.transport?.state === 'failed');
  }

  /** @param {number} ms */
  #schedule(ms) {
    this.#parts.clock.cancel(this.#timer);
    this.#timer = this.#parts.clock.after(() => this.#attempt(), ms);
  }

  #scheduleNext() {
    this.#schedule(this.#isHopeless() ? 0 : this.#parts.pc.connectionState === 'connected' ? SILENT_INTERVAL_MS : INTERVAL_MS);
  }

  #attempt() {
    const { pc, reachable, giveUp } = this.#parts;
    if (pc.signalingState === 'closed' || !(this.#isBroken() || this.#requested)) return;
    if (!reachable()) return this.#schedule(INTERVAL_MS);
    if (this.#isHopeless()) return giveUp();
    if (this.#restartTimer !== null && pc.signalingState === 'stable') return this.#schedule(RESTART_TIMEOUT_MS);
    if (!this.#requested) this.#attempts += 1;
    // A restart repairs a lost path; a peer without the connection's keys needs a new connection.
    if (this.#attempts > (this.#isOurs() ? 3 : 5)) return giveUp();
    this.#begin();
  }

  /** After a request without effect we make the restart ourselves. */
  #begin() {
    this.#requested = !this.#isOurs() && !this.#requested;
    if (this.#requested) {
      this.#parts.request();
      this.#schedule(REQUEST_TIMEOUT_MS);
    } else {
      this.#restart();
      this.#scheduleNext();
    }
  }

  #restart() {
    const { pc, negotiation } = this.#parts;
    if (pc.signalingState === 'have-local-offer') return negotiation.repeatOffer();
    this.#markStarted();
    pc.restartIce();
  }

  #markStarted() {
    this.#parts.clock.cancel(this.#restartTimer);
    this.#parts.clock.cancel(this.#heldTimer);
    this.#udp.now = false;
    this.#held = [];
    this.#restartTimer = this.#parts.clock.after(() => { this.#restartTimer = null; }, RESTART_TIMEOUT_MS);
  }
}

/**
 * How the server was reached that gave us this candidate; null without one. Of relayed candidates both browsers give those
 * over TCP and TLS the lowest type preference (RFC 8445 section 5.1.2.1).
 * @param {RTCIceCandidate | null} candidate
 */
function serverTransport(candidate) {
  if (candidate?.type === 'srflx') return 'udp';
  if (candidate?.type !== 'relay' || candidate.priority === null) return null;
  return candidate.priority >>> 24 > 1 ? 'udp' : 'stream';
}

/**
 * Which side makes the restarts: of two alike the impolite one, of two different browsers Firefox. While Chromium waits
 * for the answer to its restart, it tries the new candidates against the peer's old ones. Firefox still answers there
 * and leaves that path a moment later; Chromium then keeps the pair for seconds and its packets are lost.
 * @param {{local: boolean, remote: boolean}} firefox whether each browser is Firefox
 * @param {boolean} polite
 */
export function makesRestarts({ local, remote }, polite) {
  return local === remote ? !polite : local;
}
