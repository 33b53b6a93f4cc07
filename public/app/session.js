// The session: from the door to the end of a call, as one state that a view can draw.
//
// It listens to the room (signaling), the other person (call) and decides which screen is true. It knows
// no element, no socket and no peer connection; time comes in as a clock.

import { makeChat } from '../call/chat.js';
import { NO_REPORT } from './call-report.js';
import { forgetLink, REMOTE_AT_FIRST, stateAtFirst, theyShow } from './status.js';

/**
 * @typedef {import('../signaling/client.js').Frame} Frame
 * @typedef {import('./status.js').Ending} Ending
 * @typedef {import('./status.js').State} State
 *
 * @typedef {object} Session
 * @property {State} state
 * @property {import('../call/call.js').Call} call
 * @property {import('../call/chat.js').Chat} chat of this call; the next begins with an empty one
 * @property {(room: string | null) => void} look from the door, who is inside; at nothing to look no more
 * @property {(room: string, key?: string) => void} join
 * @property {() => void} leave
 * @property {() => void} backToDoor
 * @property {() => void} tryAgain
 * @property {() => void} dismiss
 * @property {(code: string) => void} complain
 * @property {(newNetwork?: boolean) => void} wake
 * @property {() => void} closing the page is being closed or left
 */

/** Silence is known after two seconds, and said after one more. */
const SAY_SILENCE_MS = 1000;
const STUCK_AFTER_MS = 30_000;
/** Where there was a way before, the other's network may be gone, which the server notices after 45 s. */
const STUCK_AGAIN_MS = 50_000;
const LAST_HOPE_MS = 8000;
/** What comes so long after a page was closed is of one that is there; a page in the background learns of silence late. */
const DOUBT_CLOSING_MS = 10_000;
/** Errors that say something to a person in the middle of things; the rest is for the log. */
const TELLING = new Set(['bad-message', 'not-joined', 'shutting-down']);

/**
 * @param {object} parts
 * @param {(tell: (event: Frame) => void) => import('../signaling/client.js').Signaling} parts.openSignaling
 * @param {(edge: {send: (frame: Frame) => void, tell: (event: Frame) => void, reachable: () => boolean}) =>
 *   import('../call/call.js').Call} parts.openCall
 * @param {(send: (frame: Frame) => void) => import('./call-report.js').Report} [parts.openReport]
 * @param {import('../lib/clock.js').Clock} parts.clock
 * @param {() => number} parts.now milliseconds
 * @param {() => void} parts.changed
 * @param {(what: string, why: unknown) => void} [parts.log]
 * @returns {Session}
 */
