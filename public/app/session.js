// Session: from the lobby to the end of a call, as one state that the view draws.
//
// It handles the events of signaling and call and decides which screen is shown. It uses no element, no socket and no
// peer connection.

import { Chat } from '../call/chat.js';
import { NO_REPORT } from './call-report.js';
import { ConnectionDeadline } from './connection-deadline.js';
import { displayName } from './display-name.js';
import { withAnswer, withKnock, withoutAnswers } from './knocks.js';
import { PeerPresence } from './peer-presence.js';
import { initialRemote, initialState, resetConnection, setRemoteMuteState } from './status.js';
import { Transfer } from './transfer.js';
import { knowsChannels } from '../signaling/protocol.js';

/**
 * @import { CallEvent, JoinOptions, OutboxMessage, SignalingEvent } from '../types.js'
 * @import { SignalingClient } from '../signaling/client.js'
 * @import { Call, CallParts } from '../call/call.js'
 * @import { CallReport } from './call-report.js'
 * @import { Clock } from '../lib/clock.js'
 * @import { ConnectionState, EndReason } from './status.js'
 *
 * @typedef {Required<Pick<CallParts, 'send' | 'emit' | 'reachable'>>} CallEdge
 *
 * @typedef {object} SessionParts
 * @property {(emit: (event: SignalingEvent) => void) => SignalingClient} openSignaling
 * @property {(send: (message: OutboxMessage) => void) => CallReport} [openReport]
 * @property {Clock} clock
 * @property {() => number} now milliseconds
 * @property {() => void} changed
 * @property {(event: string, detail: unknown) => void} [log]
 */

const HANDLED_BY_CALL = new Set(['offer', 'answer', 'candidate']);
/** Errors during a call that the person should see; the others are only logged. */
const VISIBLE_ERRORS = new Set(['bad-message', 'not-joined', 'shutting-down']);

export class Session {
  state = initialState();
  /** The chat of this call; the next call begins with an empty one. @type {Chat} */
  chat;
  /** Null until `openCall`. @type {Call | null} */
  call = null;
  /** The code that moves the call to another device. @type {Transfer} */
  transfer;
  #signaling;
  #report;
  #now;
  #changed;
  #log;
  #presence;
  #deadline;
  #ownId = '';
  #peerId = /** @type {string | null} */ (null);
  /** A restarted server does not know the peer, which may be about to rejoin. */
  #peerForgotten = false;

