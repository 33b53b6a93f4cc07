// Status: the state of a session, what the page shows of it (status, sentence, badge, picture), and which retry would help.

import { mayRetry } from '../media/media-errors.js';

/**
 * @import { Verification } from '../call/verification.js'
 * @import { Quality } from '../call/selected-path.js'
 * @import { OutgoingVideo } from '../call/sender-control.js'
 * @import { CallEvent } from '../types.js'
 * @import { Knock } from './knocks.js'
 *
 * @typedef {'lobby' | 'knocking' | 'waiting' | 'call' | 'ended'} Screen `knocking`: waiting to be let in
 * @typedef {'idle' | 'preview' | 'joining' | 'waiting' | 'connecting' | 'connected' | 'reconnecting' | 'failed'} Status
 * @typedef {'youLeft' | 'theyLeft' | 'theyClosed' | 'theyDropped' | 'weDropped' | 'replaced' | 'moved'} EndReason `moved`: to another device
 * @typedef {RTCPeerConnectionState | 'none'} ConnectionState
 *
 * @typedef {object} RemoteState what the peer sends
 * @property {MediaStream | null} stream
 * @property {boolean} mic
 * @property {boolean} cam
 * @property {boolean} screen
 * @property {boolean} weak no video, or a still one, because the peer's network does not carry it
 *
 * @typedef {object} SessionState
 * @property {Screen} screen
 * @property {string} room
 * @property {string | null} error
 * @property {boolean} needsKey
 * @property {boolean} triedKey
 * @property {boolean} joining
 * @property {number | null} occupancy taken seats of the room named in the lobby, or in front of which we wait; null until the server answers
 * @property {string} inviterName of the participant in the room named in the lobby; '' where unknown
 * @property {string} peerName of the other participant; '' where unknown
 * @property {boolean} elsewhere another tab of this browser is in the room named in the lobby
 * @property {number} position in front of the room, from 1 on
 * @property {Knock[]} knocks in order
 * @property {boolean} socketOpen
 * @property {'none' | 'present' | 'away' | 'gone'} peer `gone`: the seat is free, but media still flows
 * @property {boolean} peerClosing the peer closed its page and may come back for a moment
 * @property {ConnectionState} connectionState
 * @property {boolean} late no packets have arrived for a moment
 * @property {boolean} silent no packets arrive, whatever the connection state is
 * @property {boolean} noCandidates our browser found no ICE candidate
 * @property {'audio' | 'video' | null} missingCodec the kind for which the browsers have no codec in common
 * @property {boolean} timedOut no path was found in time
 * @property {boolean} detached a rejoin was refused: the call lasts as long as its peer connection
 * @property {boolean} pathAvoided a path that carried no media is avoided
 * @property {number | null} connectedAt when the call first connected, in ms
 * @property {{reason: EndReason, seconds: number | null, name: string} | null} ended `name`: of the other participant
 * @property {Verification | null} verification
 * @property {RemoteState} remote
 * @property {OutgoingVideo} outgoingVideo
 */

/** @returns {RemoteState} */
export const initialRemote = () => ({ stream: null, mic: true, cam: true, screen: false, weak: false });

/** @returns {SessionState} */
export const initialState = () => ({
  screen: 'lobby', room: '', error: null, needsKey: false, triedKey: false, joining: false, occupancy: null, inviterName: '', peerName: '',
  elsewhere: false, position: 1, knocks: [], socketOpen: false,
  peer: 'none', peerClosing: false, connectionState: 'none', late: false, silent: false, noCandidates: false, missingCodec: null, timedOut: false,
  detached: false, pathAvoided: false, connectedAt: null, ended: null, remote: initialRemote(), verification: null, outgoingVideo: 'full',
});

/** Clears what was known of the previous peer connection, when there is a new one or none. @param {SessionState} state @param {ConnectionState} before */
export function resetConnection(state, before) {
  Object.assign(state, { verification: null, noCandidates: false, missingCodec: null });
  if (state.connectionState === 'new') state.outgoingVideo = 'full';
  // A second connection within a call is to the same participant: the mute state holds until the next message.
  state.remote = state.connectionState === 'new' && before !== 'none' ? { ...state.remote, stream: null } : initialRemote();
}

/** A paused screen share stays readable while its next frame is awaited. @param {SessionState} state @param {Extract<CallEvent, {type: 'mute-state'}>} event */
export function setRemoteMuteState({ remote }, { mic, cam, screen, weak, still }) {
  Object.assign(remote, { mic, cam, screen: screen || (still && remote.screen), weak });
}

