// Polling socket: the messages of a WebSocket over HTTP requests (long polling), where no WebSocket opens.
//
// One request holds until the server has messages; another one at a time carries ours, in order. Both are numbered, so that
// a request whose reply was lost is repeated without harm. The wire is in docs/protocol.md.

/**
 * @import { Clock } from '../lib/clock.js'
 * @import { Socket } from './transport.js'
 *
 * @typedef {{status: number, value: any}} Reply `status` 0: no reply, or one that is not of our server
 *
 * @typedef {object} PollingParts
 * @property {Clock} clock
 * @property {typeof fetch} [fetch]
 * @property {string} [host] of the server; default: that of the page
 * @property {(host: unknown) => boolean} [isOwnHost] whether it is of a server of the page's site
 */

const PATH = '/poll';
/** The server holds a request for 20 s at most. */
const REQUEST_TIMEOUT_MS = 30_000;
/** Repeating takes about 12 s; after 15 s of silence the server has given up the session. */
const RETRIES = 8;
const RETRY_MS = { min: 250, max: 2000 };
/** The request arrived too slowly, or there were too many. */
const REPEATED = new Set([408, 429]);
/** Of one request; the server takes 128 KiB, and a character has up to three bytes. */
const BATCH = { characters: 32 * 1024, messages: 64 };
const KEEPALIVE_CHARACTERS = 16 * 1024;
/** 1006: the socket was lost; 1009: a message was too big; 1013: the server takes no more for now. */
const CLOSE_CODES = new Map([[413, 1009], [429, 1013]]);

/** @implements {Socket} */
export class PollingSocket {
  /** @type {Socket['onopen']} */
  onopen = null;
  /** @type {Socket['onmessage']} */
  onmessage = null;
  /** @type {Socket['onclose']} */
  onclose = null;
  /** As of a WebSocket: 0 connecting, 1 open, 2 closing, 3 closed. */
  readyState = 0;
  /** @type {Required<PollingParts>} */
  #parts;
  #session = '';
  /** One of several servers names itself in its first answer: the session is there only. @type {string | undefined} */
  #host;
  /** Messages the server has not confirmed. @type {string[]} */
  #unsent = [];
  /** The number of the first one. */
  #seq = 1;
  #isSending = false;
  /** Set while closing. @type {() => void} */
  #allSent = () => {};
  /** The number of the last message that arrived. */
  #received = 0;
  /** Ends the request that waits for messages. */
  #receiving = new AbortController();

  /** @param {PollingParts} parts */
  constructor(parts) {
    this.#parts = { fetch: (input, init) => fetch(input, init), host: '', isOwnHost: () => false, ...parts };
    this.#host = parts.host;
    this.#open();
  }

  /** @param {string} text */
  send(text) {
    if (this.readyState !== 1) return;
    this.#unsent.push(text);
    if (!this.#isSending) this.#sendAll();
  }

  /** What was sent before arrives first. @param {number} [code] */
  close(code = 1000) {
    if (this.readyState > 1) return;
    const wasOpen = this.readyState === 1;
    this.readyState = 2;
    this.#receiving.abort();
    if (wasOpen) this.#close(code);
    else this.#ended({ code: 1006 });
  }

  /** The page is being closed or left. If it is shown again, the next request learns that the session has ended. */
  pageClosing() {
    if (this.readyState === 1) this.#request(JSON.stringify({ session: this.#session, close: 1001 }), { keepalive: true });
  }

  async #open() {
    const { status, value } = await this.#request('{}');
    const session = typeof value?.session === 'string' ? value.session : '';
    if (session && this.readyState !== 0) return void this.#request(JSON.stringify({ session, close: 1000 }), { keepalive: true });
    if (this.readyState !== 0) return;
    if (!session) return this.#ended({ code: closeCode(status) });
    if (this.#parts.isOwnHost(value.node)) this.#host = value.node;
    this.#session = session;
    this.readyState = 1;
    this.#receive();
    this.onopen?.({});
  }

  async #receive() {
    while (this.readyState === 1) {
      const reply = await this.#repeat(() => JSON.stringify({ session: this.#session, after: this.#received }), this.#receiving.signal);
      if (!reply || this.readyState !== 1) return;
      this.#handle(reply.value);
    }
  }

