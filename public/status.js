// Status: which of a few words and sentences is true of a session just now.

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
  if (state.stuck) return 'failed';
  return state.since === null ? 'connecting' : 'reconnecting';
}

/**
 * The key of the sentence that goes with the status.
 * @param {import('./session.js').State} state
 * @param {import('./session.js').Status} status
 */
export function statusKey(state, status) {
  if (status === 'connected' && !state.socketOpen) return 'status.connected.alone';
  if (status === 'connected' && state.picture === 'paused') return 'status.connected.weak';
  if (status !== 'reconnecting') return `status.${status}`;
  if (!state.socketOpen) return 'status.reconnecting.ours';
  return state.peer === 'away' ? 'status.reconnecting.theirs' : 'status.reconnecting';
}