/**
 * What the page shows, from one state: sentence, badge and picture cannot contradict each other.
 *
 * @typedef {object} Presentation
 * @property {Status} status
 * @property {string} statusKey
 * @property {boolean} showsPath whether the badge with path and quality is true now
 * @property {boolean} late the quality is weak whatever the statistics of the last seconds say
 * @property {boolean} dimmed the picture of the other participant stands still
 *
 * @param {SessionState} state
 * @param {boolean} previewSettled
 * @returns {Presentation}
 */
export function presentationOf(state, previewSettled) {
  const status = statusOf(state, previewSettled);
  const isConnected = status === 'connected';
  return {
    status, statusKey: statusKey(state, status), showsPath: isConnected, late: isConnected && state.late,
    dimmed: state.screen === 'call' && state.connectedAt !== null && !isConnected,
  };
}

/**
 * The value of `#status`.
 * @param {SessionState} state
 * @param {boolean} previewSettled whether the browser's question about camera and microphone is answered
 * @returns {Status}
 */
export function statusOf(state, previewSettled) {
  if (state.screen === 'ended') return 'idle';
  if (state.joining && state.screen === 'knocking') return 'joining';
  if (state.screen === 'lobby') return state.joining ? 'joining' : previewSettled ? 'preview' : 'idle';
  if (state.screen === 'call' && state.connectionState === 'connected' && !state.silent && !state.peerClosing) return 'connected';
  if (state.screen === 'waiting' || state.screen === 'knocking') return state.socketOpen ? 'waiting' : 'reconnecting';
  // Whether there is a path is unknown while either side is disconnected from the server.
  if (state.timedOut && state.socketOpen && state.peer === 'present') return 'failed';
  return state.connectedAt === null ? 'connecting' : 'reconnecting';
}

/**
 * The key of the sentence for a status; `named.*` has a name in it.
 * @param {SessionState} state
 * @param {Status} status
 */
export function statusKey(state, status) {
  if (status === 'connected' && state.detached) return 'status.connected.outside';
  if (status === 'connected' && !state.socketOpen) return 'status.connected.alone';
  if (status === 'connected' && state.missingCodec) return `status.connected.no-${state.missingCodec}`;
  if (status === 'connected' && state.outgoingVideo === 'paused') return 'status.connected.weak';
  if (status === 'waiting' && state.screen === 'knocking') return 'status.knocking';
  if (status !== 'reconnecting' && status !== 'connecting') return `status.${status}`;
  if (!state.socketOpen && !state.detached) return 'status.reconnecting.ours';
  if (state.peerClosing) return state.peerName ? 'named.closed' : 'status.reconnecting.closed';
  // Our socket is alive, so the silence is on their side, also once the browser notices it.
  const areTheyLost = state.peer === 'away' || (state.silent && !state.detached);
  if (areTheyLost) return state.peerName ? 'named.theirs' : 'status.reconnecting.theirs';
  return `status.${status}`;
}

/**
 * The quality of both directions: a network that does not carry our video is not good.
 * @param {Quality} quality of what arrives
 * @param {OutgoingVideo} outgoingVideo
 * @returns {Quality}
 */
export function qualityWith(quality, outgoingVideo) {
  if (outgoingVideo === 'paused') return 'poor';
  return outgoingVideo === 'reduced' && quality === 'good' ? 'fair' : quality;
}

/** The key of the sentence that says how the call ended. @param {NonNullable<SessionState['ended']>} ended */
export function endKey({ reason, name }) {
  return name && ['theyLeft', 'theyClosed', 'theyDropped'].includes(reason) ? `named.${reason}` : `after.${reason}`;
}

/**
 * The error to show, of the call before that of the devices, and what a retry would apply to.
 * @param {SessionState} state
 * @param {Status} status
 * @param {string | null} mediaError null where it was dismissed
 * @returns {{error: string | null, retry: 'call' | 'devices' | null}}
 */
export function visibleError(state, status, mediaError) {
  if (state.error) return { error: state.error, retry: state.error === 'unreachable' ? 'call' : null };
  if (state.noCandidates && state.socketOpen && status !== 'connected') return { error: 'no-candidates', retry: 'call' };
  if (status === 'failed') return { error: 'no-path', retry: 'call' };
  const error = state.screen === 'ended' ? null : mediaError;
  return { error, retry: error !== null && mayRetry(error) ? 'devices' : null };
}

/**
 * The key of the join button's label, which names what a join would send now.
 * @param {import('../media/media.js').MediaState} media
 * @returns {'join' | 'joinSoundOnly' | 'joinBare'}
 */
export function joinLabel({ requesting, error, hasMic, cam }) {
  if (requesting || error === null || cam) return 'join';
  return hasMic || error === 'camera-denied' ? 'joinSoundOnly' : 'joinBare';
}