  /** @param {any} value */
  #handle(value) {
    const { seq, frames, close } = value ?? {};
    // A number that is left out is a message that was lost.
    if (!Number.isSafeInteger(seq) || seq > this.#received + 1 || !Array.isArray(frames)) return this.#ended({ code: 1006 });
    for (const frame of frames.slice(this.#received + 1 - seq)) {
      this.#received += 1;
      this.onmessage?.({ data: JSON.stringify(frame) });
      if (this.readyState !== 1) return;
    }
    if (close) this.#ended({ code: Number(close.code), reason: String(close.reason ?? ''), wasClean: true });
  }

  async #sendAll() {
    this.#isSending = true;
    while (this.#unsent.length && this.readyState < 3) {
      const batch = batchOf(this.#unsent);
      const body = `{"session":${JSON.stringify(this.#session)},"seq":${this.#seq},"frames":[${batch.join(',')}]}`;
      if (!(await this.#repeat(() => body))) break;
      this.#seq += batch.length;
      this.#unsent.splice(0, batch.length);
    }
    this.#isSending = false;
    this.#allSent();
  }

  /** @param {number} code */
  async #close(code) {
    if (this.#isSending) await new Promise((/** @type {(value?: any) => void} */ resolve) => { this.#allSent = resolve; });
    if (this.readyState === 3) return;
    const { status } = await this.#request(JSON.stringify({ session: this.#session, close: code }), { keepalive: true });
    // The server may have ended the session after the last message.
    const wasClean = status === 204 || status === 404;
    this.#ended({ code: wasClean ? code : 1006, wasClean });
  }

  /**
   * Sends a request until there is a reply. Null: the socket has ended.
   * @param {() => string} body
   * @param {AbortSignal} [signal]
   * @returns {Promise<Reply | null>}
   */
  async #repeat(body, signal) {
    for (let failures = 0; ; failures += 1) {
      // The last messages must outlive the page; browsers refuse that for large requests.
      const text = body();
      const reply = await this.#request(text, { signal, keepalive: this.readyState === 2 && text.length < KEEPALIVE_CHARACTERS });
      if (this.readyState === 3 || signal?.aborted) return null;
      if (reply.status === 200 || reply.status === 204) return reply;
      const isFinal = reply.status >= 400 && reply.status < 500 && !REPEATED.has(reply.status);
      if (isFinal || failures === RETRIES) {
        this.#ended({ code: closeCode(isFinal ? reply.status : 0) });
        return null;
      }
      await this.#pause(Math.min(RETRY_MS.max, RETRY_MS.min * 2 ** failures));
    }
  }

  /** @param {string} body @param {{signal?: AbortSignal, keepalive?: boolean}} [options] @returns {Promise<Reply>} */
  async #request(body, { signal, keepalive = false } = {}) {
    const { clock, fetch: send } = this.#parts;
    const abort = new AbortController();
    const stop = () => abort.abort();
    signal?.addEventListener('abort', stop);
    const timer = clock.after(stop, REQUEST_TIMEOUT_MS);
    try {
      // To another host, JSON would need the server's permission first.
      const headers = { 'Content-Type': this.#host ? 'text/plain' : 'application/json' };
      const reply = await send(this.#host ? `https://${this.#host}${PATH}` : PATH, { method: 'POST', body, headers, cache: 'no-store', signal: abort.signal, keepalive });
      return { status: reply.status, value: reply.status === 200 ? await reply.json() : null };
    } catch {
      return { status: 0, value: null };
    } finally {
      clock.cancel(timer);
      signal?.removeEventListener('abort', stop);
    }
  }

  /** @param {number} ms @returns {Promise<void>} */
  #pause(ms) {
    return new Promise((resolve) => { this.#parts.clock.after(() => resolve(), ms); });
  }

  /** @param {{code: number, reason?: string, wasClean?: boolean}} event */
  #ended(event) {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.#receiving.abort();
    this.onclose?.({ reason: '', wasClean: false, ...event });
  }
}

/** @param {number} status of the reply */
const closeCode = (status) => CLOSE_CODES.get(status) ?? 1006;

/** The first messages, as many as fit one request. @param {string[]} messages */
function batchOf(messages) {
  let characters = 0;
  const end = messages.findIndex((text, index) => index === BATCH.messages || ((characters += text.length) > BATCH.characters && index > 0));
  return end < 0 ? messages.slice() : messages.slice(0, end);
}
