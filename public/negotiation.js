// Negotiation: offers, answers and candidates of one peer connection, in the W3C "perfect negotiation" way.
//
// Both sides may offer at any moment; where two offers meet, the polite side gives way. What arrives is a
// stranger's word: anything malformed is dropped and the connection goes on. It does not know who sends it.

import { opusAsked } from './opus.js';

/**
 * @typedef {import('./signaling.js').Frame} Frame
 * @typedef {object} Negotiation
 * @property {() => Promise<void>} offer
 * @property {(frame: Frame) => Promise<void>} hear an offer, answer or candidate of this connection
 * @property {() => void} repeat says an unanswered offer once more
 * @property {() => boolean} answered whether the other side has ever spoken on this connection
 */

/**
 * A connection's name on the wire: `id/round`. The round counts the offers, so that a page knows an
 * offer that opens a connection (round 0) from one that belongs to a connection it no longer has.
 * @param {unknown} call
 * @returns {{id: string, round: number}}
 */
export function readCall(call) {
  const [, id, round] = /^(.*?)(?:\/(\d{1,6}))?$/s.exec(typeof call === 'string' ? call : '') ?? [];
  return { id: id ?? '', round: Number(round ?? 0) };
}

/**
 * @param {object} parts
 * @param {RTCPeerConnection} parts.pc
 * @param {string} parts.id the connection's name
 * @param {boolean} parts.polite
 * @param {(frame: Frame) => void} parts.send
 * @param {() => Promise<void>} parts.beforeAnswer puts our tracks where the first offer made room for them
 * @param {() => void} [parts.heardOffer] told of every later offer that is taken
 * @param {(why: unknown) => void} parts.complain
 * @returns {Negotiation}
 */
export function makeNegotiation({ pc, id, polite, send, beforeAnswer, heardOffer = () => {}, complain }) {
  let makingOffer = false;
  let ignoringOffer = false;
  let settingAnswer = false;
  let round = -1;
  let answeredRound = -1;
  /** @type {(RTCIceCandidateInit | null)[]} */
  let early = [];

  pc.onnegotiationneeded = offer;
  pc.onicecandidate = ({ candidate }) => {
    send({ type: 'candidate', candidate: candidate ? candidate.toJSON() : null, call: `${id}/${Math.max(round, 0)}` });
  };

  async function offer() {
    if (makingOffer || pc.signalingState !== 'stable') return;
    makingOffer = true;
    try {
      await pc.setLocalDescription();
      round += 1;
      sayOffer();
    } catch (why) {
      complain(why);
    } finally {
      makingOffer = false;
    }
  }

  function sayOffer() {
    const description = pc.localDescription;
    if (description?.type === 'offer') send({ type: 'offer', sdp: plain(description), call: `${id}/${round}` });
  }

  /** @param {Frame} frame */
  async function hear(frame) {
    try {
      if (frame.type === 'offer') await hearOffer(frame);
      if (frame.type === 'answer') await hearAnswer(frame);
      if (frame.type === 'candidate') await hearCandidate(frame.candidate);
    } catch (why) {
      if (frame.type !== 'candidate' || !ignoringOffer) complain(why);
    }
  }

  /** @param {Frame} frame */
  async function hearOffer({ sdp, call }) {
    if (!isDescription(sdp, 'offer')) return;
    const ready = !makingOffer && (pc.signalingState === 'stable' || settingAnswer);
    ignoringOffer = !ready && !polite;
    // Ours stands. They may never have heard it: it can have gone into a socket that was dead already.
    if (ignoringOffer) return repeat();
    const opening = pc.remoteDescription === null;
    if (!opening) heardOffer();
    // Round 0 belongs to the offer that opened this connection, whoever made it.
    round = Math.max(round, 0);
    await pc.setRemoteDescription(keepingRoles(read(sdp), pc));
    await addEarly();
    if (opening) await beforeAnswer();
    await pc.setLocalDescription();
    if (pc.localDescription) send({ type: 'answer', sdp: plain(pc.localDescription), call });
  }

  /** @param {Frame} frame */
  async function hearAnswer({ sdp, call }) {
    if (!isDescription(sdp, 'answer') || pc.signalingState !== 'have-local-offer') return;
    const theirs = readCall(call).round;
    if (typeof call === 'string' && call.includes('/') && theirs !== round) return;
    settingAnswer = true;
    try {
      await pc.setRemoteDescription(read(sdp));
      answeredRound = round;
    } finally {
      settingAnswer = false;
    }
    await addEarly();
  }

  /** @param {unknown} candidate */
  async function hearCandidate(candidate) {
    if (candidate !== null && typeof candidate !== 'object') return;
    const init = /** @type {RTCIceCandidateInit | null} */ (candidate ?? null);
    if (!pc.remoteDescription) return void (early.length < 200 && early.push(init));
    await pc.addIceCandidate(init);
  }

  async function addEarly() {
    const waiting = early;
    early = [];
    for (const candidate of waiting) await pc.addIceCandidate(candidate).catch(complain);
  }

  function repeat() {
    if (pc.signalingState === 'have-local-offer' && round !== answeredRound) sayOffer();
  }

  return {
    offer,
    hear,
    repeat,
    answered: () => pc.remoteDescription !== null,
  };
}

/**
 * A later offer leaves the DTLS roles open again, and Firefox then may answer with the other role than the
 * one it has, which Chromium refuses (RFC 8842 section 5.5 wants it kept). So the offer is read as naming
 * the role the other side already has.
 * @param {RTCSessionDescriptionInit} offer
 * @param {Pick<RTCPeerConnection, 'currentLocalDescription' | 'currentRemoteDescription'>} pc
 * @returns {RTCSessionDescriptionInit}
 */
export function keepingRoles(offer, { currentLocalDescription, currentRemoteDescription }) {
  const [theirs, ours] = [currentRemoteDescription, currentLocalDescription];
  const answer = theirs?.type === 'answer' ? theirs : ours?.type === 'answer' ? ours : null;
  const role = /^a=setup:(active|passive)/m.exec(answer?.sdp ?? '')?.[1];
  if (!role) return offer;
  const other = role === 'active' ? 'passive' : 'active';
  const held = answer === theirs ? role : other;
  return { type: 'offer', sdp: offer.sdp?.replace(/^a=setup:actpass/gm, `a=setup:${held}`) };
}

/**
 * @param {any} sdp
 * @param {'offer' | 'answer'} type
 */
function isDescription(sdp, type) {
  return typeof sdp === 'object' && sdp !== null && sdp.type === type && typeof sdp.sdp === 'string';
}

/**
 * @param {RTCSessionDescriptionInit} description
 * @returns {RTCSessionDescriptionInit}
 */
function read({ type, sdp }) {
  return { type, sdp: opusAsked(sdp) };
}

/**
 * @param {RTCSessionDescription | RTCSessionDescriptionInit} description
 * @returns {RTCSessionDescriptionInit}
 */
function plain({ type, sdp }) {
  return { type, sdp };
}
