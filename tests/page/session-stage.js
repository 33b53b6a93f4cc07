// A session between a room and a call that we play ourselves.

import { makeSession } from '../../public/app/session.js';
import { statusKey, statusOf, troubleOf } from '../../public/app/status.js';
import { makeClock } from './stage.js';

export function stageOf() {
  const clock = makeClock();
  const said = [];
  const woken = [];
  const reported = [];
  const met = [];
  const repaired = [];
  let linked = false;
  let room;
  let other;
  const session = makeSession({
    clock, now: clock.now, changed() {},
    openReport: () => ({
      begin: () => reported.push(`begin ${clock.now()}`),
      met: () => {},
      connected: () => reported.push(`connected ${clock.now()}`),
      end: () => reported.push(said.some(([what]) => what === 'leave') ? 'end after leave' : 'end'),
    }),
    openSignaling: (tell) => {
      room = tell;
      return { join: (name, options) => said.push(['join', name, options.key]), look() {}, leave: () => said.push(['leave']),
        send: (frame) => said.push(frame), askIceServers() {}, wake() { woken.push(clock.now()); } };
    },
    openCall: ({ tell }) => {
      other = tell;
      return { meet: (...who) => met.push(who), hear: async () => {}, useIceServers() {}, carry: async () => {}, show() {},
        repairSoon: () => repaired.push(clock.now()), connected: () => linked, hangUp() { link('none'); }, connection: () => (session.state.link === 'none' ? null : {}) };
    },
  });
  function link(state) {
    linked = state === 'connected';
    other({ type: 'link', state });
  }
  return {
    session, clock, said, met, woken, reported, repaired, link, state: session.state,
    room: (frame) => room(frame), other: (event) => other(event),
    status: () => statusOf(session.state, true),
    words: () => statusKey(session.state, statusOf(session.state, true)),
    trouble: (devices = null) => troubleOf(session.state, statusOf(session.state, true), devices),
    sits(peer) {
      session.join('den');
      room({ type: 'socket', open: true });
      room({ type: 'resp-join', id: 'me', peer, iceServers: [] });
    },
    talks() {
      this.sits('you');
      link('new');
      link('connected');
    },
  };
}
