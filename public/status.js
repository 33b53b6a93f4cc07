// Status: which of a few words and sentences is true of a session just now, and what would help.

import { mayRetry } from './media-trouble.js';

/**
 * What `#status` says: never more than is true.
 * @param {import('./session.js').State} state
 * @param {boolean} mirrorSettled whether the question about camera and microphone is behind us
 * @returns {import('./session.js').Status}
 */
export function statusOf(state, mirrorSettled) {
  if (state.screen === 'after') return 'idle';
  if (state.screen === 'door') return state.joining ? 'joining' : mirrorSettled ? 'preview' : 'idle';
  if (state.link === 'connected') return 'connected';
  if (state.screen === 'waiting') return state.socketOpen ? 'waiting' : 'reconnecting';
  // Of a way between two networks nothing can be said while one of them is away.
  if (state.stuck && state.socketOpen && state.peer === 'here') return 'failed';
  return state.since === null ? 'connecting' : 'reconnecting';
}

/**
 * The key of the sentence that goes with the status.
 * @param {import('./session.js').State} state
 * @param {import('./session.js').Status} status
 */
export function statusKey(state, status) {
  if (status === 'connected' && state.outside) return 'status.connected.outside';
  if (status === 'connected' && !state.socketOpen) return 'status.connected.alone';
  if (status === 'connected' && state.picture === 'paused') return 'status.connected.weak';
  if (status !== 'reconnecting' && status !== 'connecting') return `status.${status}`;
  if (!state.socketOpen && !state.outside) return 'status.reconnecting.ours';
  return state.peer === 'away' ? 'status.reconnecting.theirs' : `status.${status}`;
}

/**
 * What is wrong, the call first and the devices after it, and which of them another try is for.
 * @param {import('./session.js').State} state
 * @param {import('./session.js').Status} status
 * @param {string | null} devices their trouble, unless it has been put aside
 * @returns {{error: string | null, retry: 'call' | 'devices' | null}}
 */
export function troubleOf(state, status, devices) {
  if (state.error) return { error: state.error, retry: state.error === 'unreachable' ? 'call' : null };
  if (status === 'failed') return { error: 'no-path', retry: 'call' };
  const told = state.screen === 'after' ? null : devices;
  return { error: told, retry: told !== null && mayRetry(told) ? 'devices' : null };
}