export function makeSession({ openSignaling, openCall, openReport = () => NO_REPORT, clock, now, changed, log = () => {} }) {
  const state = stateAtFirst();
  /** @type {Record<string, any>} */
  const timers = {};
  let me = '';
  /** The server does not know the other, but has just been restarted: they may be on their way back. */
  let forgotten = false;
  /** @type {string | null} */
  let peerId = null;
  const chat = makeChat({ changed });
  const signaling = openSignaling(hearRoom);
  const report = openReport(signaling.send);
  // To somebody who is out of the room there is nothing to send, though their picture may still run.
  const call = openCall({
    send: (frame) => { if (state.peer !== 'gone') signaling.send(frame); },
    tell: hearCall,
    reachable: () => state.peer === 'here' && state.socketOpen,
  });

  /** @type {Record<string, (frame: Frame) => void>} */
  const fromRoom = {
    room: ({ seats }) => {
      state.inside = seats;
      if (seats !== null && seats < 2 && state.error === 'room-full') state.error = null;
    },
    'resp-join': sit,
    'new-peer': ({ id }) => greet(String(id)),
    'peer-leave': ({ id }) => { if (id === peerId) theyAreOut(); },
    'peer-away': ({ id, closing }) => { if (id === peerId) theyAreAway(closing === true); },
    'peer-back': ({ id }) => {
      if (id !== peerId) return;
      Object.assign(state, { peer: 'here', closing: false });
      awaitLink();
      call.repairSoon();
    },
    'ice-servers': ({ iceServers }) => call.useIceServers(iceServers),
    offer: (frame) => void call.hear(frame),
    answer: (frame) => void call.hear(frame),
    candidate: (frame) => void call.hear(frame),
    socket: ({ open }) => {
      state.socketOpen = open;
      if (open && ['shutting-down', 'unreachable'].includes(String(state.error))) state.error = null;
      if (!open && state.joining && state.error === null) state.error = 'unreachable';
    },
    error: ({ code, message }) => {
      log(`server: ${code}`, message);
      if (TELLING.has(code)) state.error = code;
    },
    refused: ({ code }) => refused(String(code)),
    replaced: () => end('replaced'),
  };

  /** @param {Frame} event */
  function hearRoom(event) {
    if (Object.hasOwn(fromRoom, event.type)) fromRoom[event.type](event);
    changed();
  }

  /** @param {Frame} frame */
  function sit({ id, peer, iceServers }) {
    state.joining = false;
    state.error = null;
    state.needsKey = false;
    call.useIceServers(iceServers);
    const other = typeof peer === 'string' ? peer : null;
    me = id;
    if (other === null && (call.connected() || (state.since !== null && call.connection()))) return holdOn();
    setPeer(other);
    if (other !== null && state.since === null) report.met();
    call.meet(id, other, true);
    showRoom();
  }

  /** Nobody there, says a server that may just have been restarted: they get time to come back as well. */
  function holdOn() {
    state.peer = 'gone';
    forgotten = true;
    if (!call.connected()) lastHope(waitForAnother);
  }

  function waitForAnother() {
    call.hangUp();
    setPeer(null);
    showRoom();
  }

  /** @param {string} id */
  function greet(id) {
    setPeer(id);
    if (state.since === null) {
      report.begin();
      report.met();
    }
    call.meet(me, id, false);
    showRoom();
  }

  /** @param {string | null} id */
  function setPeer(id) {
    peerId = id;
    Object.assign(state, { peer: id === null ? 'none' : 'here', closing: false });
    forgotten = false;
  }

  function showRoom() {
    state.screen = state.peer === 'none' ? 'waiting' : 'call';
    if (state.peer === 'none') forgetCall();
    else awaitLink();
  }

  /** From here on a picture should come; a clock says when to admit that it does not. */
  function awaitLink() {
    clock.cancel(timers.patience);
    state.stuck = false;
    if (call.connected()) return;
    timers.patience = clock.after(() => {
      state.stuck = true;
      changed();
    }, state.since === null ? STUCK_AFTER_MS : STUCK_AGAIN_MS);
  }

  /** @param {boolean} closing */
  function theyAreAway(closing) {
    state.peer = 'away';
    if (!closing) return;
    state.closing = true;
    clock.cancel(timers.doubt);
    timers.doubt = clock.after(() => {
      // Who has switched everything off sends nothing, and is believed.
      const { mic, cam, screen } = state.remote;
      if (call.connected() && !state.silent && (mic || cam || screen)) state.closing = false;
      changed();
    }, DOUBT_CLOSING_MS);
  }

  /** The seat is free: they went on purpose, or their grace ran out while the media may still run. */
  function theyAreOut() {
    const dropped = state.peer === 'away' && !state.closing;
    if (dropped && call.connected()) {
      state.peer = 'gone';
    } else if (state.since !== null) {
      end(dropped ? 'theyDropped' : state.closing ? 'theyClosed' : 'theyLeft');
    } else {
      waitForAnother();
    }
  }

  /** @param {Frame} event */
  function hearCall(event) {
    if (event.type === 'link') linkIs(event.state);
    if (event.type === 'trust') state.trust = event.trust;
    if (event.type === 'remote') state.remote.stream = event.stream;
    if (event.type === 'switches') theyShow(state, event);
    if (event.type === 'picture') state.picture = event.picture;
    // Where packets stop the socket may be dead as well, and without it nothing is mended.
    if (event.type === 'pulse' && event.state === 'faint') signaling.wake();
    if (event.type === 'pulse') hearSilence(event.state === 'silent');
    if (event.type === 'missing') state.missing = event.kind;
    if (event.type === 'no-candidates') state.noCandidates = true;
    // A browser that makes no connections is not the other's business, unless one still runs.
    if (event.type === 'unable' && !call.connected()) {
      signaling.leave();
      refused('no-webrtc');
    }
    if (event.type === 'chat') chat.use(event.channel, event.peer);
    if (event.type === 'detour') state.detour = true;
    if (event.type === 'bye') end('theyLeft');
    if (event.type === 'complaint') log('call', event.why);
    changed();
  }

  /** @param {boolean} silent */
  function hearSilence(silent) {
    clock.cancel(timers.silence);
    state.silent = false;
    if (silent) timers.silence = clock.after(() => { state.silent = true; changed(); }, SAY_SILENCE_MS);
  }

  /** @param {string} link */
  function linkIs(link) {
    const before = state.link;
    state.link = link;
    if (link === 'new' || link === 'none') {
      forgetLink(state, before);
      hearSilence(false);
    }
    if (link === 'connected') {
      clock.cancel(timers.patience);
      Object.assign(state, { stuck: false, noCandidates: false });
      state.since ??= now();
      report.connected();
    } else if (before === 'connected' && link !== 'none') {
      lostLink();
    }
  }

  function lostLink() {
    // The network may have changed, and the socket gone with the path: without it nothing is mended.
    signaling.wake();
    // A restart allocates at the relay anew; the credentials may have run out in the meantime.
    signaling.askIceServers();
    const how = state.outside ? 'weDropped' : state.peer === 'gone' ? 'theyDropped' : null;
    if (how === null) return awaitLink();
    lastHope(forgotten && how === 'theyDropped' ? waitForAnother : () => end(how));
  }

  /** Nobody is left to mend it with; it may still mend itself. @param {() => void} giveUp */
  function lastHope(giveUp) {
    clock.cancel(timers.patience);
    timers.patience = clock.after(() => {
      giveUp();
      changed();
    }, LAST_HOPE_MS);
  }

  /** @param {string} code */
  function refused(code) {
    Object.assign(state, { joining: false, error: null, socketOpen: false });
    // Refused on the way back, while the other is still seen and heard: the call goes on as long as it goes.
    if (call.connected()) return void (state.outside = true);
    if (state.since !== null) return end('weDropped');
    state.error = code;
    state.needsKey = code === 'key-required';
    call.hangUp();
    setPeer(null);
    state.screen = 'door';
  }

  /** @param {Ending} how */
  function end(how) {
    const seconds = state.since === null ? null : (now() - state.since) / 1000;
    // While there is something to read and somebody to tell it to.
    report.end();
    call.hangUp(how === 'youLeft');
    if (how !== 'replaced') signaling.leave();
    setPeer(null);
    forgetCall();
    Object.assign(state, { screen: 'after', joining: false, socketOpen: false, ended: { how, seconds }, error: null });
  }

  function backToDoor() {
    Object.assign(state, { screen: 'door', ended: null, error: null, needsKey: false });
  }

  function forgetCall() {
    clock.cancel(timers.patience);
    clock.cancel(timers.doubt);
    report.end();
    chat.forget();
    Object.assign(state, { since: null, stuck: false, outside: false, detour: false, picture: 'full', remote: { ...REMOTE_AT_FIRST } });
  }

  /** @param {string | null} code */
  function complain(code) {
    state.error = code;
    changed();
  }

  return {
    state,
    call,
    chat,
    look: signaling.look,
    join(room, key) {
      if (state.joining || state.screen === 'waiting' || state.screen === 'call') return;
      Object.assign(state, { room, joining: true, inside: null, error: null, ended: null, triedKey: Boolean(key) });
      if (state.screen === 'after') state.screen = 'door';
      report.begin();
      signaling.join(room, { key });
      changed();
    },
    leave() {
      const nobodyCame = state.screen === 'waiting';
      end('youLeft');
      if (nobodyCame) backToDoor();
      changed();
    },
    backToDoor() {
      backToDoor();
      changed();
    },
    tryAgain() {
      state.error = null;
      signaling.wake();
      call.repairSoon();
      if (state.peer === 'here') awaitLink();
      changed();
    },
    dismiss: () => complain(null),
    complain,
    wake(newNetwork = false) {
      signaling.wake();
      call.repairSoon(newNetwork);
    },
    closing: signaling.closing,
  };
}
