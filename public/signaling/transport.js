// Transport: opens a socket to the server, which is a WebSocket or, where none opens, HTTP requests (polling-socket.js).
//
// Some networks, proxies and browsers open no WebSocket although the server can be reached. Once two have failed, or none
// has opened in time, both ways are tried at once, until a WebSocket opens again. Only this file uses WebSocket.

import { isOwnHost } from './redirect.js';

/**
 * @import { Clock, Timer } from '../lib/clock.js'
 *
 * @typedef {object} Socket what the signaling client uses of a WebSocket
 * @property {number} readyState
 * @property {(text: string) => void} send
 * @property {(code?: number) => void} close
 * @property {((event: any) => void) | null} onopen
 * @property {((event: any) => void) | null} onmessage
 * @property {((event: any) => void) | null} onclose
 * @property {(() => void) | null} [onupgrade] a WebSocket has opened beside the HTTP requests: the next socket will be one
 * @property {{host: string | undefined, late: (string | undefined)[]}} [race] where several servers were tried, the one that opened (undefined:
 *   the page's own host), and those that had begun before it
 * @property {() => void} [pageClosing] tells the server, which does not notice by itself
 *
 * @typedef {'websocket' | 'polling'} Way as the server's metrics name it
 *
 * @typedef {object} TransportParts
 * @property {Pick<Location, 'protocol' | 'host' | 'hostname'>} location of the page
 * @property {Clock} clock
 * @property {() => number} now milliseconds
 * @property {(url: string) => Socket} [newWebSocket]
 * @property {() => Promise<(host?: string) => Socket>} [loadPolling] loads what opens a socket over HTTP requests
 */

/** From the first WebSocket that does not open. */
const OPEN_WITHIN_MS = 3000;
const FAILURES = 2;
/** A WebSocket needs a connection of its own and gets more time than the first HTTP request took: it is preferred. */
const HEAD_START_MS = { min: 250, max: 1000 };

/**
 * A request that outlives the page. No beacon: of a page without referrer Firefox sends it with the origin `null`, which the
 * server refuses.
 * @param {string} url
 * @param {string} body
 */
export function postAtClose(url, body) {
  fetch(url, { method: 'POST', body, keepalive: true }).catch(() => {});
}

export class Transport {
  /** @type {Required<TransportParts>} */
  #parts;
  /** Consecutive WebSockets that have failed. */
  #failures = 0;
  /** Whether HTTP requests are tried too. */
  #usesPolling = false;
  /** @type {Set<EitherSocket>} */
  #opening = new Set();
  /** Runs on while one socket takes the place of another that has not opened. @type {Timer | undefined} */
  #timer;

  /** @param {TransportParts} parts */
  constructor(parts) {
    const { clock, location: { hostname } } = parts;
    this.#parts = {
      newWebSocket: (url) => new WebSocket(url),
      loadPolling: async () => {
        const { PollingSocket } = await import('./polling-socket.js');
        return (host) => new PollingSocket({ clock, host, isOwnHost: (node) => isOwnHost(node, hostname) });
      },
      ...parts,
    };
  }

  /** @param {string} [node] host of the server with the room; the page's own host leads to any of several */
  open(node) {
    const { location: { protocol, host }, clock, now, newWebSocket, loadPolling } = this.#parts;
    const socket = new EitherSocket({
      clock, now,
      loadPolling: async () => {
        const openPolling = await loadPolling();
        return () => openPolling(node);
      },
      newWebSocket: () => newWebSocket(`${protocol === 'http:' ? 'ws:' : 'wss:'}//${node ?? host}/ws`),
      webSocketOpened: () => this.#webSocketOpened(),
      webSocketFailed: (isMissing) => this.#webSocketFailed(isMissing),
      settled: () => this.#opening.delete(socket),
    });
    this.#opening.add(socket);
    if (this.#usesPolling) socket.tryPolling();
    else this.#timer ??= clock.after(() => this.#usePolling(), OPEN_WITHIN_MS);
    return socket;
  }

  #webSocketOpened() {
    this.#failures = 0;
    this.#usesPolling = false;
    this.#stopTimer();
  }

  /** @param {boolean} isMissing whether the browser has none */
  #webSocketFailed(isMissing) {
    this.#failures += 1;
    if (isMissing || this.#failures >= FAILURES) this.#usePolling();
  }

  #usePolling() {
    this.#stopTimer();
    this.#usesPolling = true;
    for (const socket of this.#opening) socket.tryPolling();
  }

  #stopTimer() {
    this.#parts.clock.cancel(this.#timer);
    this.#timer = undefined;
  }
}

