// Signaling client: one seat's conversation with the server over one socket at a time; transport.js opens it.
//
// A lost socket is replaced and the seat resumed with the token; messages wait in an
// outbox meanwhile. Beside a socket that is late another one is opened, and the first that works is used. Offers, answers
// and candidates are not inspected. In the lobby, and while we wait to be let in, it asks how many seats of a room are
// taken (our own not counted), and the same socket is used to join.

import {
  BACKOFF_MAX_MS, connectTimeout, FRESH_SOCKET_MS, PEEK, RECONNECT_TIMEOUT_MS, reconnectDelay, triesFresh, WAITED_REJOIN_MS,
} from './backoff.js';
import { Heartbeat } from './heartbeat.js';
import { JoinErrors } from './join-errors.js';
import { CLOSE_REJECTED, CLOSE_REPLACED, FEATURES, parseMessage } from './protocol.js';
import { Redirects } from './redirect.js';
import { openFirst } from './socket-race.js';
import { postAtClose } from './transport.js';

/**
 * @import { ClientMessage, JoinOptions, OutboxMessage, Seat, ServerMessage, SignalingEvent } from '../types.js'
 * @import { Clock, Timer } from '../lib/clock.js'
 * @import { ResumeTokens } from './resume-token.js'
 * @import { Socket } from './transport.js'
 */

const OUTBOX_LIMIT = 256;

/**
 * @typedef {object} SignalingParts
 * @property {(host?: string) => Socket} open connects to the page's own host, or to this one
 * @property {(event: SignalingEvent) => void} emit
 * @property {ResumeTokens} resumeTokens
 * @property {Clock} clock
 * @property {() => number} [random]
 * @property {(url: string, body: string) => void} [beacon]
 * @property {() => string} [hostname] of the page
 */

export class SignalingClient {
  /** @type {Required<SignalingParts>} */
  #parts;
  /** The seat we want or have. @type {Seat | null} */
  #seat = null;
  #joinErrors = new JoinErrors();
  #redirects;
  /** The room named in the lobby. @type {string | null} */
  #peeked = null;
  /** @type {Socket | null} */
  #socket = null;
  /** Opened beside a socket that is late to answer. @type {Socket | null} */
  #spare = null;
  #heartbeat;
  #joined = false;
  /** Whether this socket waits to be let in. */
  #waiting = false;
  /** Whether another tab has a seat in the room named in the lobby. */
  #elsewhere = false;
  /** Peeks count against the rate limit of this socket. */
  #hasPeeked = false;
  #failures = 0;
  /** @type {OutboxMessage[]} */
  #outbox = [];
  /** @type {{reconnect?: Timer, timeout?: Timer, spare?: Timer, peek?: Timer}} */
  #timers = {};

  /** @param {SignalingParts} parts */
  constructor(parts) {
    this.#parts = { random: Math.random, beacon: postAtClose, hostname: () => location.hostname, ...parts };
    this.#redirects = new Redirects(this.#parts.hostname);
    const ping = () => this.#write({ type: 'ping' });
    this.#heartbeat = new Heartbeat({ clock: parts.clock, ping, suspected: () => { if (!this.#spare) this.#openSpare(); }, lost: () => this.#lost() });
  }

  /** @param {string} room @param {JoinOptions} [options] */
  join(room, options = {}) {
    const reuse = !this.#seat && this.#socket?.readyState === 1;
    if (!reuse) this.#stop();
    this.#clear('peek');
    this.#peeked = null;
    this.#failures = 0;
    this.#joinErrors.reset();
    this.#seat = { room, ...options };
    this.#redirects.learn(this.#parts.resumeTokens.nodes(room));
    if (!reuse) return this.#connect();
    this.#set('timeout', RECONNECT_TIMEOUT_MS, () => this.#drop());
    this.#sendJoin();
  }

