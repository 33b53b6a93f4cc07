// Connection deadline: how long the session waits for a connection, or for one that may recover.

/** @import { Clock, Timer } from '../lib/clock.js' */

const CONNECT_TIMEOUT_MS = 30_000;
/** After a connection is lost the peer's network may be down, which the server notices after 45 s. */
const RECONNECT_TIMEOUT_MS = 50_000;
const LAST_CHANCE_MS = 8000;

export class ConnectionDeadline {
  #clock;
  #changed;
  /** @type {Timer | undefined} */
  #timer;

  /** @param {{clock: Clock, changed: () => void}} parts */
  constructor({ clock, changed }) {
    this.#clock = clock;
    this.#changed = changed;
  }

  /** @param {boolean} wasConnected @param {() => void} timedOut */
  await(wasConnected, timedOut) {
    this.#start(timedOut, wasConnected ? RECONNECT_TIMEOUT_MS : CONNECT_TIMEOUT_MS);
  }

  /** Without signaling only the connection itself can recover. @param {() => void} giveUp */
  giveLastChance(giveUp) {
    this.#start(giveUp, LAST_CHANCE_MS);
  }

  cancel() {
    this.#clock.cancel(this.#timer);
  }

  /** @param {() => void} passed @param {number} ms */
  #start(passed, ms) {
    this.cancel();
    this.#timer = this.#clock.after(() => {
      passed();
      this.#changed();
    }, ms);
  }
}
