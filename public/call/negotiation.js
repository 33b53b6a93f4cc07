// Negotiation: offers, answers and candidates of one peer connection (perfect negotiation without rollback).
//
// Both sides may offer at any time. If two offers collide, that of the impolite side stands and the polite side creates
// another connection: a rollback leaves Chromium with video that is decoded and never shown. Only for a client that does
// not count its offers there is a rollback. Malformed messages are dropped and the connection continues.

import { nextTask } from '../lib/clock.js';
import { withOpusParameters, withStereoPlayback } from './opus-sdp.js';
import { withStartBitrate } from './start-bitrate.js';

/**
 * @import { Description, NegotiationMessage, PeerMessage } from '../types.js'
 *
 * @typedef {object} NegotiationParts
 * @property {RTCPeerConnection} pc
 * @property {string} id of the connection
 * @property {boolean} polite
 * @property {number | null} startBitrate of our video, in bits per second
 * @property {() => boolean} [sendsMusic]
 * @property {(message: NegotiationMessage) => void} send
 * @property {() => void} beforeAnswer adds our tracks to the transceivers of the first offer
 * @property {() => void} [restartReceived] called with each accepted offer that restarts ICE
 * @property {() => void} [collided] called on the polite side when two offers collide
 * @property {(candidate: RTCIceCandidate | null, send: () => void) => void} [gathered] sends each candidate of ours, now or later
 * @property {() => void} [noCandidates] called if the browser has gathered no candidate
 * @property {(error: unknown) => void} onError
 */

const EARLY_CANDIDATES_LIMIT = 200;

/**
 * The connection's name on the wire is `id/round`. The round counts offers, which separates an offer for a new connection
 * (round 0) from one for a connection this page no longer has. `id/again` with the end of candidates asks for an ICE
 * restart; a client that does not know it sees only another end of candidates.
 * @param {unknown} call
 * @returns {{id: string, round: number, isRestartRequest: boolean}}
 */
export function parseCallId(call) {
  const [, id, round] = /^(.*?)(?:\/(\d{1,6}|again))?$/s.exec(typeof call === 'string' ? call : '') ?? [];
  const isRestartRequest = round === 'again';
  return { id: id ?? '', round: isRestartRequest ? 0 : Number(round ?? 0), isRestartRequest };
}

export class Negotiation {
  /** @type {Required<NegotiationParts>} */
  #parts;
  #makingOffer = false;
  #ignoringOffer = false;
  #settingAnswer = false;
  #round = -1;
  #answeredRound = -1;
  /** The SDP of the peer's last accepted description. */
  #remoteSdp = '';
  /** How often the peer has restarted ICE, which changes its user name. */
  #peerRestarts = -1;
  #peerUfrag = '';
  /** Candidates from before the first description. @type {(RTCIceCandidateInit | null)[]} */
  #earlyCandidates = [];
  #gathered = false;
  /** Whether our encoder was set for music. */
  #music = false;

  /** @param {NegotiationParts} parts */
  constructor(parts) {
    this.#parts = { sendsMusic: () => false, restartReceived: () => {}, collided: () => {}, gathered: (_, send) => send(), noCandidates: () => {}, ...parts };
    parts.pc.onnegotiationneeded = () => this.offer();
    parts.pc.onicecandidate = ({ candidate }) => this.#candidateGathered(candidate);
  }

  /** Whether the peer has sent a description on this connection. */
  isAnswered() {
    return this.#parts.pc.remoteDescription !== null;
  }

