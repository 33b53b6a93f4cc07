// Session: from the lobby to the end of a call, as one state that the view draws.
//
// It handles the events of signaling and call and decides which screen is shown. It uses no element, no socket and no
// peer connection.

import { Chat } from '../call/chat.js';
import { NO_REPORT } from './call-report.js';
import { displayName } from './display-name.js';
import { initialRemote, initialState, resetConnection, setRemoteMuteState } from './status.js';

/**
 * @import { CallEvent, OutboxMessage, SignalingEvent } from '../types.js'
 * @import { SignalingClient } from '../signaling/client.js'
 * @import { Call } from '../call/call.js'
 * @import { CallReport } from './call-report.js'
 * @import { Clock, Timer } from '../lib/clock.js'
 * @import { ConnectionState, EndReason } from './status.js'
 *
 * @typedef {object} CallEdge
 * @property {(message: OutboxMessage) => void} send
 * @property {(event: CallEvent) => void} emit
 * @property {() => boolean} reachable whether the peer would receive an offer now
 *
 * @typedef {object} SessionParts
 * @property {(emit: (event: SignalingEvent) => void) => SignalingClient} openSignaling
 * @property {(edge: CallEdge) => Call} openCall
 * @property {(send: (message: OutboxMessage) => void) => CallReport} [openReport]
 * @property {Clock} clock
 * @property {() => number} now milliseconds
 * @property {() => void} changed
 * @property {(event: string, detail: unknown) => void} [log]
 */

/** Silence is detected after two seconds and shown after one more. */
const SHOW_SILENCE_MS = 1000;
const CONNECT_TIMEOUT_MS = 30_000;
/** After a connection is lost the peer's network may be down, which the server notices after 45 s. */
const RECONNECT_TIMEOUT_MS = 50_000;
const LAST_CHANCE_MS = 8000;
/** Packets this long after a page was closed mean that it is still open; a page in the background notices silence late. */
const CLOSING_TIMEOUT_MS = 10_000;
/** Errors during a call that the person should see; the others are only logged. */
const VISIBLE_ERRORS = new Set(['bad-message', 'not-joined', 'shutting-down']);

export class Session {
  state = initialState();
  /** The chat of this call; the next call begins with an empty one. @type {Chat} */
  chat;
  /** @type {Call} */
  call;
  /** @type {SignalingClient} */
  #signaling;
  /** @type {CallReport} */
  #report;
  /** @type {Clock} */
  #clock;
  /** @type {() => number} */
  #now;
  /** @type {() => void} */
  #changed;
  /** @type {(event: string, detail: unknown) => void} */
  #log;
  /** @type {{connect?: Timer, closing?: Timer, silence?: Timer}} */
  #timers = {};
  #ownId = '';
  /** @type {string | null} */
  #peerId = null;
  /** A restarted server does not know the peer, which may be about to rejoin. */
  #peerForgotten = false;

