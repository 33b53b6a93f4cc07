// Peer connection: one RTCPeerConnection to the peer, its tracks and its data channels.
//
// The call decides whether a new one is needed. The control channel carries mute state and hang-up; verification code and
// chat have channels of their own.

import { nextTask } from '../lib/clock.js';
import { ControlChannel } from './control-channel.js';
import { IceRestart } from './ice-restart.js';
import { makeLiveness, packetsReceived } from './liveness.js';
import { Negotiation } from './negotiation.js';
import { PathMonitor } from './path-monitor.js';
import { pathOf, readReport } from './selected-path.js';
import { makeSenderControl } from './sender-control.js';
import { startVerification } from './verification.js';

/**
 * @import { CallEvent, OutboxMessage } from '../types.js'
 * @import { Clock } from '../lib/clock.js'
 * @import { MuteState } from '../media/mute-state.js'
 * @import { CodecSelection } from './codec-selection.js'
 * @import { StartBitrate } from './start-bitrate.js'
 *
 * @typedef {{audio: MediaStreamTrack | null, video: MediaStreamTrack | null}} Tracks
 *
 * @typedef {object} PeerConnectionParts
 * @property {RTCPeerConnection} pc
 * @property {string} id
 * @property {string} ownId
 * @property {string} peerId
 * @property {boolean} isOfferer whether we make the first offer
 * @property {boolean} [pathAvoided] whether it avoids a path that carried no media
 * @property {boolean} hasChannels whether the peer knows our data channels; an offer with some shows it too
 * @property {Tracks} tracks
 * @property {MuteState} muteState
 * @property {MediaStream} stream for the peer's tracks
 * @property {MediaStream} outgoingStream empty; both our tracks carry its name, since a client may show the stream that it gets
 * @property {(message: OutboxMessage) => void} send
 * @property {(event: CallEvent) => void} emit
 * @property {() => boolean} reachable whether the peer would receive an offer now
 * @property {() => void} giveUp called after several failed restarts, or where two offers collided
 * @property {StartBitrate} startBitrate
 * @property {CodecSelection} codecSelection
 * @property {() => void} [stalled] called while the path is up and DTLS, or any large packet, does not get through
 * @property {Clock} clock
 */

const KINDS = /** @type {const} */ (['audio', 'video']);

export class PeerConnection {
  /** @type {RTCPeerConnection} */
  pc;
  /** @type {Negotiation} */
  negotiation;
  /** Resolves when it is closed: a browser may never answer requests made before. @type {Promise<void>} */
  closed;
  /** @type {Required<PeerConnectionParts>} */
  #parts;
  /** @type {() => void} */
  #resolveClosed = () => {};
  #isClosed = false;
  #wasConnected = false;
  /** @type {ControlChannel | null} */
  #control = null;
  /** The peer's video track until its first frame. @type {MediaStreamTrack | null} */
  #pendingVideo = null;
  /** @type {PathMonitor} */
  #path;
  /** @type {import('./sender-control.js').SenderControl} */
  #senders;
  /** @type {import('./liveness.js').Liveness} */
  #liveness;
  /** @type {IceRestart} */
  #iceRestart;

  /** @param {PeerConnectionParts} parts */
  constructor(parts) {
    this.#parts = { pathAvoided: false, stalled: () => {}, ...parts };
    const { pc, id, ownId, peerId, reachable, giveUp, clock, startBitrate } = this.#parts;
    const polite = ownId < peerId;
    this.pc = pc;
    this.closed = new Promise((resolve) => { this.#resolveClosed = resolve; });
    this.negotiation = new Negotiation({
      pc, id, polite, startBitrate: startBitrate.next(),
      sendsMusic: () => this.#parts.tracks.audio?.contentHint === 'music',
      beforeAnswer: () => this.#addTracks(),
      restartReceived: () => this.#iceRestart.restartReceived(),
      collided: giveUp,
      gathered: (candidate, send) => this.#iceRestart.candidateGathered(candidate, send),
      noCandidates: () => this.#reportNoCandidates(),
      send: (message) => { if (!this.#isClosed) this.#send(message); },
      onError: (error) => this.#emit({ type: 'error', error }),
    });
    this.#path = new PathMonitor({ pc, polite, reachable, clock, stalled: () => this.#parts.stalled() });
    this.#senders = makeSenderControl({ sender: (kind) => this.#transceiver(kind)?.sender, changed: () => this.#outgoingVideoChanged() });
    this.#liveness = makeLiveness({
      clock, read: () => this.#readStats(), expected: () => this.#control?.peer.sends ?? true, emit: (state) => this.#livenessChanged(state),
    });
    this.#iceRestart = new IceRestart({
      pc, negotiation: this.negotiation, polite, reachable, giveUp, clock,
      request: () => this.#send({ type: 'candidate', candidate: null, call: `${id}/again` }),
      silent: () => this.#liveness.state() === 'silent',
    });
    pc.ontrack = ({ track }) => this.#trackReceived(track);
    pc.onconnectionstatechange = () => this.#connectionStateChanged();
    pc.oniceconnectionstatechange = () => this.#path.iceStateChanged();
  }