  /**
   * Asks in the lobby how many seats of a room are taken, until a join or `null`. Answers are `room` events; the first
   * has `seats: null`, while nothing is known of a new name.
   * @param {string | null} room
   */
  peek(room) {
    if (this.#seat || this.#peeked === room) return;
    if (room === null) return this.#stop();
    this.#set('peek', this.#peeked === null ? PEEK.firstMs : PEEK.changedMs, () => this.#sendPeek());
    this.#peeked = room;
    this.#elsewhere = false;
    this.#redirects.learn(this.#parts.resumeTokens.nodes(room));
    this.#parts.emit({ type: 'room', room, seats: null });
    this.#checkElsewhere();
  }

  /** Waits in the outbox while the socket is down. @param {OutboxMessage} message */
  send(message) {
    if (this.#joined && !this.#spare) return this.#write(message);
    if (this.#seat && this.#outbox.length < OUTBOX_LIMIT) this.#outbox.push(message);
  }

  /** What only a seat may ask for; lost while the socket is down. @param {Extract<ClientMessage, {type: 'admit' | 'decline' | 'transfer' | 'ice-servers'}>} message */
  request(message) {
    if (this.#joined) this.#write(message);
  }

  leave() {
    const room = this.#seat?.room;
    const socket = this.#joined ? this.#socket : null;
    if (room) this.#parts.resumeTokens.release(room);
    this.#write({ type: 'leave' });
    this.#stop();
    if (!room || !socket) return;
    // A clean close confirms that the server received `leave`. Otherwise it may keep the seat, and the token resumes it.
    socket.onclose = ({ wasClean }) => { if (wasClean && this.#seat?.room !== room) this.#parts.resumeTokens.forget(room); };
  }

  /**
   * The network or the machine came back: connects or pings at once.
   * @param {boolean} [isSuspect] media has lost its path, with which the socket often is dead: another one is opened beside it at once
   */
  checkConnection(isSuspect = false) {
    if (!this.#seat) return;
    if (!this.#socket) return this.#connect();
    if (this.#joined || this.#waiting) this.#heartbeat.check();
    if (isSuspect && this.#joined && !this.#spare) this.#openSpare();
  }

  /** The page is being closed or left. The server notices that an open WebSocket closes; otherwise it gets a beacon. */
  pageClosing() {
    this.#socket?.pageClosing?.();
    if (this.#seat?.resume && !this.#joined && !this.#waiting) this.#parts.beacon(this.#redirects.host ? `https://${this.#redirects.host}/leave` : '/leave', this.#seat.resume);
  }

  /** @param {'reconnect' | 'timeout' | 'spare' | 'peek'} name @param {number} ms @param {() => void} run */
  #set(name, ms, run) {
    this.#clear(name);
    this.#timers[name] = this.#parts.clock.after(run, ms);
  }

  /** @param {('reconnect' | 'timeout' | 'spare' | 'peek')[]} names */
  #clear(...names) {
    for (const name of names) this.#parts.clock.cancel(this.#timers[name]);
  }

  /** @param {Socket} [socket] */
  #connect(socket = openFirst(this.#redirects, this.#parts)) {
    this.#clear('reconnect');
    this.#hasPeeked = false;
    this.#socket = socket;
    const isCurrent = () => socket === this.#socket;
    socket.onopen = () => { if (isCurrent()) this.#opened(); };
    socket.onmessage = ({ data }) => { if (isCurrent()) this.#handle(data); };
    socket.onclose = ({ code }) => { if (isCurrent()) this.#closed(code); };
    socket.onupgrade = () => { if (isCurrent() && this.#joined) this.#openSpare(); };
    this.#set('timeout', connectTimeout(Boolean(this.#seat?.id), this.#failures) + this.#redirects.raceMs, () => this.#lost());
    this.#scheduleSpare();
  }

  #opened() {
    this.#discardSpare();
    if (this.#socket?.race) this.#redirects.opened(this.#socket.race);
    if (!this.#seat) return this.#sendPeek();
    if (!this.#seat.waited) return this.#sendJoin();
    // A restarted server has empty rooms: a client that waits must not take the seats of those who were in the call.
    this.#clear('timeout');
    this.#set('reconnect', WAITED_REJOIN_MS, () => this.#sendJoin());
  }

  async #sendJoin() {
    const [socket, seat] = [this.#socket, this.#seat];
    if (!seat) return;
    const saved = await this.#savedToken(seat);
    if (seat !== this.#seat || socket !== this.#socket) return;
    const resume = seat.resume = saved?.token;
    const { room, name, key = saved?.key } = seat;
    seat.key = key;
    // A call whose seat is lost goes on without one: it must not wait for another.
    const wait = !seat.id;
    this.#write({ type: 'join', room, features: FEATURES, ...this.#redirects.proof(), ...(resume && { resume }), ...(key && { key }), ...(name && { name }), ...(wait && { wait }) });
    this.#heartbeat.start();
  }

  /** The token to join with. @param {Seat} seat @returns {Promise<{token: string, key?: string} | undefined>} */
  async #savedToken({ room, transfer, takeOver }) {
    if (transfer) return { token: transfer };
    return takeOver ? this.#parts.resumeTokens.takeOver(room) : this.#parts.resumeTokens.take(room);
  }

  /** The room that is looked at. */
  #lookedAt() {
    return this.#seat && !this.#waiting ? null : this.#seat?.room ?? this.#peeked;
  }

  /** Repeats, since participants may join or leave meanwhile. */
  async #sendPeek() {
    const room = this.#lookedAt();
    if (room === null) return;
    if (!this.#socket) return this.#connect();
    const socket = this.#socket;
    this.#checkElsewhere();
    const resume = this.#seat ? undefined : await this.#parts.resumeTokens.peek(room);
    if (room !== this.#lookedAt() || socket !== this.#socket || socket.readyState !== 1) return;
    this.#hasPeeked = true;
    this.#write({ type: 'look', room, ...(resume && { resume }) });
    this.#set('timeout', PEEK.timeoutMs, () => this.#drop());
    this.#set('peek', PEEK.intervalMs, () => this.#sendPeek());
  }

  async #checkElsewhere() {
    const room = this.#peeked;
    if (room === null) return;
    const elsewhere = await this.#parts.resumeTokens.isElsewhere(room);
    if (room !== this.#peeked || elsewhere === this.#elsewhere) return;
    this.#elsewhere = elsewhere;
    this.#parts.emit({ type: 'elsewhere', room, elsewhere });
  }

  /** @param {ClientMessage} message */
  #write(message) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(message));
  }

  /** @param {unknown} data */
  #handle(data) {
    this.#clear('timeout');
    this.#heartbeat.heard();
    this.#discardSpare();
    const message = parseMessage(data);
    if (!message || message.type === 'pong') return;
    if (message.type === 'ping') return this.#write({ type: 'pong' });
    if (message.type === 'redirect') return this.#redirected(message);
    if (['resp-join', 'waiting', 'room'].includes(message.type)) this.#redirects.arrived();
    if (!this.#seat) return this.#handleInLobby(message);
    if (message.type === 'resp-join') return this.#handleJoined(message);
    if (message.type === 'waiting') return this.#handleWaiting(message);
    if (message.type === 'error') return this.#handleError(message);
    if (message.type === 'new-peer' || message.type === 'peer-leave') this.#heartbeat.setInCall(message.type === 'new-peer');
    this.#parts.emit(message);
  }

  /** @param {Exclude<ServerMessage, {type: 'ping' | 'pong' | 'redirect'}>} message */
  #handleInLobby(message) {
    if (message.type === 'error' && message.code === 'rate-limited') this.#set('peek', PEEK.limitedMs, () => this.#sendPeek());
    if (message.type === 'room' && message.room === this.#peeked) this.#parts.emit(message);
  }

  /** @param {Extract<ServerMessage, {type: 'resp-join'}>} message */
  #handleJoined(message) {
    const seat = this.#seat;
    if (!seat || typeof message.id !== 'string') return;
    // Another id is another seat: the waiting messages belong to the old one.
    if (seat.id !== message.id) this.#outbox = [];
    seat.id = message.id;
    this.#joined = true;
    this.#waiting = seat.waited = seat.takeOver = false;
    this.#failures = 0;
    this.#joinErrors.reset();
    // A transfer token is used up; the lobby's and the waiting room's questions end.
    delete seat.transfer;
    this.#clear('peek');
    seat.resume = message.resume;
    this.#redirects.learn(message.nodes);
    if (typeof message.resume === 'string') this.#parts.resumeTokens.save(seat.room, message.resume, { key: seat.key, nodes: this.#redirects.nodes });
    this.#heartbeat.setInCall(typeof message.peer === 'string');
    this.#parts.emit({ type: 'socket', open: true });
    this.#parts.emit(message);
    for (const each of this.#outbox.splice(0)) this.#write(each);
  }

  /** @param {Extract<ServerMessage, {type: 'waiting'}>} message */
  #handleWaiting({ position }) {
    const seat = this.#seat;
    if (!seat || seat.id) return;
    const isNew = !this.#waiting;
    this.#waiting = seat.waited = true;
    this.#failures = 0;
    if (isNew) this.#parts.emit({ type: 'socket', open: true });
    this.#parts.emit({ type: 'waiting', position: Number.isSafeInteger(position) && position > 0 ? position : 1 });
    if (isNew) this.#sendPeek();
  }

  /** @param {Extract<ServerMessage, {type: 'error'}>} message */
  #handleError(message) {
    const [{ resumeTokens, emit }, seat] = [this.#parts, this.#seat];
    const code = String(message.code);
    const reaction = this.#joinErrors.react({ ...message, code }, { seat, joined: this.#joined, waiting: this.#waiting, hasPeeked: this.#hasPeeked, isElsewhere: this.#redirects.isElsewhere });
    if (reaction === 'look-later') return this.#set('peek', PEEK.limitedMs, () => this.#sendPeek());
    if (reaction === 'bad-token' && seat?.transfer) return this.#stop({ type: 'refused', code: 'transfer-expired' });
    if (reaction === 'final') {
      if (seat) resumeTokens.release(seat.room);
      return this.#stop({ type: 'refused', code });
    }
    if (reaction !== 'without-token') emit(message);
    if (reaction === 'retry') return this.#drop(true);
    if (reaction === 'show' || !seat) return;
    if (reaction === 'bad-token') seat.takeOver = false;
    resumeTokens.forget(seat.room);
    this.#sendJoin();
  }

  /** Another server has the room; this one closes the socket. @param {Extract<ServerMessage, {type: 'redirect'}>} message */
  #redirected(message) {
    const pause = this.#redirects.follow(message);
    if (pause === null) return this.#drop(true);
    const [socket, wasJoined] = [this.#socket, this.#joined];
    this.#resetSocket();
    socket?.close();
    if (wasJoined) this.#parts.emit({ type: 'socket', open: false });
    this.#set('reconnect', pause, () => this.#connect());
  }

  /** @param {number} code @param {boolean} [rejected] the server answered but does not accept connections now */
  #closed(code, rejected = CLOSE_REJECTED.has(code)) {
    this.#resetSocket();
    const [seat, wasElsewhere] = [this.#seat, this.#redirects.reset()];
    if (!seat) return void (this.#peeked && this.#set('peek', wasElsewhere ? PEEK.intervalMs : BACKOFF_MAX_MS, () => this.#sendPeek()));
    if (code === CLOSE_REPLACED) {
      this.#parts.resumeTokens.forget(seat.room);
      return this.#stop({ type: 'replaced' });
    }
    this.#parts.emit({ type: 'socket', open: false });
    const resuming = Boolean(seat.id || seat.waited) && !rejected;
    this.#set('reconnect', reconnectDelay(resuming, this.#failures, this.#parts.random(), wasElsewhere), () => this.#connect());
    this.#failures += 1;
  }

  /** A socket that was opened while the network was down opens late, or never. */
  #scheduleSpare() {
    if (triesFresh(Boolean(this.#seat?.id), this.#failures)) this.#set('spare', FRESH_SOCKET_MS + this.#redirects.raceMs, () => this.#openSpare());
  }

  /** The socket is late to answer or to open. Where we have no seat another one would lose the place in front of the room. */
  #openSpare() {
    if (this.#waiting || !this.#seat?.id) return;
    this.#discardSpare();
    const spare = this.#spare = openFirst(this.#redirects, this.#parts);
    spare.onopen = () => {
      this.#lost();
      if (this.#socket === spare) this.#opened();
    };
    spare.onclose = () => { if (this.#spare === spare) this.#spare = null; };
    if (!this.#joined) this.#scheduleSpare();
  }

  /** The socket has answered after all, or is not needed. */
  #discardSpare() {
    this.#clear('spare');
    if (!this.#spare) return;
    this.#spare.onopen = null;
    this.#spare.close();
    this.#spare = null;
    if (this.#joined) for (const each of this.#outbox.splice(0)) this.#write(each);
  }

  /** The socket does not answer, or another one beside it is open. */
  #lost() {
    const wasAnswered = this.#joined || this.#waiting;
    const spare = this.#spare ?? undefined;
    this.#spare = null;
    this.#drop();
    // The network is at fault and not the server: there is no reason to back off.
    if (wasAnswered || spare) this.#connect(spare);
  }

  #drop(rejected = false) {
    const socket = this.#socket;
    this.#closed(1006, rejected);
    socket?.close();
  }

  #resetSocket() {
    this.#socket = null;
    this.#joined = this.#waiting = false;
    this.#clear('timeout');
    this.#heartbeat.stop();
    this.#discardSpare();
  }

  /** @param {SignalingEvent} [lastEvent] */
  #stop(lastEvent) {
    const socket = this.#socket;
    this.#seat = this.#peeked = null;
    this.#outbox = [];
    this.#resetSocket();
    this.#redirects.forget();
    this.#clear('reconnect', 'peek');
    socket?.close(1000);
    if (lastEvent) this.#parts.emit(lastEvent);
  }
}