  /** @param {SessionParts} parts */
  constructor({ openSignaling, openCall, openReport = () => NO_REPORT, clock, now, changed, log = () => {} }) {
    this.#clock = clock;
    this.#now = now;
    this.#changed = changed;
    this.#log = log;
    this.chat = new Chat({ changed });
    this.#signaling = openSignaling((event) => {
      this.#handleSignaling(event);
      changed();
    });
    this.#report = openReport((message) => this.#signaling.send(message));
    this.call = openCall({
      // A peer without a seat cannot receive messages, though its media may still flow.
      send: (message) => { if (this.state.peer !== 'gone') this.#signaling.send(message); },
      emit: (event) => {
        this.#handleCall(event);
        changed();
      },
      reachable: () => this.state.peer === 'present' && this.state.socketOpen,
    });
  }

  /** Watches how many seats of the room named in the lobby are taken; null stops it. @param {string | null} room */
  peek(room) {
    this.#signaling.peek(room);
  }

  /** @param {string} room @param {{key?: string, name?: string}} [options] */
  join(room, { key, name } = {}) {
    const { state } = this;
    if (state.joining || state.screen === 'waiting' || state.screen === 'call') return;
    Object.assign(state, { room, joining: true, occupancy: null, inviterName: '', error: null, ended: null, triedKey: Boolean(key) });
    if (state.screen === 'ended') state.screen = 'lobby';
    this.#report.start();
    this.#signaling.join(room, { key, name });
    this.#changed();
  }

  leave() {
    const wasAlone = this.state.screen === 'waiting';
    this.#end('youLeft');
    if (wasAlone) this.#showLobby();
    this.#changed();
  }

  returnToLobby() {
    this.#showLobby();
    this.#changed();
  }

  retry() {
    this.state.error = null;
    this.checkConnection();
    if (this.state.peer === 'present') this.#awaitConnection();
    this.#changed();
  }

  /** @param {string | null} code */
  setError(code) {
    this.state.error = code;
    this.#changed();
  }

  /** Checks socket and peer connection at once. @param {boolean} [networkChanged] */
  checkConnection(networkChanged = false) {
    this.#signaling.checkConnection();
    this.call.recoverSoon(networkChanged);
  }

  /** The page is being closed or left. */
  pageClosing() {
    this.#signaling.pageClosing();
  }

  /** @param {SignalingEvent} event */
  #handleSignaling(event) {
    const { state, call } = this;
    switch (event.type) {
      case 'room':
        Object.assign(state, { occupancy: event.seats, inviterName: displayName(event.name) });
        if (event.seats !== null && event.seats < 2 && state.error === 'room-full') state.error = null;
        break;
      case 'resp-join': return this.#joined(event);
      case 'new-peer': return this.#peerJoined(String(event.id), displayName(event.name));
      case 'peer-leave': return event.id === this.#peerId ? this.#peerLeft() : undefined;
      case 'peer-away': return event.id === this.#peerId ? this.#peerAway(event.closing === true) : undefined;
      case 'peer-back':
        if (event.id !== this.#peerId) return;
        Object.assign(state, { peer: 'present', peerClosing: false });
        this.#awaitConnection();
        return call.recoverSoon();
      case 'ice-servers': return call.setIceServers(event.iceServers);
      case 'offer':
      case 'answer':
      case 'candidate': return void call.handle(event);
      case 'socket': return this.#socketChanged(event.open);
      case 'error':
        this.#log(`server: ${event.code}`, event.message);
        if (VISIBLE_ERRORS.has(event.code)) state.error = event.code;
        break;
      case 'refused': return this.#refused(event.code);
      case 'replaced': return this.#end('replaced');
    }
  }

  /** @param {CallEvent} event */
  #handleCall(event) {
    const { state } = this;
    switch (event.type) {
      case 'connection-state': return this.#connectionChanged(event.state);
      case 'verification': return void (state.verification = event.verification);
      case 'remote-stream': return void (state.remote.stream = event.stream);
      case 'mute-state': return setRemoteMuteState(state, event);
      case 'outgoing-video': return void (state.outgoingVideo = event.state);
      case 'liveness':
        // The socket may be dead together with the path, and recovery needs it.
        if (event.state === 'delayed') this.#signaling.checkConnection();
        return this.#setSilent(event.state === 'silent');
      case 'no-common-codec': return void (state.missingCodec = event.kind);
      case 'no-candidates': return void (state.noCandidates = true);
      case 'unsupported':
        // Failing to create a second connection does not end a call whose first one still works.
        if (this.call.isConnected()) return;
        this.#signaling.leave();
        return this.#refused('no-webrtc');
      case 'chat-channel': return this.chat.setChannel(event.channel, event.peer);
      case 'path-avoided': return void (state.pathAvoided = true);
      case 'hang-up': return this.#end('theyLeft');
      case 'error': return this.#log('call', event.error);
    }
  }

  /** @param {boolean} open */
  #socketChanged(open) {
    const { state } = this;
    state.socketOpen = open;
    if (open && ['shutting-down', 'unreachable'].includes(String(state.error))) state.error = null;
    if (!open && state.joining && state.error === null) state.error = 'unreachable';
  }

  /** @param {Extract<SignalingEvent, {type: 'resp-join'}>} message */
  #joined({ id, peer, peerName, iceServers }) {
    const { state, call } = this;
    Object.assign(state, { joining: false, error: null, needsKey: false });
    call.setIceServers(iceServers);
    const peerId = typeof peer === 'string' ? peer : null;
    this.#ownId = id;
    if (peerId === null && (call.isConnected() || (state.connectedAt !== null && call.connection()))) return this.#keepWithoutPeer();
    this.#setPeer(peerId, displayName(peerName));
    if (peerId !== null && state.connectedAt === null) this.#report.peerPresent();
    call.setPeer(id, peerId, true);
    this.#showRoom();
  }

  /** A restarted server reports an empty room: the peer gets time to rejoin as well. */
  #keepWithoutPeer() {
    this.state.peer = 'gone';
    this.#peerForgotten = true;
    if (!this.call.isConnected()) this.#giveLastChance(() => this.#waitForPeer());
  }

  #waitForPeer() {
    this.call.hangUp();
    this.#setPeer(null);
    this.#showRoom();
  }

  /** @param {string} id @param {string} name */
  #peerJoined(id, name) {
    this.#setPeer(id, name);
    if (this.state.connectedAt === null) {
      this.#report.start();
      this.#report.peerPresent();
    }
    this.call.setPeer(this.#ownId, id, false);
    this.#showRoom();
  }

  /** @param {string | null} id @param {string} [name] */
  #setPeer(id, name = '') {
    this.#peerId = id;
    Object.assign(this.state, { peer: id === null ? 'none' : 'present', peerName: name, peerClosing: false });
    this.#peerForgotten = false;
  }

  #showRoom() {
    const alone = this.state.peer === 'none';
    this.state.screen = alone ? 'waiting' : 'call';
    if (alone) this.#resetCall();
    else this.#awaitConnection();
  }

  /** Sets `timedOut` unless the call connects in time. */
  #awaitConnection() {
    this.#clock.cancel(this.#timers.connect);
    this.state.timedOut = false;
    if (this.call.isConnected()) return;
    this.#timers.connect = this.#clock.after(() => {
      this.state.timedOut = true;
      this.#changed();
    }, this.state.connectedAt === null ? CONNECT_TIMEOUT_MS : RECONNECT_TIMEOUT_MS);
  }

  /** @param {boolean} closing */
  #peerAway(closing) {
    this.state.peer = 'away';
    if (!closing) return;
    this.state.peerClosing = true;
    this.#clock.cancel(this.#timers.closing);
    this.#timers.closing = this.#clock.after(() => {
      // A peer with everything muted sends no packets that could prove its page open.
      const { silent, remote: { mic, cam, screen } } = this.state;
      if (this.call.isConnected() && !silent && (mic || cam || screen)) this.state.peerClosing = false;
      this.#changed();
    }, CLOSING_TIMEOUT_MS);
  }

  /** The peer left, or its seat expired while media may still flow. */
  #peerLeft() {
    const { state } = this;
    const expired = state.peer === 'away' && !state.peerClosing;
    if (expired && this.call.isConnected()) state.peer = 'gone';
    else if (state.connectedAt !== null) this.#end(expired ? 'theyDropped' : state.peerClosing ? 'theyClosed' : 'theyLeft');
    else this.#waitForPeer();
  }

  /** @param {boolean} silent */
  #setSilent(silent) {
    this.#clock.cancel(this.#timers.silence);
    this.state.silent = false;
    if (!silent) return;
    this.#timers.silence = this.#clock.after(() => {
      this.state.silent = true;
      this.#changed();
    }, SHOW_SILENCE_MS);
  }

  /** @param {ConnectionState} connectionState */
  #connectionChanged(connectionState) {
    const { state } = this;
    const before = state.connectionState;
    state.connectionState = connectionState;
    if (connectionState === 'new' || connectionState === 'none') {
      resetConnection(state, before);
      this.#setSilent(false);
    }
    if (connectionState === 'connected') {
      this.#clock.cancel(this.#timers.connect);
      Object.assign(state, { timedOut: false, noCandidates: false });
      state.connectedAt ??= this.#now();
      this.#report.connected();
    } else if (before === 'connected' && connectionState !== 'none') {
      this.#connectionLost();
    }
  }

  #connectionLost() {
    // The socket may be lost together with the path, and recovery needs it.
    this.#signaling.checkConnection();
    // An ICE restart allocates relay addresses again, and the credentials may have expired.
    this.#signaling.requestIceServers();
    const reason = this.state.detached ? 'weDropped' : this.state.peer === 'gone' ? 'theyDropped' : null;
    if (reason === null) return this.#awaitConnection();
    this.#giveLastChance(this.#peerForgotten && reason === 'theyDropped' ? () => this.#waitForPeer() : () => this.#end(reason));
  }

  /** Without signaling only the connection itself can recover. @param {() => void} giveUp */
  #giveLastChance(giveUp) {
    this.#clock.cancel(this.#timers.connect);
    this.#timers.connect = this.#clock.after(() => {
      giveUp();
      this.#changed();
    }, LAST_CHANCE_MS);
  }

  /** @param {string} code */
  #refused(code) {
    const { state, call } = this;
    Object.assign(state, { joining: false, error: null, socketOpen: false });
    // A refused rejoin does not end a call whose media still flows.
    if (call.isConnected()) return void (state.detached = true);
    if (state.connectedAt !== null) return this.#end('weDropped');
    state.error = code;
    state.needsKey = code === 'key-required';
    call.hangUp();
    this.#setPeer(null);
    state.screen = 'lobby';
  }

  /** @param {EndReason} reason */
  #end(reason) {
    const { connectedAt } = this.state;
    const seconds = connectedAt === null ? null : (this.#now() - connectedAt) / 1000;
    // The last report needs the statistics and the socket.
    this.#report.stop();
    this.call.hangUp(reason === 'youLeft');
    if (reason !== 'replaced') this.#signaling.leave();
    this.#setPeer(null);
    this.#resetCall();
    Object.assign(this.state, { screen: 'ended', joining: false, socketOpen: false, ended: { reason, seconds }, error: null });
  }

  #showLobby() {
    Object.assign(this.state, { screen: 'lobby', ended: null, error: null, needsKey: false });
  }

  #resetCall() {
    this.#clock.cancel(this.#timers.connect);
    this.#clock.cancel(this.#timers.closing);
    this.#report.stop();
    this.chat.clear();
    Object.assign(this.state, { connectedAt: null, timedOut: false, detached: false, pathAvoided: false, outgoingVideo: 'full', remote: initialRemote() });
  }
}
