// Peer presence: whether the other participant is still there, from what the server says of its page and from its packets.

/**
 * @import { LivenessState } from '../call/liveness.js'
 * @import { Clock, Timer } from '../lib/clock.js'
 * @import { SessionState } from './status.js'
 */

/** Silence is detected after one to two seconds and shown after one more. */
const SHOW_SILENCE_MS = 1000;
/** Packets this long after a page was closed mean that it is still open; a page in the background notices silence late. */
const CLOSING_TIMEOUT_MS = 10_000;

/** Keeps `peer`, `peerClosing`, `late` and `silent` of the session's state. */
export class PeerPresence {
  #state;
  #isConnected;
  #clock;
  #changed;
  /** @type {{closing?: Timer, silence?: Timer}} */
  #timers = {};

  /**
   * @param {object} parts
   * @param {SessionState} parts.state
   * @param {() => boolean} parts.isConnected whether the peer connection is
   * @param {Clock} parts.clock
   * @param {() => void} parts.changed
   */
  constructor({ state, isConnected, clock, changed }) {
    this.#state = state;
    this.#isConnected = isConnected;
    this.#clock = clock;
    this.#changed = changed;
  }

  /** Its socket is lost. @param {boolean} closing its page was closed, and may come back for a moment */
  away(closing) {
    this.#state.peer = 'away';
    if (!closing) return;
    this.#state.peerClosing = true;
    this.#clock.cancel(this.#timers.closing);
    this.#timers.closing = this.#clock.after(() => {
      // A peer with everything muted sends no packets that could prove its page open.
      const { silent, remote: { mic, cam, screen } } = this.#state;
      if (this.#isConnected() && !silent && (mic || cam || screen)) this.#state.peerClosing = false;
      this.#changed();
    }, CLOSING_TIMEOUT_MS);
  }

  back() {
    Object.assign(this.#state, { peer: 'present', peerClosing: false });
  }

  /** @param {LivenessState} liveness */
  heard(liveness) {
    this.#clock.cancel(this.#timers.silence);
    Object.assign(this.#state, { late: liveness !== 'alive', silent: false });
    if (liveness !== 'silent') return;
    this.#timers.silence = this.#clock.after(() => {
      this.#state.silent = true;
      this.#changed();
    }, SHOW_SILENCE_MS);
  }

  /** The call has ended. */
  reset() {
    this.#clock.cancel(this.#timers.closing);
  }
}