  /** @param {SessionParts} parts */
  constructor({ openSignaling, openReport = () => NO_REPORT, clock, now, changed, log = () => {} }) {
    this.#now = now;
    this.#changed = changed;
    this.#log = log;
    this.chat = new Chat({ changed });
    this.transfer = new Transfer({ clock, now, changed });
    this.#deadline = new ConnectionDeadline({ clock, changed });
    this.#presence = new PeerPresence({ state: this.state, isConnected: () => this.call?.isConnected() ?? false, clock, changed });
    this.#signaling = openSignaling((event) => {
      this.#handleSignaling(event);
      if (!HANDLED_BY_CALL.has(event.type)) changed();
    });
    this.#report = openReport((message) => this.#signaling.send(message));
  }

  /** Before the first join: the lobby does without a call. @param {(edge: CallEdge) => Call} createCall */
  openCall(createCall) {
    this.call = createCall({
      // A peer without a seat cannot receive messages, though its media may still flow.
      send: (message) => { if (this.state.peer !== 'gone') this.#signaling.send(message); },
      emit: (event) => {
        this.#handleCall(event);
        this.#changed();
      },
      reachable: () => this.state.peer === 'present' && this.state.socketOpen,
    });
  }

  /** Watches how many seats of the room named in the lobby are taken; null stops it. @param {string | null} room */
  peek(room) {
    this.#signaling.peek(room);
  }

  /** @param {string} room @param {JoinOptions} [options] */
  join(room, options = {}) {
    const { state } = this;
    // Who waits in front of the room may still open it with the host key.
    const mayJoin = ['lobby', 'ended'].includes(state.screen) || (state.screen === 'knocking' && options.key);
    if (state.joining || !mayJoin) return;
    Object.assign(state, { room, joining: true, occupancy: null, inviterName: '', elsewhere: false, error: null, ended: null, triedKey: Boolean(options.key) });
    if (state.screen === 'ended') state.screen = 'lobby';
    this.#report.start();
    this.#signaling.join(room, options);
    this.call?.prepare();
    this.#changed();
  }

  leave() {
    const wasAlone = ['waiting', 'knocking'].includes(this.state.screen);
    this.#end('youLeft');
    if (wasAlone) this.#showLobby();
    this.#changed();
  }

  /** Lets somebody in who waits, where a seat is free, or does not. @param {string} id of the knock @param {boolean} admit */
  answerKnock(id, admit) {
    const knock = this.state.knocks.find((each) => each.id === id);
    if (!knock || knock.answered || !this.state.socketOpen || (admit && this.state.peer !== 'none')) return;
    this.state.knocks = withAnswer(this.state.knocks, id);
    this.#signaling.request({ type: admit ? 'admit' : 'decline', id });
    this.#changed();
  }

  /** Asks for a code with which another device takes our seat. */
  requestTransfer() {
    this.transfer.request(this.state.socketOpen);
    this.#signaling.request({ type: 'transfer' });
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
    this.call?.recoverSoon(networkChanged);
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
        if (event.seats === null) state.elsewhere = false;
        if (event.seats !== null && event.seats < 2 && state.error === 'room-full') state.error = null;
        break;
      case 'elsewhere': return void (state.elsewhere = event.elsewhere);
      case 'waiting': return this.#waits(event.position);
      case 'knock': return void (state.knocks = withKnock(state.knocks, event));
      case 'transfer': return this.transfer.received(event);
      case 'resp-join': return this.#joined(event);
      case 'new-peer': return this.#peerJoined(event);
      case 'peer-leave': return event.id === this.#peerId ? this.#peerLeft() : undefined;
      case 'peer-away': return event.id === this.#peerId ? this.#presence.away(event.closing === true) : undefined;
      case 'peer-back':
        if (event.id !== this.#peerId) return;
        this.#presence.back();
        state.peerName = displayName(event.name);
        this.#awaitConnection();
        return call?.recoverSoon();
      case 'ice-servers': return call?.setIceServers(event.iceServers);
      case 'offer':
      case 'answer':
      case 'candidate': return void call?.handle(event);
      case 'socket': return this.#socketChanged(event.open);
      case 'error':
        this.#log(`server: ${event.code}`, event.message);
        state.knocks = withoutAnswers(state.knocks, event.code);
        this.transfer.refused();
        if (VISIBLE_ERRORS.has(event.code)) state.error = event.code;
        if (event.code === 'try-later' && event.retry && state.joining) state.error = 'no-server-yet';
        break;
      case 'refused': return this.#refused(event.code);
      case 'replaced': return this.#end(this.transfer.isUsable() ? 'moved' : 'replaced');
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
        return this.#presence.heard(event.state);
      case 'no-common-codec': return void (state.missingCodec = event.kind);
      case 'no-candidates': return void (state.noCandidates = true);
      case 'unsupported':
        // Failing to create a second connection does not end a call whose first one still works.
        if (this.call?.isConnected()) return;
        this.#signaling.leave();
        return this.#refused('no-webrtc');
      case 'chat-channel': return this.chat.setChannel(event.channel, event.peer);
      case 'path-avoided': return void (state.pathAvoided = true);
      case 'hang-up': return this.#endOrWait('theyLeft');
      case 'error': return this.#log('call', event.error);
    }
  }

  /** @param {boolean} open */
  #socketChanged(open) {
    const { state } = this;
    state.socketOpen = open;
    if (!open) this.transfer.refused();
    if (open && ['shutting-down', 'unreachable', 'no-server-yet'].includes(String(state.error))) state.error = null;
    if (!open && state.joining && state.error === null) state.error = 'unreachable';
  }

  /** @param {Extract<SignalingEvent, {type: 'resp-join'}>} message */
  #joined({ id, peer, peerName, peerFeatures, iceServers }) {
    const { state, call } = this;
    // The time in front of the room is none of the call's.
    if (state.screen === 'knocking') this.#report.start();
    // The server tells again who waits.
    Object.assign(state, { joining: false, error: null, needsKey: false, knocks: [] });
    call?.setIceServers(iceServers);
    const peerId = typeof peer === 'string' ? peer : null;
    this.#ownId = id;
    if (peerId === null && (call?.isConnected() || (state.connectedAt !== null && call?.connection()))) return this.#keepWithoutPeer();
    this.#setPeer(peerId, displayName(peerName));
    if (peerId !== null && state.connectedAt === null) this.#report.peerPresent();
    call?.setPeer(id, peerId, true, knowsChannels(peerFeatures));
    this.#showRoom();
  }

  /** @param {number} position */
  #waits(position) {
    this.#report.stop();
    Object.assign(this.state, { screen: 'knocking', joining: false, error: null, needsKey: false, position });
  }

  /** A restarted server reports an empty room: the peer gets time to rejoin as well. */
  #keepWithoutPeer() {
    this.state.peer = 'gone';
    this.#peerForgotten = true;
    if (!this.call?.isConnected()) this.#deadline.giveLastChance(() => this.#waitForPeer());
  }

  #waitForPeer() {
    this.call?.waitForPeer();
    this.#setPeer(null);
    this.#showRoom();
  }

  /** @param {Extract<SignalingEvent, {type: 'new-peer'}>} event */
  #peerJoined({ id, name, features }) {
    this.#setPeer(String(id), displayName(name));
    if (this.state.connectedAt === null) {
      this.#report.start();
      this.#report.peerPresent();
    }
    this.call?.setPeer(this.#ownId, String(id), false, knowsChannels(features));
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
    this.#deadline.cancel();
    this.state.timedOut = false;
    if (!this.call?.isConnected()) this.#deadline.await(this.state.connectedAt !== null, () => { this.state.timedOut = true; });
  }

  /** The peer left, or its seat expired while media may still flow. */
  #peerLeft() {
    const { state } = this;
    const expired = state.peer === 'away' && !state.peerClosing;
    if (expired && this.call?.isConnected()) state.peer = 'gone';
    else if (state.connectedAt !== null) this.#endOrWait(expired ? 'theyDropped' : state.peerClosing ? 'theyClosed' : 'theyLeft');
    else this.#waitForPeer();
  }

  /** The call ends; where somebody waits in front of the room, we stay and can let them in. @param {EndReason} reason */
  #endOrWait(reason) {
    if (this.state.knocks.length) this.#waitForPeer();
    else this.#end(reason);
  }

  /** @param {ConnectionState} connectionState */
  #connectionChanged(connectionState) {
    const { state } = this;
    const before = state.connectionState;
    state.connectionState = connectionState;
    if (connectionState === 'new' || connectionState === 'none') {
      resetConnection(state, before);
      this.#presence.heard('alive');
    }
    if (connectionState === 'connected') {
      this.#deadline.cancel();
      Object.assign(state, { timedOut: false, noCandidates: false });
      state.connectedAt ??= this.#now();
      this.#report.connected();
    } else if (before === 'connected' && connectionState !== 'none') {
      this.#connectionLost();
    }
  }

  #connectionLost() {
    // The socket may be lost together with the path, and recovery needs it.
    this.#signaling.checkConnection(true);
    // An ICE restart allocates relay addresses again, and the credentials may have expired.
    this.#signaling.request({ type: 'ice-servers' });
    const reason = this.state.detached ? 'weDropped' : this.state.peer === 'gone' ? 'theyDropped' : null;
    if (reason === null) return this.#awaitConnection();
    const giveUp = () => (reason === 'weDropped' ? this.#end(reason) : this.#endOrWait(reason));
    this.#deadline.giveLastChance(this.#peerForgotten && reason === 'theyDropped' ? () => this.#waitForPeer() : giveUp);
  }

  /** @param {string} code */
  #refused(code) {
    const { state, call } = this;
    Object.assign(state, { joining: false, error: null, socketOpen: false, knocks: [] });
    // A refused rejoin does not end a call whose media still flows.
    if (call?.isConnected()) return void (state.detached = true);
    if (state.connectedAt !== null) return this.#end('weDropped');
    state.error = code;
    state.needsKey = code === 'key-required';
    call?.hangUp();
    this.#setPeer(null);
    state.screen = 'lobby';
  }

  /** @param {EndReason} reason */
  #end(reason) {
    const { connectedAt, peerName: name } = this.state;
    const seconds = connectedAt === null ? null : (this.#now() - connectedAt) / 1000;
    // The last report needs the statistics and the socket.
    this.#report.stop();
    this.call?.hangUp(reason === 'youLeft');
    if (reason !== 'replaced' && reason !== 'moved') this.#signaling.leave();
    this.#setPeer(null);
    this.#resetCall();
    Object.assign(this.state, { screen: 'ended', joining: false, socketOpen: false, ended: { reason, seconds, name }, error: null, knocks: [] });
  }

  #showLobby() {
    Object.assign(this.state, { screen: 'lobby', ended: null, error: null, needsKey: false });
  }

  #resetCall() {
    this.#deadline.cancel();
    this.#presence.reset();
    this.transfer.close();
    this.#report.stop();
    this.chat.clear();
    Object.assign(this.state, { connectedAt: null, timedOut: false, detached: false, pathAvoided: false, outgoingVideo: 'full', remote: initialRemote() });
  }
}
