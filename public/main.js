// Main: introduces the parts of the page to each other and to the browser.
//
// `webrtcBox.call` in the console is the engineer's handle: `webrtcBox.call.connection()` is the running
// RTCPeerConnection, for getStats.

import { makeCall } from './call.js';
import { language, words } from './language.js';
import { makeLevel } from './level.js';
import { makeMedia } from './media.js';
import { makeReadings } from './readings.js';
import { makeReport } from './report.js';
import { pathOfRoom, privateRoomName, roomInPath, roomName } from './room.js';
import { makeSeat } from './seat.js';
import { makeSession } from './session.js';
import { makeSignaling } from './signaling.js';
import { statusKey, statusOf } from './status.js';
import { heardAndSeen, makeSwitches } from './switches.js';
import { makeView } from './view.js';
import { makeSay } from './words.js';

const LEVEL_EVERY_MS = 80;
/** Troubles that another try does not mend, or that mend themselves. */
const NO_RETRY = new Set(['timeout', 'insecure-origin', 'unsupported', 'device-switched', 'device-taken', 'mic-lost', 'cam-lost',
  'screen-denied-system', 'screen-blocked', 'screen-not-found', 'screen-failed']);

/** @type {import('./signaling.js').Clock} */
const clock = { after: (fn, ms) => setTimeout(fn, ms), cancel: (timer) => clearTimeout(timer) };
const now = () => performance.now();
const relayOnly = new URLSearchParams(location.search).get('relay') === '1';
let room = roomInPath(location.pathname);
let invited = room !== '';
/** @type {string | null} a device's trouble the person has read and put aside */
let readTrouble = null;

const seat = makeSeat({
  storage: sessionStorage,
  locks: navigator.locks,
  pause: (ms) => new Promise((done) => { clock.after(() => done(), ms); }),
  tab: crypto.getRandomValues(new Uint32Array(2)).join('-'),
});
const media = makeMedia({
  devices: navigator.mediaDevices, secure: isSecureContext, permissions: navigator.permissions, allowed: allowedHere,
  memory: localStore(), newStream: () => new MediaStream(), clock, now, hidden: () => document.hidden, changed: mediaChanged,
});
const switches = makeSwitches({
  media, storage: sessionStorage,
  refused() {
    readTrouble = null;
    draw();
  },
});
const level = makeLevel(() => new AudioContext());
const session = makeSession({
  openSignaling: (tell) => makeSignaling({
    url: `${location.protocol === 'http:' ? 'ws:' : 'wss:'}//${location.host}/ws`, tell, seat, clock,
  }),
  openCall: (edge) => makeCall({ ...edge, clock, relayOnly, newId: randomId }),
  openReport: (send) => makeReport({ send, sample: () => readings.samples.at(-1), clock, now }),
  clock, now, changed: draw, log: console.debug,
});
const { call } = session;
const readings = makeReadings({ connection: () => call.connection(), clock, now, changed: draw });
const view = makeView({
  document, navigator, language, clock, say: makeSay(words),
  actions: {
    join,
    newRoomName,
    typed: draw,
    leave: () => session.leave(),
    again: () => join(room, ''),
    newRoom,
    retry,
    dismiss() {
      readTrouble = media.state.trouble;
      media.calm();
      session.dismiss();
    },
    toggle: switches.toggle,
    choose: media.choose,
    flip: media.flip,
    async askSpeaker() {
      const speaker = await /** @type {any} */ (navigator.mediaDevices).selectAudioOutput().catch(() => null);
      if (speaker) media.choose('audiooutput', speaker.deviceId);
    },
    listening(open) {
      sheetOpen = open;
      listen();
    },
  },
});

/** @type {WakeLockSentinel | null} */
let wakeLock = null;
let screenBefore = session.state.screen;
let sheetOpen = false;
Object.assign(globalThis, { webrtcBox: { call } });
view.setRoom(room);
begin();

