// A session whose signaling client and call are simulated by the test.

import { Session } from '../../../public/app/session.js';
import { statusKey, statusOf, visibleError } from '../../../public/app/status.js';
import { makeClock } from './fakes.js';

export function makeSessionHarness() {
  const clock = makeClock();
  /** Calls of the signaling client. */
  const sent = [];
  /** Times of calls of checkConnection, reports and recoverSoon. */
  const checks = [];
  const reports = [];
  const peers = [];
  const recoveries = [];
  let connected = false;
  let emitSignaling;
  let emitCall;
  const session = new Session({
    clock, now: clock.now, changed() {},
    openReport: () => ({
      start: () => reports.push(`start ${clock.now()}`),
      peerPresent: () => {},
      connected: () => reports.push(`connected ${clock.now()}`),
      stop: () => reports.push(sent.some(([what]) => what === 'leave') ? 'stop after leave' : 'stop'),
    }),
    openSignaling: (emit) => {
      emitSignaling = emit;
      return { join: (name, options) => sent.push(['join', name, options.key]), peek() {}, leave: () => sent.push(['leave']),
        send: (message) => sent.push(message), request: ({ type, ...rest }) => sent.push([type, ...Object.values(rest)]), checkConnection() { checks.push(clock.now()); } };
    },
  });
  session.openCall(({ emit }) => {
    emitCall = emit;
    return { prepare() {}, setPeer: (...ids) => peers.push(ids), handle: async () => {}, setIceServers() {}, setTracks: async () => {}, setMuteState() {},
      recoverSoon: () => recoveries.push(clock.now()), isConnected: () => connected, hangUp() { connectionState('none'); }, waitForPeer() { connectionState('none'); },
      connection: () => (session.state.connectionState === 'none' ? null : {}) };
  });
  function connectionState(state) {
    connected = state === 'connected';
    emitCall({ type: 'connection-state', state });
  }
  return {
    session, clock, sent, peers, checks, reports, recoveries, connectionState, state: session.state,
    fromServer: (event) => emitSignaling(event), fromCall: (event) => emitCall(event),
    status: () => statusOf(session.state, true),
    statusKey: () => statusKey(session.state, statusOf(session.state, true)),
    error: (mediaError = null) => visibleError(session.state, statusOf(session.state, true), mediaError),
    joins(peer) {
      session.join('den');
      emitSignaling({ type: 'socket', open: true });
      emitSignaling({ type: 'resp-join', id: 'me', peer, iceServers: [] });
    },
    connects() {
      this.joins('you');
      connectionState('new');
      connectionState('connected');
    },
  };
}