  get id() {
    return this.#parts.id;
  }

  get ownId() {
    return this.#parts.ownId;
  }

  get peerId() {
    return this.#parts.peerId;
  }

  get isOfferer() {
    return this.#parts.isOfferer;
  }

  isConnected() {
    return !this.#isClosed && this.pc.connectionState === 'connected';
  }

  wasConnected() {
    return this.#wasConnected;
  }

  /** Whether it carried media for long. */
  hasLasted() {
    return this.#path.hasLasted();
  }

  isRelayed() {
    return this.#path.isRelayed();
  }

  /** The path if it is up and carries no media. */
  silentPath() {
    return this.#path.silentPath();
  }

  /** Adds our tracks and makes the first offer, without waiting for the browser to ask for it. */
  open() {
    if (this.#parts.hasChannels) this.#openChannels();
    else this.#noChannels();
    // Both kinds in both directions even without tracks: a device or a screen can then be added by replaceTrack,
    // without another negotiation.
    for (const kind of KINDS) {
      const transceiver = this.pc.addTransceiver(this.#parts.tracks[kind] ?? kind, { direction: 'sendrecv', streams: [this.#parts.outgoingStream] });
      if (kind === 'video') this.#parts.codecSelection.apply(transceiver);
    }
    this.#senders.apply().catch(() => {});
    // In a task of its own: together they would block a slow phone.
    nextTask().then(() => this.negotiation.offer());
  }

  /** @param {Tracks} tracks to send in place of the previous ones */
  async setTracks(tracks) {
    this.#parts.tracks = tracks;
    await Promise.all(KINDS.map((kind) => this.#transceiver(kind)?.sender.replaceTrack(tracks[kind])));
    this.negotiation.tracksChanged();
    await this.#senders.apply();
    this.#outgoingVideoChanged();
  }

  /** @param {MuteState} muteState */
  setMuteState(muteState) {
    this.#parts.muteState = muteState;
    const { cam, screen } = muteState;
    const weak = this.#senders.isAnnouncedPaused() && (cam || screen);
    // Paused video counts as off, also for a client that does not know `weak`.
    const paused = weak && this.#senders.outgoingVideo() === 'paused' && { cam: false, screen: false, ...(screen && { still: true }) };
    this.#control?.send({ ...muteState, ...paused, ...(weak && { weak }), ...(this.#parts.pathAvoided && { detour: true }) });
  }

  /** The peer asks for an ICE restart. */
  handleRestartRequest() {
    this.#iceRestart.handleRequest();
  }

  /** Restarts a broken connection now; with `force`, also one that only may be broken. */
  recoverSoon(force = false) {
    this.#iceRestart.soon(force);
  }

  close(hangUp = false) {
    const sent = hangUp && (this.#control?.send({ bye: true }) ?? false);
    this.#isClosed = true;
    this.#resolveClosed();
    this.#iceRestart.stop();
    this.#liveness.stop();
    this.#path.close();
    // The hang-up message must leave before the connection closes.
    if (sent) this.#parts.clock.after(() => this.pc.close(), 150);
    else this.pc.close();
  }

  /** @param {CallEvent} event */
  #emit(event) {
    if (!this.#isClosed) this.#parts.emit(event);
  }

  /** @param {import('../types.js').NegotiationMessage} message */
  #send(message) {
    this.#parts.send({ ...message, target: this.#parts.peerId });
  }

  /** With relayed candidates only, the relay itself may not answer. */
  #reportNoCandidates() {
    if (this.pc.getConfiguration?.().iceTransportPolicy !== 'relay') this.#emit({ type: 'no-candidates' });
  }

  /** @param {MediaStreamTrack} track */
  #trackReceived(track) {
    // Chromium plays no audio of a stream whose video has not arrived, which it never does without a camera.
    if (track.kind === 'video' && track.muted) this.#pendingVideo = track;
    else this.#addToStream(track);
    track.onunmute = () => this.#addToStream(track);
    this.#parts.emit({ type: 'remote-stream', stream: this.#parts.stream });
  }

  /** @param {MediaStreamTrack} track */
  #addToStream(track) {
    if (this.#isClosed) return;
    if (track === this.#pendingVideo) this.#pendingVideo = null;
    if (!this.#parts.stream.getTracks().includes(track)) this.#parts.stream.addTrack(track);
  }

  #connectionStateChanged() {
    if (this.#isClosed) return;
    const { connectionState } = this.pc;
    this.#path.connectionStateChanged();
    if (connectionState === 'connected') {
      this.#wasConnected = true;
      this.#iceRestart.pathRestored();
      this.#senders.interrupted();
      this.#liveness.start();
      const kind = rejectedKind(this.pc);
      if (kind) this.#emit({ type: 'no-common-codec', kind });
    }
    if (['disconnected', 'failed'].includes(connectionState)) this.#iceRestart.connectionLost();
    this.#emit({ type: 'connection-state', state: connectionState });
  }

  /** @param {import('./liveness.js').LivenessState} state */
  #livenessChanged(state) {
    if (this.#isClosed) return;
    const silent = state === 'silent';
    // A peer that only listens sends little; a gap in that (`delayed`) is no sign that our packets are lost.
    if (silent || this.#path.isSilent()) this.#senders.interrupted();
    this.#path.setSilent(silent);
    if (silent) this.#iceRestart.connectionLost();
    if (state === 'alive' && this.pc.connectionState === 'connected') this.#iceRestart.recovered();
    this.#emit({ type: 'liveness', state });
  }

  /** Reads the statistics once for all: received packets, path and sender feedback. */
  async #readStats() {
    const report = await readReport(this.pc);
    if (this.#pendingVideo && hasVideoFrames(report)) this.#addToStream(this.#pendingVideo);
    this.#path.update(report, this.#control?.peer ?? { video: false, mayPause: false });
    if (!this.#isClosed) this.#senders.update(report);
    this.#parts.startBitrate.record(pathOf(report), this.#senders.carriedBitrate());
    return packetsReceived(report);
  }

  /** @param {'audio' | 'video'} kind */
  #transceiver(kind) {
    return this.pc.getTransceivers().find((each) => each.receiver.track.kind === kind && each.currentDirection !== 'stopped');
  }

  /** Before the first answer: uses the transceivers that the peer's offer created. The browser answers after `replaceTrack`. */
  #addTracks() {
    if (offersChannels(this.pc.remoteDescription)) this.#openChannels();
    else this.#noChannels();
    for (const kind of KINDS) {
      const transceiver = this.#transceiver(kind);
      if (!transceiver) continue;
      transceiver.direction = 'sendrecv';
      if (kind === 'video') this.#parts.codecSelection.apply(transceiver);
      transceiver.sender.setStreams?.(this.#parts.outgoingStream);
      transceiver.sender.replaceTrack(this.#parts.tracks[kind]).catch((error) => this.#emit({ type: 'error', error }));
    }
    this.#senders.apply().catch(() => {});
  }

  #openChannels() {
    const { pc } = this;
    const { emit, peerId } = this.#parts;
    this.#control = new ControlChannel(pc, { emit, opened: () => this.setMuteState(this.#parts.muteState) });
    emit({ type: 'chat-channel', channel: pc.createDataChannel('chat', { negotiated: true, id: 2 }), peer: peerId });
    startVerification(pc, (verification) => emit({ type: 'verification', verification }));
  }

  #noChannels() {
    this.#parts.emit({ type: 'chat-channel', channel: null, peer: this.#parts.peerId });
  }

  #outgoingVideoChanged() {
    if (this.#isClosed) return;
    this.setMuteState(this.#parts.muteState);
    const sent = this.#senders.isAnnouncedPaused() ? 'paused' : this.#senders.outgoingVideo();
    this.#emit({ type: 'outgoing-video', state: this.#parts.tracks.video ? sent : 'full' });
  }
}

/** @param {{sdp?: string} | null} description */
export function offersChannels(description) {
  return /^m=application /m.test(description?.sdp ?? '');
}

/** The kind that an answer rejected because there is no codec in common. @param {RTCPeerConnection} pc */
function rejectedKind({ localDescription, remoteDescription }) {
  const answer = [localDescription, remoteDescription].find((description) => description?.type === 'answer');
  return KINDS.find((kind) => new RegExp(`^m=${kind} 0 `, 'm').test(answer?.sdp ?? ''));
}

/** @param {import('./selected-path.js').Report} report */
function hasVideoFrames(report) {
  return [...report.values()].some((entry) => entry.type === 'inbound-rtp' && entry.kind === 'video' && entry.framesDecoded > 0);
}
