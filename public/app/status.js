// Status: what a page knows of its session, which of a few words and sentences is true of it, and what would help.

import { mayRetry } from '../media/media-errors.js';

export const REMOTE_AT_FIRST = { stream: null, mic: true, cam: true, screen: false, weak: false };

/**
 * @typedef {'door' | 'waiting' | 'call' | 'after'} Screen
 * @typedef {'idle' | 'preview' | 'joining' | 'waiting' | 'connecting' | 'connected' | 'reconnecting' | 'failed'} Status
 * @typedef {'youLeft' | 'theyLeft' | 'theyClosed' | 'theyDropped' | 'weDropped' | 'replaced'} Ending
 *
 * @typedef {object} State
 * @property {Screen} screen
 * @property {string} room
 * @property {string | null} error
 * @property {boolean} needsKey
 * @property {boolean} triedKey
 * @property {boolean} joining
 * @property {number | null} inside how many sit in the room at whose door we stand, once the server has said so
 * @property {boolean} socketOpen
 * @property {'none' | 'here' | 'away' | 'gone'} peer `gone`: out of the room, but the media still runs
 * @property {boolean} closing they closed the page, and may come back for a moment
 * @property {string} link state of the peer connection, or `none`
 * @property {boolean} silent nothing comes over it, whatever its state says
 * @property {boolean} noCandidates our browser has found no candidate for it
 * @property {'audio' | 'video' | null} missing what the two browsers have no common format for
 * @property {boolean} stuck no way was found in good time
 * @property {boolean} outside refused on the way back: nobody looks for the server any more, the call lasts as long as its link
 * @property {boolean} detour a way that carried nothing is avoided
 * @property {number | null} since when the call first connected, in ms
 * @property {{how: Ending, seconds: number | null} | null} ended
 * @property {import('../call/verification.js').Trust | null} trust what the two sides have agreed on, once they have
 * @property {{stream: MediaStream | null, mic: boolean, cam: boolean, screen: boolean, weak: boolean}} remote `weak`: no picture
 *   or one that stands still, because their network does not carry it
 * @property {import('../call/sender-control.js').Picture} picture what of ours our network carries
 */

/** @returns {State} */
export const stateAtFirst = () => ({
  screen: 'door', room: '', error: null, needsKey: false, triedKey: false, joining: false, inside: null, socketOpen: false,
  peer: 'none', closing: false, link: 'none', silent: false, noCandidates: false, missing: null, stuck: false, outside: false, detour: false,
  since: null, ended: null, remote: { ...REMOTE_AT_FIRST }, trust: null, picture: 'full',
});

/** A connection is new, or there is none: what was known of the one before goes. @param {State} state @param {string} before */
export function forgetLink(state, before) {
  Object.assign(state, { trust: null, noCandidates: false, missing: null });
  if (state.link === 'new') state.picture = 'full';
  // Another connection in a call that runs is one to the same person: what they show is as before until it says more.
  state.remote = state.link === 'new' && before !== 'none' ? { ...state.remote, stream: null } : { ...REMOTE_AT_FIRST };
}

/** A screen that has been seen can still be read while the next of it waits. @param {State} state
 *  @param {import('../signaling/client.js').Frame} said */
export function theyShow({ remote }, { mic, cam, screen, weak, still }) {
  Object.assign(remote, { mic, cam, screen: screen || (still && remote.screen), weak });
}

/**
 * What `#status` says: never more than is true.
 * @param {State} state
 * @param {boolean} mirrorSettled whether the question about camera and microphone is behind us
 * @returns {Status}
 */
export function statusOf(state, mirrorSettled) {
  if (state.screen === 'after') return 'idle';
  if (state.screen === 'door') return state.joining ? 'joining' : mirrorSettled ? 'preview' : 'idle';
  if (state.link === 'connected' && !state.silent && !state.closing) return 'connected';
  if (state.screen === 'waiting') return state.socketOpen ? 'waiting' : 'reconnecting';
  // Of a way between two networks nothing can be said while one of them is away.
  if (state.stuck && state.socketOpen && state.peer === 'here') return 'failed';
  return state.since === null ? 'connecting' : 'reconnecting';
}

/**
 * The key of the sentence that goes with the status.
 * @param {State} state
 * @param {Status} status
 */
export function statusKey(state, status) {
  if (status === 'connected' && state.outside) return 'status.connected.outside';
  if (status === 'connected' && !state.socketOpen) return 'status.connected.alone';
  if (status === 'connected' && state.missing) return `status.connected.no-${state.missing}`;
  if (status === 'connected' && state.picture === 'paused') return 'status.connected.weak';
  if (status !== 'reconnecting' && status !== 'connecting') return `status.${status}`;
  if (!state.socketOpen && !state.outside) return 'status.reconnecting.ours';
  if (state.closing) return 'status.reconnecting.closed';
  return state.peer === 'away' ? 'status.reconnecting.theirs' : `status.${status}`;
}

/**
 * What is wrong, the call first and the devices after it, and which of them another try is for.
 * @param {State} state
 * @param {Status} status
 * @param {string | null} devices their trouble, unless it has been put aside
 * @returns {{error: string | null, retry: 'call' | 'devices' | null}}
 */
export function troubleOf(state, status, devices) {
  if (state.error) return { error: state.error, retry: state.error === 'unreachable' ? 'call' : null };
  if (state.noCandidates && state.socketOpen && status !== 'connected') return { error: 'no-candidates', retry: 'call' };
  if (status === 'failed') return { error: 'no-path', retry: 'call' };
  const told = state.screen === 'after' ? null : devices;
  return { error: told, retry: told !== null && mayRetry(told) ? 'devices' : null };
}

/**
 * What joining now brings along, which is what the button says: never more than there is.
 * @param {import('../media/media.js').MediaState} media
 * @returns {'join' | 'joinSoundOnly' | 'joinBare'}
 */
export function joinPromise({ asking, trouble, hasMic, cam }) {
  if (asking || trouble === null || cam) return 'join';
  return hasMic || trouble === 'camera-denied' ? 'joinSoundOnly' : 'joinBare';
}
