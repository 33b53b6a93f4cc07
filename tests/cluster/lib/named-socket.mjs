// A WebSocket to a name, with the properties of the browser's that the page uses. The addresses of the name are tried one after the
// other, as browsers do.

import dns from 'node:dns/promises';
import { openWebSocket } from '../../nat/websocket.mjs';

/** Browsers wait much longer, so that a name whose first address does not answer is given up before the second one is tried. */
const CONNECT_TIMEOUT_MS = 30_000;

export class NamedSocket {
  onopen = null;
  onmessage = null;
  onclose = null;
  /** 0 connecting, 1 open, 3 closed. */
  readyState = 0;
  host;
  /** Of the server, once it is open. */
  address = null;
  #socket = null;

  /** `ca`: the PEM text of the authority that signed the server's certificate. */
  constructor({ host, origin, ca }) {
    this.host = host;
    this.#open({ host, origin, ca });
  }

  send(text) {
    this.#socket?.send(text);
  }

  /** Resolves when the server has closed the connection. */
  async close() {
    this.readyState = 3;
    await this.#socket?.close().catch(() => {});
  }

  /** Ends without a close frame. */
  destroy() {
    this.readyState = 3;
    this.#socket?.destroy();
  }

  async #open(options) {
    const addresses = await dns.lookup(this.host, { all: true, family: 4 }).catch(() => []);
    for (const { address } of addresses) {
      if (this.readyState === 3) return;
      const handlers = { onText: (data) => this.onmessage?.({ data }), onClose: (code) => this.#closed(code) };
      const socket = await openWebSocket({ ...options, ...handlers, address, timeoutMs: CONNECT_TIMEOUT_MS }).catch(() => null);
      if (this.readyState === 3) return void socket?.destroy();
      if (!socket) continue;
      Object.assign(this, { address, readyState: 1 });
      this.#socket = socket;
      return void this.onopen?.({});
    }
    this.#closed();
  }

  #closed(code = 1006) {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.onclose?.({ code });
  }
}
