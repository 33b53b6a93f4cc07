// Call: at most one peer connection to the one other participant.
//
// Only this file creates an RTCPeerConnection. It knows who is in the room and decides when a connection is kept,
// restarted or replaced; it uses neither the socket nor the page.

import { makeCodecSelection } from './codec-selection.js';
import { parseCallId } from './negotiation.js';
import { makePathFallback } from './path-fallback.js';
import { offersChannels, PeerConnection } from './peer-connection.js';
import { makeStartBitrate } from './start-bitrate.js';
import { nextTask } from '../lib/clock.js';
import { fingerprintsIn } from './verification-code.js';

/**
 * @import { CallEvent, OutboxMessage, PeerMessage } from '../types.js'
 * @import { Clock, Timer } from '../lib/clock.js'
 * @import { MuteState } from '../media/mute-state.js'
 * @import { Tracks } from './peer-connection.js'
 *
 * @typedef {object} CallParts
 * @property {(message: OutboxMessage) => void} send
 * @property {(event: CallEvent) => void} emit
 * @property {Clock} clock
 * @property {() => boolean} [reachable] whether the peer would receive an offer now
 * @property {boolean} [relayOnly]
 * @property {import('./start-bitrate.js').StartBitrate} [startBitrate]
 * @property {import('./codec-selection.js').CodecSelection} [codecSelection]
 * @property {() => string} [newId]
 * @property {(config: RTCConfiguration) => RTCPeerConnection} [connect]
 * @property {() => MediaStream} [newStream]
 */

/** Relay allocations of a connection that waits for a peer cost the server; then the next join only takes a little longer. */
const PREPARED_LIFETIME_MS = 600_000;

export class Call {
  /** @type {Required<CallParts>} */
  #parts;
  /** @type {PeerConnection | null} */
  #current = null;
  #ownId = '';
  /** @type {string | null} */
  #peerId = null;
  /** Whether the client of the peer knows our data channels. */
  #peerHasChannels = false;
  /** @type {RTCIceServer[]} */
  #iceServers = [];
  /** The room has moved to another server than that of the relayed path. */
  #relayMoved = false;
  /** @type {Tracks} */
  #tracks = { audio: null, video: null };
  /** @type {MuteState} */
  #muteState = { mic: true, cam: true, screen: false };
  /** A connection created ahead, for the next peer. @type {RTCPeerConnection | null} */
  #prepared = null;
  /** @type {Timer | undefined} */
  #preparedTimer;
  /** Messages are handled one after the other, since each may take several steps. */
  #queue = Promise.resolve();
  #fallback = makePathFallback();

