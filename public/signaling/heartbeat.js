// Heartbeat: when to ping the server, and whether its silence means that the socket is dead. A dead socket may look open
// for minutes.
//
// A socket that does not answer is first suspected, so that another one can be opened beside it, and given up later.

/**
 * @import { Clock, Timer } from '../lib/clock.js'
 *
 * @typedef {object} HeartbeatParts
 * @property {() => void} ping sends one
 * @property {() => void} suspected the socket is late to answer
 * @property {() => void} lost it has not answered
 * @property {Clock} clock
 */

/** After the server's last message. During a call media keeps the radio of a phone awake anyway. */
const INTERVAL_MS = { call: 2500, alone: 5000 };
/** The time for an answer. */
const SUSPECT_MS = 1250;
const LOST_MS = 2500;
/** When there is a reason to doubt the socket: packets have stopped, or the machine woke up. */
const SUSPECT_IN_DOUBT_MS = 500;

export class Heartbeat {
  #parts;
  /** @type {{ping?: Timer, suspect?: Timer, lost?: Timer}} */
  #timers = {};
  #isRunning = false;
  #inCall = false;
  #isSuspected = false;
  /** It has answered after it was suspected: the network is slow, and more sockets would make it slower. */
  #isSlow = false;

  /** @param {HeartbeatParts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  /** For a new socket. */
  start() {
    this.stop();
    this.#isRunning = true;
    this.heard();
  }

  stop() {
    this.#isRunning = this.#isSuspected = this.#isSlow = false;
    this.#cancel();
  }

  /** A message says whether there is another participant. @param {boolean} inCall */
  setInCall(inCall) {
    this.#inCall = inCall;
    this.heard();
  }

  /** Any message has arrived. */
  heard() {
    if (!this.#isRunning) return;
    this.#isSlow ||= this.#isSuspected;
    this.#isSuspected = false;
    this.#cancel();
    this.#timers.ping = this.#parts.clock.after(() => this.#check(SUSPECT_MS), this.#inCall ? INTERVAL_MS.call : INTERVAL_MS.alone);
  }

  /** There is a reason to doubt the socket. */
  check() {
    if (this.#isRunning && !this.#isSuspected) this.#check(SUSPECT_IN_DOUBT_MS);
  }

  /** @param {number} suspectMs */
  #check(suspectMs) {
    const { clock, ping, suspected, lost } = this.#parts;
    this.#cancel();
    this.#timers.lost = clock.after(lost, LOST_MS);
    if (!this.#isSlow) {
      this.#timers.suspect = clock.after(() => {
        this.#isSuspected = true;
        suspected();
      }, suspectMs);
    }
    ping();
  }

  #cancel() {
    for (const timer of Object.values(this.#timers)) this.#parts.clock.cancel(timer);
  }
}
