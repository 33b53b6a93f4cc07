// Socket race: one socket out of several to different servers, opened one after the other. The first that opens is used.
//
// A browser may stay with an address of the page's own host that does not answer for a minute and a half. The other
// servers have names, and so addresses, of their own.

/**
 * @import { Clock, Timer } from '../lib/clock.js'
 * @import { Socket } from './transport.js'
 *
 * @typedef {string | undefined} Host undefined: the page's own host
 *
 * @typedef {object} RaceParts
 * @property {Host[]} hosts where to open sockets, the best first
 * @property {number} headStartMs of each socket before the next
 * @property {(host: Host) => Socket} open
 * @property {Clock} clock
 */

/** @param {Pick<RaceParts, 'hosts' | 'headStartMs'>} where @param {Pick<RaceParts, 'open' | 'clock'>} parts @returns {Socket} */
export function openFirst({ hosts, headStartMs }, { open, clock }) {
  return hosts.length === 1 ? open(hosts[0]) : new SocketRace({ hosts, headStartMs, open, clock });
}

/** @implements {Socket} */
class SocketRace {
  /** @type {Socket['onopen']} */
  onopen = null;
  /** @type {Socket['onmessage']} */
  onmessage = null;
  /** @type {Socket['onclose']} */
  onclose = null;
  /** @type {(() => void) | null} */
  onupgrade = null;
  /** @type {Socket['race']} */
  race = undefined;
  #parts;
  /** Those that have begun, in order. @type {Host[]} */
  #begun = [];
  /** @type {Set<Socket>} */
  #opening = new Set();
  /** @type {Socket | null} */
  #chosen = null;
  #isClosed = false;
  /** @type {Timer | undefined} */
  #timer;

  /** @param {RaceParts} parts */
  constructor(parts) {
    this.#parts = parts;
    this.#openNext();
  }

  get readyState() {
    return this.#chosen?.readyState ?? (this.#isClosed ? 3 : 0);
  }

  /** @param {string} text */
  send(text) {
    this.#chosen?.send(text);
  }

  /** @param {number} [code] */
  close(code) {
    this.#isClosed = true;
    this.#discardOthers();
    this.#chosen?.close(code);
  }

  pageClosing() {
    this.#chosen?.pageClosing?.();
  }

  #openNext() {
    const { hosts, headStartMs, open, clock } = this.#parts;
    clock.cancel(this.#timer);
    if (this.#begun.length === hosts.length) return;
    const host = hosts[this.#begun.length];
    this.#begun.push(host);
    const socket = open(host);
    this.#opening.add(socket);
    socket.onopen = () => this.#choose(socket, host);
    socket.onclose = (event) => this.#failed(socket, event);
    this.#timer = clock.after(() => this.#openNext(), headStartMs);
  }

  /** @param {Socket} socket @param {Host} host */
  #choose(socket, host) {
    this.#chosen = socket;
    this.#opening.delete(socket);
    this.#discardOthers();
    socket.onmessage = (event) => this.onmessage?.(event);
    socket.onclose = (event) => {
      this.#isClosed = true;
      this.onclose?.(event);
    };
    socket.onupgrade = () => this.onupgrade?.();
    this.race = { host, late: this.#begun.filter((each) => each !== host) };
    this.onopen?.({});
  }

  /** @param {Socket} socket @param {object} event */
  #failed(socket, event) {
    this.#opening.delete(socket);
    // Not all at once: where the network is down every one fails, and browsers slow down a page with many failed sockets.
    if (this.#begun.length === 1) this.#openNext();
    if (this.#opening.size) return;
    this.#isClosed = true;
    this.#parts.clock.cancel(this.#timer);
    this.onclose?.(event);
  }

  #discardOthers() {
    this.#parts.clock.cancel(this.#timer);
    for (const socket of this.#opening) {
      socket.onopen = socket.onclose = null;
      socket.close();
    }
    this.#opening.clear();
  }
}