  /** Whether either browser is Firefox, by the descriptions. What Chromium returns of the peer's no longer shows it. */
  firefox() {
    return { local: isFirefox(this.#parts.pc.localDescription?.sdp), remote: isFirefox(this.#remoteSdp) };
  }

  async offer() {
    const { pc, onError } = this.#parts;
    if (this.#makingOffer || pc.signalingState !== 'stable') return;
    this.#makingOffer = true;
    try {
      await this.#describe('offer');
      this.#round += 1;
      this.#sendOffer();
    } catch (error) {
      onError(error);
    } finally {
      this.#makingOffer = false;
    }
  }

  /** Our audio has changed; the encoder follows the peer's next description. */
  tracksChanged() {
    if (this.isAnswered() && this.#parts.sendsMusic() !== this.#music) this.offer();
  }

  /** Sends an unanswered offer again. */
  repeatOffer() {
    if (this.#parts.pc.signalingState === 'have-local-offer' && this.#round !== this.#answeredRound) this.#sendOffer();
  }

  /** @param {PeerMessage} message */
  async handle(message) {
    try {
      if (message.type === 'offer') await this.#handleOffer(message);
      if (message.type === 'answer') await this.#handleAnswer(message);
      if (message.type === 'candidate') await this.#handleCandidate(message.candidate);
    } catch (error) {
      if (message.type !== 'candidate' || !this.#ignoringOffer) this.#parts.onError(error);
    }
  }

  /** @param {RTCIceCandidate | null} candidate */
  #candidateGathered(candidate) {
    this.#gathered ||= Boolean(candidate?.candidate);
    if (!candidate && !this.#gathered) this.#parts.noCandidates();
    const { id, send, gathered } = this.#parts;
    const call = `${id}/${Math.max(this.#round, 0)}`;
    gathered(candidate, () => send({ type: 'candidate', candidate: candidate ? candidate.toJSON() : null, call }));
  }

  #sendOffer() {
    const sdp = descriptionOf(this.#parts.pc, 'offer');
    if (sdp) this.#parts.send({ type: 'offer', sdp, call: `${this.#parts.id}/${this.#round}` });
  }

  /** @param {string} call */
  #sendAnswer(call) {
    const sdp = descriptionOf(this.#parts.pc, 'answer');
    if (sdp) this.#parts.send({ type: 'answer', sdp, call });
  }

  /** @param {Extract<PeerMessage, {type: 'offer'}>} message */
  async #handleOffer({ sdp, call }) {
    if (!isDescription(sdp, 'offer')) return;
    const { pc, polite, beforeAnswer, restartReceived, collided } = this.#parts;
    const ready = !this.#makingOffer && (pc.signalingState === 'stable' || this.#settingAnswer);
    const repeated = sdp.sdp === this.#remoteSdp;
    // A client that does not count offers cannot create another connection: our offer is rolled back.
    const rollsBack = polite && !countsOffers(call);
    this.#ignoringOffer = !ready && !rollsBack;
    if (this.#ignoringOffer) {
      // A first offer that we have answered does not collide: the peer creates another connection once it receives our
      // later one. Ours stands and is repeated, since it may have been lost with a dead socket.
      return polite && !(repeated && parseCallId(call).round === 0) ? collided() : this.repeatOffer();
    }
    if (repeated) return this.#sendAnswer(call);
    const isFirst = pc.remoteDescription === null;
    // An offer that is repeated differs by the candidates that were gathered since, but restarts nothing.
    if (!isFirst && iceUserName(sdp.sdp) !== this.#peerUfrag) restartReceived();
    // Round 0 is the offer that opened this connection, made by either side.
    this.#round = Math.max(this.#round, 0);
    await pc.setRemoteDescription(withCurrentDtlsRole(this.#received(sdp), pc));
    await this.#addEarlyCandidates();
    if (isFirst) {
      beforeAnswer();
      // In a task of its own: together they would block a slow phone.
      await nextTask();
    }
    await this.#describe('answer');
    this.#remoteSdp = sdp.sdp;
    this.#sendAnswer(call);
  }

  /** @param {Extract<PeerMessage, {type: 'answer'}>} message */
  async #handleAnswer({ sdp, call }) {
    const { pc } = this.#parts;
    if (!isDescription(sdp, 'answer') || pc.signalingState !== 'have-local-offer') return;
    if (typeof call === 'string' && call.includes('/') && parseCallId(call).round !== this.#round) return;
    this.#remoteSdp = sdp.sdp;
    this.#settingAnswer = true;
    try {
      await pc.setRemoteDescription(this.#received(sdp));
      this.#answeredRound = this.#round;
    } finally {
      this.#settingAnswer = false;
    }
    await this.#addEarlyCandidates();
  }

  /** @param {unknown} candidate */
  async #handleCandidate(candidate) {
    if (candidate !== null && typeof candidate !== 'object') return;
    const { pc } = this.#parts;
    if (pc.remoteDescription) await pc.addIceCandidate(this.#preferred(/** @type {RTCIceCandidateInit | null} */ (candidate)));
    else if (this.#earlyCandidates.length < EARLY_CANDIDATES_LIMIT) this.#earlyCandidates.push(candidate);
  }

  /** @param {Description} description @returns {RTCSessionDescriptionInit} */
  #received({ type, sdp }) {
    this.#music = this.#parts.sendsMusic();
    const ufrag = iceUserName(sdp);
    if (ufrag !== this.#peerUfrag) this.#peerRestarts += 1;
    this.#peerUfrag = ufrag;
    return { type, sdp: withRestartPriority(withStartBitrate(withOpusParameters(sdp, this.#music), this.#parts.startBitrate), this.#peerRestarts) };
  }

  /** A browser that refuses the change describes itself, unless the peer's offer has come first. @param {'offer' | 'answer'} type */
  async #describe(type) {
    const { pc } = this.#parts;
    const own = await (type === 'offer' ? pc.createOffer() : pc.createAnswer());
    await pc.setLocalDescription({ type, sdp: withStereoPlayback(own.sdp) }).catch((error) => {
      if (type === 'offer' && pc.signalingState === 'have-remote-offer') throw error;
      return pc.setLocalDescription();
    });
  }

  async #addEarlyCandidates() {
    const candidates = this.#earlyCandidates;
    this.#earlyCandidates = [];
    for (const candidate of candidates) await this.#parts.pc.addIceCandidate(this.#preferred(candidate)).catch(this.#parts.onError);
  }

  /** @param {RTCIceCandidateInit | null} init @returns {RTCIceCandidateInit | null} */
  #preferred(init) {
    return init && typeof init.candidate === 'string' ? { ...init, candidate: withRestartPriority(init.candidate, this.#peerRestarts) } : init;
  }
}

/** @param {unknown} call */
function countsOffers(call) {
  return /\/\d{1,6}$/.test(String(call));
}

/** @param {string} sdp */
function iceUserName(sdp) {
  return /^a=ice-ufrag:(.+)/m.exec(sdp)?.[1] ?? '';
}

/** @param {string} [sdp] */
function isFirefox(sdp) {
  return /^o=mozilla/m.test(sdp ?? '');
}

/**
 * A later offer leaves the DTLS role open again (`actpass`). Firefox may then answer with another role than it has, which
 * Chromium rejects (RFC 8842 section 5.5 requires the same role). So the offer is read as if it named the peer's role.
 * @param {RTCSessionDescriptionInit} offer
 * @param {Pick<RTCPeerConnection, 'currentLocalDescription' | 'currentRemoteDescription'>} pc
 * @returns {RTCSessionDescriptionInit}
 */
export function withCurrentDtlsRole(offer, { currentLocalDescription: local, currentRemoteDescription: remote }) {
  const answer = remote?.type === 'answer' ? remote : local?.type === 'answer' ? local : null;
  const role = /^a=setup:(active|passive)/m.exec(answer?.sdp ?? '')?.[1];
  if (!role) return offer;
  const opposite = role === 'active' ? 'passive' : 'active';
  return { type: 'offer', sdp: offer.sdp?.replace(/^a=setup:actpass/gm, `a=setup:${answer === remote ? role : opposite}`) };
}

/**
 * The peer's candidates after an ICE restart, ahead of those of the same type before it. A new interface often has a lower
 * preference, and Chromium would send over a dead pair of higher priority until it has been silent for 2.5 s.
 * @param {string | undefined} text a candidate, or a description with candidates
 * @param {number} restarts so far
 * @returns {string | undefined} the same with other priorities
 */
export function withRestartPriority(text, restarts) {
  if (restarts < 1) return text;
  return text?.replace(/^((?:a=)?candidate:\S+ \d+ \S+) (\d{1,10}) /gm, (_, before, priority) => `${before} ${restartPriority(Number(priority), restarts)} `);
}

/**
 * Of the local preference (RFC 8445 section 5.1.2.1) browsers use the lower half; its first byte says more than the second.
 * @param {number} priority
 * @param {number} restarts
 */
function restartPriority(priority, restarts) {
  const [type, local, component] = [priority >>> 24, (priority >>> 8) & 0xffff, priority & 0xff];
  return type * 2 ** 24 + (0x80 + Math.min(restarts, 0x7f)) * 2 ** 16 + (local >>> 8) * 2 ** 8 + component;
}

/** @param {any} sdp @param {'offer' | 'answer'} type */
function isDescription(sdp, type) {
  return typeof sdp === 'object' && sdp !== null && sdp.type === type && typeof sdp.sdp === 'string';
}

/**
 * Our description as a plain object, if it is of this type.
 * @param {RTCPeerConnection} pc
 * @param {'offer' | 'answer'} type
 * @returns {Description | null}
 */
function descriptionOf({ localDescription }, type) {
  return localDescription?.type === type ? { type, sdp: localDescription.sdp } : null;
}
