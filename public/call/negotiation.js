// Negotiation: offers, answers and candidates of one peer connection.
//
// Both sides may offer at any moment; where two offers meet, that of the impolite side stands, and the polite side needs
// another connection: to take one's own back ("rollback") leaves Chromium with a picture that is decoded and never shown.
// Only for a client that does not count its offers is it taken back.
// What arrives is a stranger's word: anything malformed is dropped and the connection goes on.

import { opusAsked } from './opus-sdp.js';

/**
 * @typedef {import('../signaling/client.js').Frame} Frame
 * @typedef {object} Negotiation
 * @property {() => Promise<void>} offer
 * @property {(frame: Frame) => Promise<void>} hear an offer, answer or candidate of this connection
 * @property {() => void} repeat says an unanswered offer once more
 * @property {() => boolean} answered whether the other side has ever spoken on this connection
 * @property {() => {ours: boolean, theirs: boolean}} firefox whether either browser is one, as their descriptions say
 */

/**
 * A connection's name on the wire: `id/round`. The round counts the offers, so that a page knows an
 * offer that opens a connection (round 0) from one that belongs to a connection it no longer has.
 * `id/again` on the end of candidates asks for a restart; who does not know it hears nothing new.
 * @param {unknown} call
 * @returns {{id: string, round: number, again: boolean}}
 */
export function readCall(call) {
  const [, id, round] = /^(.*?)(?:\/(\d{1,6}|again))?$/s.exec(typeof call === 'string' ? call : '') ?? [];
  const again = round === 'again';
  return { id: id ?? '', round: again ? 0 : Number(round ?? 0), again };
}

/**
 * @param {object} parts
 * @param {RTCPeerConnection} parts.pc
 * @param {string} parts.id the connection's name
 * @param {boolean} parts.polite
 * @param {(frame: Frame) => void} parts.send
 * @param {() => Promise<void>} parts.beforeAnswer puts our tracks where the first offer made room for them
 * @param {() => void} [parts.heardOffer] told of every later offer that is taken
 * @param {() => void} [parts.collided] told on the polite side that two offers have met
 * @param {() => void} [parts.noCandidates] told where the browser has gathered nothing at all
 * @param {(why: unknown) => void} parts.complain
 * @returns {Negotiation}
 */
export function makeNegotiation({ pc, id, polite, send, beforeAnswer, heardOffer = () => {}, collided = () => {}, noCandidates = () => {}, complain }) {
  let makingOffer = false;
  let ignoringOffer = false;
  let settingAnswer = false;
  let round = -1;
  let answeredRound = -1;
  /** Of theirs, what has been taken last. */
  let theirDescription = '';
  /** @type {(RTCIceCandidateInit | null)[]} */
  let early = [];
  let gathered = false;

  pc.onnegotiationneeded = offer;
  pc.onicecandidate = ({ candidate }) => {
    gathered ||= Boolean(candidate?.candidate);
    if (!candidate && !gathered) noCandidates();
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
    const known = sdp.sdp === theirDescription;
    // Who does not count offers knows nothing of another connection: there we take ours back all the same.
    const givesWay = polite && !countsOffers(call);
    ignoringOffer = !ready && !givesWay;
    // A first offer that we have answered is no collision: once they hear our later one, they begin anew by themselves.
    // Ours stands. They may never have heard it: it can have gone into a socket that was dead already.
    if (ignoringOffer) return polite && !(known && readCall(call).round === 0) ? collided() : repeat();
    if (known) return sayAnswer(call);
    const opening = pc.remoteDescription === null;
    if (!opening) heardOffer();
    // Round 0 belongs to the offer that opened this connection, whoever made it.
    round = Math.max(round, 0);
    await pc.setRemoteDescription(keepingRoles(read(sdp), pc));
    await addEarly();
    if (opening) await beforeAnswer();
    await pc.setLocalDescription();
    theirDescription = sdp.sdp;
    sayAnswer(call);
  }

  /** @param {unknown} call */
  function sayAnswer(call) {
    const description = pc.localDescription;
    if (description?.type === 'answer') send({ type: 'answer', sdp: plain(description), call });
  }

  /** @param {Frame} frame */
  async function hearAnswer({ sdp, call }) {
    if (!isDescription(sdp, 'answer') || pc.signalingState !== 'have-local-offer') return;
    const theirs = readCall(call).round;
    if (typeof call === 'string' && call.includes('/') && theirs !== round) return;
    theirDescription = sdp.sdp;
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
    // What Chromium gives back of theirs no longer says it.
    firefox: () => ({ ours: isFirefox(pc.localDescription?.sdp), theirs: isFirefox(theirDescription) }),
  };
}

/** @param {unknown} call */
function countsOffers(call) {
  return /\/\d{1,6}$/.test(String(call));
}

/** @param {string} [sdp] */
function isFirefox(sdp) {
  return /^o=mozilla/m.test(sdp ?? '');
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