/**
 * @typedef {Omit<Required<TransportParts>, 'location' | 'newWebSocket' | 'loadPolling'> & {
 *   newWebSocket: () => Socket, loadPolling: () => Promise<() => Socket>, webSocketOpened: () => void, webSocketFailed: (isMissing: boolean) => void, settled: () => void,
 * }} EitherParts `settled`: it is open, or closed
 */

/** A socket whose way to the server is chosen when it opens. @implements {Socket} */
class EitherSocket {
  /** @type {Socket['onopen']} */
  onopen = null;
  /** @type {Socket['onmessage']} */
  onmessage = null;
  /** @type {Socket['onclose']} */
  onclose = null;
  /** @type {(() => void) | null} */
  onupgrade = null;
  #parts;
  /** @type {Socket | null} */
  #webSocket = null;
  /** @type {Socket | null} */
  #polling = null;
  /** @type {Socket | null} */
  #chosen = null;
  /** @type {'no' | 'trying' | 'failed'} */
  #pollingState = 'no';
  #isClosed = false;
  /** @type {Timer | undefined} */
  #headStart;

  /** @param {EitherParts} parts */
  constructor(parts) {
    this.#parts = parts;
    try {
      const socket = this.#webSocket = parts.newWebSocket();
      socket.onopen = () => this.#webSocketOpened(socket);
      socket.onclose = (event) => this.#webSocketFailed(event);
    } catch {
      // The caller sets its handlers first.
      Promise.resolve().then(() => { if (!this.#isClosed) this.#webSocketFailed({ code: 1006 }, true); });
    }
  }

  /** How it reaches the server, once it is open. @returns {Way | null} */
  get way() {
    if (!this.#chosen) return null;
    return this.#chosen === this.#polling ? 'polling' : 'websocket';
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
    for (const socket of [this.#webSocket, this.#polling]) if (socket !== this.#chosen) this.#discard(socket);
    this.#settle();
    this.#chosen?.close(code);
  }

  pageClosing() {
    this.#chosen?.pageClosing?.();
  }

  /** Tries HTTP requests too. */
  async tryPolling() {
    if (this.#pollingState !== 'no') return;
    this.#pollingState = 'trying';
    try {
      const openPolling = await this.#parts.loadPolling();
      if (this.#chosen || this.#isClosed) return;
      const startedAt = this.#parts.now();
      const socket = this.#polling = openPolling();
      socket.onopen = () => this.#pollingOpened(socket, this.#parts.now() - startedAt);
      socket.onclose = (event) => this.#pollingFailed(event);
    } catch {
      if (!this.#chosen && !this.#isClosed) this.#pollingFailed({ code: 1006 });
    }
  }

  /** @param {Socket} socket @param {number} ms it took to open */
  #pollingOpened(socket, ms) {
    if (!this.#webSocket) return this.#choose(socket);
    this.#headStart = this.#parts.clock.after(() => this.#choose(socket), Math.min(HEAD_START_MS.max, HEAD_START_MS.min + 2 * ms));
  }

  /** @param {Socket} socket */
  #choose(socket) {
    this.#chosen = socket;
    if (socket === this.#webSocket) this.#discard(this.#polling);
    this.#settle();
    socket.onmessage = (event) => this.onmessage?.(event);
    socket.onclose = (event) => {
      if (socket === this.#polling) this.#discard(this.#webSocket);
      this.onclose?.(event);
    };
    this.onopen?.({});
  }

  /** Perhaps late: Firefox waits longer and longer before it connects, where others have failed. @param {Socket} socket */
  #webSocketOpened(socket) {
    this.#parts.webSocketOpened();
    if (!this.#chosen) return this.#choose(socket);
    this.#webSocket = null;
    this.#discard(socket);
    this.onupgrade?.();
  }

  /** @param {object} event @param {boolean} [isMissing] */
  #webSocketFailed(event, isMissing = false) {
    this.#webSocket = null;
    this.#parts.webSocketFailed(isMissing);
    if (this.#chosen) return;
    if (this.#polling?.readyState === 1) this.#choose(this.#polling);
    else if (this.#pollingState !== 'trying') this.#failed(event);
  }

  /** @param {object} event */
  #pollingFailed(event) {
    this.#polling = null;
    this.#pollingState = 'failed';
    this.#parts.clock.cancel(this.#headStart);
    if (!this.#webSocket) this.#failed(event);
  }

  /** @param {object} event */
  #failed(event) {
    this.#isClosed = true;
    this.#settle();
    this.onclose?.(event);
  }

  #settle() {
    this.#parts.clock.cancel(this.#headStart);
    this.#parts.settled();
  }

  /** @param {Socket | null} socket */
  #discard(socket) {
    if (!socket) return;
    socket.onopen = socket.onclose = null;
    socket.close();
  }
}
