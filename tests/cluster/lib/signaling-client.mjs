// A signaling client that behaves like the page: it follows redirects, takes its seat back after a lost connection, and records when
// each of this happened. Where to connect to is decided by the modules of the page.

import { setTimeout as delay } from 'node:timers/promises';
import { connectTimeout, reconnectDelay } from '../../../public/signaling/backoff.js';
import { Redirects } from '../../../public/signaling/redirect.js';
import { openFirst } from '../../../public/signaling/socket-race.js';
import { browserClock } from '../../../public/lib/clock.js';
import { waitFor } from '../../browser/lib/wait.mjs';
import { NamedSocket } from './named-socket.mjs';

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
  /** @type {import('../../../public/signaling/transport.js').Socket | null} */
  #socket = null;
  /** The one of it that has opened. @type {NamedSocket | null} */
  #named = null;
  #resume;
  #ended = false;
  #failures = 0;
  #redirects;
  #heardAt = 0;
  /** @type {number | null} */
  #pingedAt = null;
  #heartbeat;

  /** `onMessage(message)` gets every message; `reconnects`: whether it comes back after a lost connection. */
  constructor({ domain, room, name, ca, reconnects = true, onMessage = () => {} }) {
    this.#parts = { domain, room, name, ca, reconnects, onMessage };
    this.#redirects = new Redirects(() => domain);
    if (reconnects) this.#heartbeat = setInterval(() => this.#checkSilence(), SILENCE_MS.check);
  }

  /** Joins the room by way of `host`, by default the common name; resolves with the event `joined`. */
  async join(host = this.#parts.domain) {
    const since = Date.now();
    this.#connect([host]);
    return this.waitForEvent('joined', since);
  }

  send(message) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(message));
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
    await this.#named?.close();
  }

  /** Ends without a word, as a machine that is switched off. */
  destroy() {
    this.#end();
    this.#named?.destroy();
  }

  #end() {
    this.#ended = true;
    clearInterval(this.#heartbeat);
  }

  #record(event, details = {}) {
    this.events.push({ event, at: Date.now(), host: this.host, address: this.address, ...details });
  }

  /** Connects to the first of these hosts that opens; undefined is the common name. */
  #connect(hosts = this.#redirects.hosts) {
    const { domain, ca } = this.#parts;
    const named = [];
    const open = (host = domain) => {
      named.push(new NamedSocket({ host, origin: `https://${domain}`, ca }));
      return named.at(-1);
    };
    const socket = this.#socket = openFirst({ hosts, headStartMs: this.#redirects.headStartMs }, { open, clock: browserClock });
    const ifCurrent = (run) => { if (socket === this.#socket && !this.#ended) run(); };
    const timer = setTimeout(() => ifCurrent(() => this.#reconnect()), connectTimeout(this.#resume !== undefined, this.#failures) + this.#redirects.raceMs);
    timer.unref();
    socket.onopen = () => ifCurrent(() => {
      clearTimeout(timer);
      this.#opened(named.find(({ readyState }) => readyState === 1));
    });
    socket.onmessage = ({ data }) => ifCurrent(() => this.#handle(JSON.parse(data)));
    socket.onclose = ({ code }) => ifCurrent(() => this.#closed(code));
  }

  /** @param {NamedSocket} named */
  #opened(named) {
    if (this.#socket.race) this.#redirects.opened(this.#socket.race);
    this.#named = named;
    Object.assign(this, { host: named.host, address: named.address });
    this.#heardAt = Date.now();
    this.#pingedAt = null;
    this.#record('connected');
    this.#sendJoin();
  }

  #sendJoin() {
    const { room, name } = this.#parts;
    this.send({ type: 'join', room, ...(name && { name }), ...(this.#resume && { resume: this.#resume }), ...this.#redirects.proof() });
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

  #joined({ id, peer, resumed, resume, fence, nodes }) {
    this.id = id;
    this.messages = this.messages.slice(-1);
    this.#resume = resume;
    this.#failures = 0;
    this.#redirects.arrived();
    this.#redirects.learn(nodes);
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

  async #follow(message) {
    this.#record('redirect', { url: message.url, fence: message.fence });
    if (!this.#parts.reconnects) return;
    this.#abandonSocket();
    await delay(this.#redirects.follow(message) ?? 0);
    if (!this.#ended && !this.#socket) this.#connect();
  }

  #closed(code) {
    if (this.#ended) return;
    this.#record(this.#named ? 'closed' : 'failed', { code });
    this.#socket = null;
    if (code !== CLOSE_REPLACED) this.#retry();
  }

  /** A box that has stopped answers no ping. The network is not at fault then: the next attempt is at once. */
  #checkSilence() {
    if (this.#socket?.readyState !== 1) return;
    const silence = Date.now() - this.#heardAt;
    if (silence < SILENCE_MS.ping) this.#pingedAt = null;
    else if (this.#pingedAt === null) {
      this.#pingedAt = Date.now();
      this.send({ type: 'ping' });
    }
    if (this.#pingedAt === null || Date.now() - this.#pingedAt < SILENCE_MS.answer) return;
    this.#record('closed', { code: null });
    this.#reconnect();
  }

  #reconnect() {
    this.#abandonSocket();
    this.#redirects.reset();
    this.#connect();
  }

  #abandonSocket() {
    const socket = this.#socket;
    this.#socket = this.#named = null;
    socket?.close();
  }

  async #retry() {
    if (!this.#parts.reconnects) return;
    const wait = reconnectDelay(true, this.#failures, Math.random(), this.#redirects.reset());
    this.#failures += 1;
    this.#named = null;
    await delay(wait);
    if (!this.#ended && !this.#socket) this.#connect();
  }
}
