// Transfer: the code with which another device takes our place in the call, from the request until it expires.

/**
 * @import { ServerMessage } from '../types.js'
 * @import { Clock, Timer } from '../lib/clock.js'
 *
 * @typedef {object} TransferCode
 * @property {string | null} token null except while it is valid
 * @property {number} until when it expires, in ms
 * @property {'requested' | 'valid' | 'expired' | 'failed'} phase
 */

const TOKEN = /^[\w.~-]{1,512}$/;
const MAX_MS = 600_000;
/** A code used in its last moment replaces us a little later. */
const SLACK_MS = 5000;
/** The fragment of a link that moves a call. */
const FRAGMENT = /^#t=([\w.~-]{1,512})$/;

/** The token in the fragment of a link that moves a call; null in any other. @param {string} fragment */
export function tokenInFragment(fragment) {
  return FRAGMENT.exec(fragment)?.[1] ?? null;
}

export class Transfer {
  /** Null unless the person asks for a code. @type {TransferCode | null} */
  code = null;
  #clock;
  #now;
  #changed;
  /** @type {Timer | undefined} */
  #timer;
  #usableUntil = -Infinity;

  /** @param {{clock: Clock, now: () => number, changed: () => void}} parts */
  constructor({ clock, now, changed }) {
    this.#clock = clock;
    this.#now = now;
    this.#changed = changed;
  }

  /** Whether the one who replaces us may have come with a code. */
  isUsable() {
    return this.#now() < this.#usableUntil;
  }

  /** @param {boolean} isOnline without the server there is no code */
  request(isOnline) {
    this.#set({ token: null, until: 0, phase: isOnline ? 'requested' : 'failed' });
  }

  /** @param {Extract<ServerMessage, {type: 'transfer'}>} message */
  received({ token, ttl }) {
    const isValid = typeof token === 'string' && TOKEN.test(token) && typeof ttl === 'number' && ttl > 0;
    if (!isValid) return this.refused();
    const until = this.#now() + Math.min(ttl * 1000, MAX_MS);
    this.#usableUntil = until + SLACK_MS;
    // Nobody waits for it once the dialog is closed.
    if (this.code) this.#set({ token, until, phase: 'valid' });
  }

  refused() {
    if (this.code?.phase === 'requested') this.#set({ token: null, until: 0, phase: 'failed' });
  }

  /** Forgets the code, which is no longer shown. */
  close() {
    this.#set(null);
  }

  /** @param {TransferCode | null} code */
  #set(code) {
    this.#clock.cancel(this.#timer);
    this.code = code;
    if (code?.phase !== 'valid') return;
    this.#timer = this.#clock.after(() => {
      this.code = { token: null, until: 0, phase: 'expired' };
      this.#changed();
    }, code.until - this.#now());
  }
}