  /** @param {CallParts} parts */
  constructor(parts) {
    this.#parts = {
      reachable: () => true, relayOnly: false, startBitrate: makeStartBitrate(), codecSelection: makeCodecSelection(),
      newId: () => crypto.randomUUID(), connect: (config) => new RTCPeerConnection(config), newStream: () => new MediaStream(),
      ...parts,
    };
  }

  /** The running RTCPeerConnection. */
  connection() {
    return this.#current?.pc ?? null;
  }

  isConnected() {
    return this.#current?.isConnected() ?? false;
  }

  /**
   * Creates the connection to the next peer ahead, so that nobody waits for its creation. Chromium also gathers its
   * candidates.
   */
  prepare() {
    if (this.#current || this.#prepared) return;
    this.#prepared = this.#create();
    this.#preparedTimer = this.#parts.clock.after(() => this.#discardPrepared(), PREPARED_LIFETIME_MS);
  }

  /**
   * @param {string} ownId
   * @param {string | null} peerId as the server reports it
   * @param {boolean} weOffer
   * @param {boolean} [hasChannels] whether the client of the peer knows our data channels
   */
  setPeer(ownId, peerId, weOffer, hasChannels = false) {
    const current = this.#current;
    const same = current?.ownId === ownId && current.peerId === peerId;
    this.#ownId = ownId;
    // A restarted server reports an empty room: a running connection proves that the peer is there.
    if (peerId === null && current?.isConnected()) return;
    if (this.#peerId !== peerId) this.#fallback.reset();
    this.#peerId = peerId;
    this.#peerHasChannels = hasChannels;
    if (same) return this.recoverSoon();
    if (current) this.#drop();
    if (peerId === null) this.prepare();
    else if (weOffer) this.#open(peerId);
  }

  /** @param {PeerMessage} message */
  handle(message) {
    this.#queue = this.#queue.then(() => this.#handle(message)).catch((error) => this.#parts.emit({ type: 'error', error }));
    return this.#queue;
  }

  /** @param {RTCIceServer[]} servers */
  setIceServers(servers) {
    if (!Array.isArray(servers)) return;
    this.#relayMoved ||= Boolean(this.#current?.isRelayed()) && relayHosts(servers) !== relayHosts(this.#iceServers);
    this.#iceServers = servers;
    try {
      (this.#current?.pc ?? this.#prepared)?.setConfiguration(this.#config());
    } catch (error) {
      this.#parts.emit({ type: 'error', error });
    }
  }

  /** @param {Tracks} tracks to send */
  async setTracks(tracks) {
    this.#tracks = tracks;
    await this.#current?.setTracks(tracks);
  }

  /** @param {MuteState} muteState */
  setMuteState(muteState) {
    this.#muteState = muteState;
    this.#current?.setMuteState(muteState);
  }

  /** @param {boolean} [force] also restarts a connection that only may be broken */
  recoverSoon(force = false) {
    // The network may have changed, or the machine slept: relay candidates gathered before may be gone.
    if (this.#prepared && this.#iceServers.length) {
      this.#discardPrepared();
      return this.prepare();
    }
    // The browser closes the connections of a page in its back/forward cache.
    if (this.#current?.pc.signalingState === 'closed') this.#open(this.#current.peerId);
    else this.#current?.recoverSoon(this.#takeRelayMoved() || force);
  }

  /** Whether relayed media has to follow the room to another server now, while the one before still forwards it. */
  #takeRelayMoved() {
    if (!this.#parts.reachable() || !this.#relayMoved) return false;
    this.#relayMoved = false;
    return true;
  }

  /** @param {boolean} [notifyPeer] */
  hangUp(notifyPeer = false) {
    this.#reset(notifyPeer);
    // Their credentials end with the seat.
    this.#iceServers = [];
  }

  /** The peer is gone, and the room waits for the next one. */
  waitForPeer() {
    this.#reset();
    this.prepare();
  }

  #reset(notifyPeer = false) {
    this.#peerId = null;
    this.#fallback.reset();
    this.#discardPrepared();
    if (this.#current) this.#drop(notifyPeer);
  }

  /** @returns {RTCConfiguration} */
  #config() {
    const { iceServers, iceTransportPolicy } = this.#fallback.config(this.#iceServers);
    return { iceServers, iceCandidatePoolSize: 1, bundlePolicy: 'max-bundle', iceTransportPolicy: this.#parts.relayOnly ? 'relay' : iceTransportPolicy };
  }

  /** @param {string} peerId */
  #open(peerId) {
    this.#replace(peerId, this.#parts.newId(), true)?.open();
  }

  /**
   * @param {string} peerId
   * @param {string} id
   * @param {boolean} isOfferer
   */
  #replace(peerId, id, isOfferer) {
    const { send, emit, clock, reachable, newStream, startBitrate, codecSelection } = this.#parts;
    const old = this.#current;
    this.#recordPath(old);
    const pc = this.#takePrepared() ?? this.#create();
    if (!pc) {
      emit({ type: 'unsupported' });
      return null;
    }
    /** @type {PeerConnection} */
    const created = this.#current = new PeerConnection({
      pc, id, ownId: this.#ownId, peerId, isOfferer, pathAvoided: this.#fallback.isActive(), hasChannels: this.#peerHasChannels,
      tracks: this.#tracks, muteState: this.#muteState, stream: newStream(), outgoingStream: newStream(), send, clock, reachable, startBitrate, codecSelection,
      emit: (event) => { if (created === this.#current) emit(event); },
      giveUp: () => { if (created === this.#current) this.#open(peerId); },
      stalled: () => {
        if (created === this.#current && reachable() && this.#fallback.hasFallback(created.silentPath(), this.#iceServers)) this.#open(peerId);
      },
    });
    this.#relayMoved = false;
    // Emitted before the old connection closes, which ends its stream and with it the last video frame.
    emit({ type: 'connection-state', state: 'new' });
    old?.close();
    return created;
  }

  /** Ignores a connection that only lost a collision of offers: its path was not tried. @param {PeerConnection | null} old */
  #recordPath(old) {
    const silent = old?.silentPath() ?? null;
    if (!silent && !old?.wasConnected()) return;
    if (this.#fallback.recordSilent(silent, this.#iceServers, old?.hasLasted())) this.#parts.emit({ type: 'path-avoided' });
  }

  /** With its candidates, unless the servers or the policy have changed since. */
  #takePrepared() {
    const pc = this.#prepared;
    if (!pc) return null;
    this.#forgetPrepared();
    try {
      pc.setConfiguration(this.#config());
      return pc;
    } catch (error) {
      this.#parts.emit({ type: 'error', error });
      pc.close();
      return null;
    }
  }

  #discardPrepared() {
    this.#prepared?.close();
    this.#forgetPrepared();
  }

  #forgetPrepared() {
    this.#prepared = null;
    this.#parts.clock.cancel(this.#preparedTimer);
  }

  /** Null where the browser creates none for any servers, as a setting or an extension may demand. */
  #create() {
    const config = this.#config();
    /** @type {RTCConfiguration} */
    const withoutServers = { ...config, iceServers: [], iceTransportPolicy: this.#parts.relayOnly ? 'relay' : 'all' };
    for (const each of [config, withoutServers]) {
      try {
        return this.#parts.connect(each);
      } catch (error) {
        this.#parts.emit({ type: 'error', error });
      }
    }
    return null;
  }

  /** @param {PeerMessage} message */
  async #handle(message) {
    const peerId = this.#peerId;
    if (peerId === null || message.from !== peerId) return;
    // A page from before the server was updated announces nothing.
    if (message.type === 'offer') this.#peerHasChannels ||= offersChannels(message.sdp);
    const { id, round, isRestartRequest } = parseCallId(message.call);
    const isLater = isRestartRequest || (message.type === 'offer' && round > 0);
    const current = this.#current;
    if (current && (id === '' ? belongsTo(current, message) : current.id === id)) {
      // The answer to our first offer was lost and the peer has moved on: our connection cannot follow.
      if (isLater && !current.negotiation.isAnswered()) return this.#open(peerId);
      return isRestartRequest ? current.handleRestartRequest() : passOn(current, message);
    }
    // A later message for a connection we no longer have: offer a new one unless one is being created.
    if (isLater) return current ? undefined : this.#open(peerId);
    if (message.type !== 'offer') return;
    if (current && this.#winsCollision(current)) return;
    const created = this.#replace(peerId, id, false);
    if (!created) return;
    // In a task of its own: together they would block a slow phone.
    await nextTask();
    await passOn(created, message);
  }

  /** Of two first offers that collide, the one of the greater id stands. @param {PeerConnection} current */
  #winsCollision(current) {
    return current.isOfferer && current.peerId === this.#peerId && !current.negotiation.isAnswered() && current.ownId > current.peerId;
  }

  #drop(notifyPeer = false) {
    this.#current?.close(notifyPeer);
    this.#current = null;
    this.#parts.emit({ type: 'connection-state', state: 'none' });
  }
}

/** The hosts of the relays, as one text. @param {RTCIceServer[]} servers */
function relayHosts(servers) {
  const urls = servers.flatMap((server) => server?.urls ?? []);
  return [...new Set(urls.flatMap((url) => /^turns?:(\[[^\]]*\]|[^:?]*)/.exec(String(url))?.[1] ?? []))].sort().join();
}

/**
 * A client that does not name its connections has one at a time; a new one has other fingerprints.
 * @param {PeerConnection} connection
 * @param {PeerMessage} message
 */
function belongsTo({ pc: { remoteDescription } }, message) {
  return message.type !== 'offer' || (remoteDescription && fingerprintsIn(remoteDescription.sdp)) === fingerprintsIn(String(message.sdp?.sdp));
}

/**
 * A browser never answers on a connection that is closed meanwhile, and the next messages must not wait for it.
 * @param {PeerConnection} connection
 * @param {PeerMessage} message
 */
function passOn(connection, message) {
  return Promise.race([connection.negotiation.handle(message), connection.closed]);
}