function begin() {
  draw();
  performance.mark('door');
  media.start(switches.kept());
  setInterval(() => { if (session.state.screen !== 'call' || sheetOpen) view.level(level.read()); }, LEVEL_EVERY_MS);
  addEventListener('pointerdown', level.wake);
  addEventListener('online', () => session.wake(true));
  addEventListener('pageshow', () => session.wake());
  document.addEventListener('visibilitychange', () => {
    draw();
    if (document.visibilityState !== 'visible') return;
    session.wake();
    media.wake();
    stayAwake();
  });
  // A reload in the middle of a call is not a farewell: the seat is taken again at once.
  const entry = /** @type {PerformanceNavigationTiming | undefined} */ (performance.getEntriesByType('navigation')[0]);
  const name = roomName(room);
  if (entry?.type === 'reload' && name !== null) seat.take(name).then((token) => { if (token) join(name, ''); });
}

/** @param {string} typed @param {string} key */
function join(typed, key) {
  const name = roomName(typed.trim() === '' ? newRoomName() : typed);
  if (name === null) return session.complain('bad-room');
  room = name;
  view.setRoom(name);
  history.replaceState(null, '', pathOfRoom(name) + location.search);
  if (session.state.screen === 'after') media.start(switches.kept());
  else if (media.state.trouble === 'camera-denied' && !media.state.hasMic && media.wanted().mic) media.setMic(true);
  // Who joins with what is there has read what is missing.
  readTrouble = media.state.trouble;
  session.join(name, key || undefined);
}

function newRoomName() {
  return privateRoomName((bytes) => crypto.getRandomValues(bytes));
}

/** Whether the site's own policy, or that of the page it is framed in, lets this feature be. @param {string} feature */
function allowedHere(feature) {
  const { permissionsPolicy, featurePolicy } = /** @type {any} */ (document);
  return (permissionsPolicy ?? featurePolicy)?.allowsFeature?.(feature) ?? true;
}

/** Nothing is remembered where the browser forbids it. */
function localStore() {
  try {
    return localStorage;
  } catch {
    return undefined;
  }
}

/** randomUUID is missing on insecure origins. */
function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

function newRoom() {
  room = '';
  invited = false;
  view.setRoom('');
  history.replaceState(null, '', `/${location.search}`);
  session.backToDoor();
  media.start(switches.kept());
}

function retry() {
  readTrouble = null;
  if (session.state.error !== null) session.tryAgain();
  else media.again();
}

function mediaChanged() {
  if (media.state.trouble !== readTrouble) readTrouble = null;
  call.carry(media.outgoing()).catch((why) => console.debug('call', why));
  call.show(heardAndSeen(media));
  listen();
  draw();
}

/** In the call nobody looks at the level, but in the sheet of devices. */
function listen() {
  level.watch(session.state.screen === 'call' && !sheetOpen ? null : media.voice());
}

async function stayAwake() {
  if (session.state.screen !== 'call' || wakeLock?.released === false) return;
  wakeLock = await navigator.wakeLock?.request('screen').catch(() => null) ?? null;
}

function draw() {
  const { state } = session;
  if (state.screen !== screenBefore) moved();
  if (state.link === 'connected') readings.watch();
  else readings.rest();
  session.look(state.screen === 'door' && !document.hidden ? roomName(view.room()) : null);
  const status = statusOf(state, !media.state.asking);
  view.show({
    session: state, status, statusKey: statusKey(state, status), media: media.state,
    ...trouble(status), invited,
    chat: session.chat, link: location.origin + pathOfRoom(room),
    path: readings.path(), quality: readings.quality(), samples: readings.samples,
    reason: readings.reason(),
    seconds: state.since === null ? 0 : (now() - state.since) / 1000,
  });
}

function moved() {
  screenBefore = session.state.screen;
  if (screenBefore === 'after') {
    media.stop();
    wakeLock?.release();
  }
  if (screenBefore === 'call') stayAwake();
  listen();
}

/**
 * What is wrong, the call first and the devices after it; nothing once it has been put aside.
 * @param {import('./session.js').Status} status
 */
function trouble(status) {
  const { error, screen } = session.state;
  if (error) return { error, canRetry: error === 'unreachable' };
  if (status === 'failed') return { error: 'no-path', canRetry: true };
  const devices = screen === 'after' || media.state.trouble === readTrouble ? null : media.state.trouble;
  return { error: devices, canRetry: devices !== null && !NO_RETRY.has(devices) };
}
