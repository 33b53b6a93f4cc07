// Join errors: what the signaling client does about an error of the server.

import { KEY_ATTEMPTS, TOKEN_ATTEMPTS } from './backoff.js';
import { FINAL_ERRORS } from './protocol.js';

/**
 * @import { Seat, ServerMessage } from '../types.js'
 *
 * @typedef {'show' | 'look-later' | 'bad-token' | 'without-token' | 'retry' | 'final'} Reaction `without-token`: join again
 *   without it; `retry`: over another socket
 */

export class JoinErrors {
  /** Times the server asked for a host key while we resumed. */
  #keyRefusals = 0;
  /** Consecutive joins with a token that the rate limit refused. */
  #limitRefusals = 0;
  /** Times a server was full that did not have our seat. */
  #fullRefusals = 0;

  /** We have a seat, or begin to join. */
  reset() {
    this.#keyRefusals = this.#limitRefusals = this.#fullRefusals = 0;
  }

  /**
   * @param {Extract<ServerMessage, {type: 'error'}>} message
   * @param {object} client
   * @param {Seat | null} client.seat that we want or have
   * @param {boolean} client.joined
   * @param {boolean} client.waiting to be let in
   * @param {boolean} client.hasPeeked over this socket
   * @param {boolean} client.isElsewhere at another server than the one that had our seat
   * @returns {Reaction}
   */
  react({ code, retry }, { seat, joined, waiting, hasPeeked, isElsewhere }) {
    // A question about the room was refused, not the place in front of it.
    if (waiting && code === 'rate-limited') return 'look-later';
    if (code === 'bad-resume' && seat) return 'bad-token';
    // A server that drains keeps the places of those who wait.
    if (joined || (waiting && code === 'shutting-down')) return 'show';
    const resuming = seat?.id || seat?.waited || hasPeeked;
    // A server with a new key counts our token as a guess; it never counts a valid one.
    if (code === 'rate-limited' && seat?.resume && !seat.transfer && (this.#limitRefusals += 1) >= (resuming ? TOKEN_ATTEMPTS : 1)) {
      this.#limitRefusals = 0;
      return 'without-token';
    }
    const tryAgain = code === 'shutting-down' || (code === 'rate-limited' && resuming) || (code === 'try-later' && (seat?.waited || Number(retry) > 0))
      || (code === 'key-required' && seat?.id && (this.#keyRefusals += 1) < KEY_ATTEMPTS)
      // Two calls run in rooms of the same name, and ours is at the other server.
      || (code === 'room-full' && seat?.id && isElsewhere && (this.#fullRefusals += 1) < TOKEN_ATTEMPTS);
    if (tryAgain) return 'retry';
    return FINAL_ERRORS.has(code) ? 'final' : 'show';
  }
}
