// A signaling client that behaves like the page: it follows redirects, takes its seat back after a lost connection, and records when
// each of this happened.

import dns from 'node:dns/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { waitFor } from '../../browser/lib/wait.mjs';
import { openWebSocket } from '../../nat/websocket.mjs';

const CONNECT_TIMEOUT_MS = 3000;
/** Before the first attempt after a lost connection, doubled with each failure, as in public/signaling/backoff.js; `node`: at most, after a
 *  box was lost by its own name. */
const BACKOFF_MS = { min: 500, max: 4000, node: 750 };
const NODE_ATTEMPTS = 8;
const MAX_REDIRECTS = 3;
const AFTER_REDIRECTS_MS = 1000;
/** A ping after this long without a message, and how long its answer may take, as in public/signaling/heartbeat.js. */
const SILENCE_MS = { ping: 2500, answer: 1250, check: 250 };
/** The seat was taken over: the page does not come back. */
const CLOSE_REPLACED = 4001;
/** Refusals after which the page tries again. */
const TRY_AGAIN = ['shutting-down', 'try-later', 'rate-limited', 'key-required'];

export class SignalingClient {
  /** What happened, each with `at` (Date.now), name and address of the box: connected, joined, refused, redirect, closed, failed. */
  events = [];
  /** Every message since the last join. */
  messages = [];
  id = null;
  host = null;
  address = null;
  #parts;
  #socket = null;
  #resume;
  #ended = false;
  #failures = 0;
  #redirects = 0;
  #heardAt = 0;
  /** @type {number | null} */
  #pingedAt = null;
  #heartbeat;

  /** `onMessage(message)` gets every message; `reconnects`: whether it comes back after a lost connection. */
  constructor({ domain, room, name, ca, reconnects = true, onMessage = () => {} }) {
    this.#parts = { domain, room, name, ca, reconnects, onMessage };
    if (reconnects) this.#heartbeat = setInterval(() => this.#checkSilence(), SILENCE_MS.check);
  }

  /** Joins the room by way of `host`, by default the common name; resolves with the event `joined`. */
  async join(host = this.#parts.domain) {
    const since = Date.now();
    await this.#connect(host);
    return this.waitForEvent('joined', since);
  }

  send(message) {
    if (this.#socket?.isOpen()) this.#socket.send(JSON.stringify(message));
  }

  /** The first event of this kind at or after `since`, as soon as there is one. */
  waitForEvent(kind, since = 0, timeoutMs = 30_000) {
    const seen = () => JSON.stringify(this.events.slice(-6));
    return waitFor(`the event ${kind} in ${this.#parts.room}`, () => {
      const found = this.events.find(({ event, at }) => event === kind && at >= since);
      if (!found) throw new Error(seen());
      return found;
    }, timeoutMs);
  }

  async leave() {
    this.#end();
    this.send({ type: 'leave' });
    await this.#socket?.close();
  }

  /** Ends without a word, as a machine that is switched off. */
  destroy() {
    this.#end();
    this.#socket?.destroy();
  }

  #end() {
    this.#ended = true;
    clearInterval(this.#heartbeat);
  }

  #record(event, details = {}) {
    this.events.push({ event, at: Date.now(), host: this.host, address: this.address, ...details });
  }

  /** Tries the addresses of the name one after the other, as browsers do. */
  async #connect(host, fence) {
    Object.assign(this, { host, address: null });
    this.#socket = null;
    const addresses = await dns.lookup(host, { all: true, family: 4 }).catch(() => []);
    for (const { address } of addresses) {
      const socket = await this.#open(host, address).catch(() => null);
      if (this.#ended) return socket?.destroy();
      if (!socket) continue;
      this.address = address;
      this.#socket = socket;
      this.#heardAt = Date.now();
      this.#pingedAt = null;
      this.#record('connected');
      return this.#sendJoin(fence);
    }
    this.#record('failed');
    this.#retry();
  }

  async #open(host, address) {
    const { ca, domain } = this.#parts;
    let socket = null;
    const ifCurrent = (run) => { if (socket !== null && socket === this.#socket) run(); };
    socket = await openWebSocket({
      host, address, ca, origin: `https://${domain}`, timeoutMs: CONNECT_TIMEOUT_MS,
      onText: (text) => ifCurrent(() => this.#handle(JSON.parse(text))),
      onClose: (code) => ifCurrent(() => this.#closed(code)),
    });
    return socket;
  }

  #sendJoin(fence) {
    const { room, name } = this.#parts;
    this.send({ type: 'join', room, ...(name && { name }), ...(this.#resume && { resume: this.#resume }), ...(fence !== undefined && { fence }) });
  }

  #handle(message) {
    this.#heardAt = Date.now();
    this.messages.push(message);
    if (message.type === 'ping') this.send({ type: 'pong' });
    if (message.type === 'resp-join') this.#joined(message);
    if (message.type === 'redirect') this.#follow(message);
    if (message.type === 'error') this.#refused(message.code);
    this.#parts.onMessage(message);
  }

  #joined({ id, peer, resumed, resume, fence }) {
    this.id = id;
    this.messages = this.messages.slice(-1);
    this.#resume = resume;
    this.#failures = this.#redirects = 0;
    this.#record('joined', { id, peer, resumed, fence: fence ?? null });
  }

  #refused(code) {
    this.#record('refused', { code });
    if (code === 'bad-resume') {
      this.#resume = undefined;
      this.#sendJoin();
    } else if (TRY_AGAIN.includes(code) && this.#parts.reconnects) {
      this.#abandonSocket();
      this.#retry();
    }
  }

  async #follow({ url, fence }) {
    this.#record('redirect', { url, fence });
    if (!this.#parts.reconnects) return;
    this.#abandonSocket();
    this.#redirects += 1;
    if (this.#redirects <= MAX_REDIRECTS) return this.#connect(new URL(url).hostname, fence);
    this.#redirects = 0;
    await delay(AFTER_REDIRECTS_MS);
    if (!this.#ended) await this.#connect(this.#parts.domain);
  }

  #closed(code) {
    if (this.#ended) return;
    this.#record('closed', { code });
    this.#socket = null;
    if (code !== CLOSE_REPLACED) this.#retry();
  }

  /** A box that has stopped answers no ping. The network is not at fault then: the next attempt is at once. */
  #checkSilence() {
    if (!this.#socket) return;
    const silence = Date.now() - this.#heardAt;
    if (silence < SILENCE_MS.ping) this.#pingedAt = null;
    else if (this.#pingedAt === null) {
      this.#pingedAt = Date.now();
      this.send({ type: 'ping' });
    }
    if (this.#pingedAt === null || Date.now() - this.#pingedAt < SILENCE_MS.answer) return;
    this.#record('closed', { code: null });
    this.#abandonSocket();
    this.#connect(this.#parts.domain);
  }

  #abandonSocket() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close().catch(() => {});
  }

  async #retry() {
    if (!this.#parts.reconnects) return;
    const max = this.host !== this.#parts.domain && this.#failures < NODE_ATTEMPTS ? BACKOFF_MS.node : BACKOFF_MS.max;
    const wait = Math.min(max, BACKOFF_MS.min * 2 ** this.#failures) * (0.5 + Math.random() / 2);
    this.#failures += 1;
    await delay(wait);
    if (!this.#ended && !this.#socket) await this.#connect(this.#parts.domain);
  }
}
