// Main: introduces the parts of the page to each other and to the browser.
//
// `webrtcBox.call` in the console is the engineer's handle: `webrtcBox.call.connection()` is the running
// RTCPeerConnection, for getStats.

import { allowedIn } from '../media/permissions-policy.js';
import { makeAwake } from '../lib/wake-lock.js';
import { missingFeature } from '../lib/browser.js';
import { browserClock as clock } from '../lib/clock.js';
import { makeCall } from '../call/call.js';
import { language, words } from '../locales/language.js';
import { makeLevel } from '../media/level-meter.js';
import { makeMedia } from '../media/media.js';
import { watchErrors } from './page-errors.js';
import { makeReadings } from '../call/stats-sampler.js';
import { makeReport } from './call-report.js';
import { pathOfRoom, privateRoomName, roomInPath, roomName, roomTyped } from './room-name.js';
import { isReloadOrBack, makeSeat } from '../signaling/resume-token.js';
import { makeSession } from './session.js';
import { makeSignaling } from '../signaling/client.js';
import { pickSpeaker } from '../media/speaker-picker.js';
import { joinPromise, statusKey, statusOf, troubleOf } from './status.js';
import { makeStore } from '../lib/storage.js';
import { heardAndSeen, makeSwitches } from '../media/mute-state.js';
import { makeView } from '../ui/view.js';
import { makeSay } from '../locales/index.js';

const LEVEL_EVERY_MS = 80;
const LEFT_AT = 'webrtc-box.left-at';

const now = () => performance.now();
const relayOnly = new URLSearchParams(location.search).get('relay') === '1';
let room = roomInPath(location.pathname);
/** A link that was cut or mangled on its way names no room, and must not open just any. */
const badLink = location.pathname.startsWith('/r/') && roomName(room) === null;
if (badLink) room = '';
let invited = room !== '';
/** @type {string | null} a device's trouble the person has read and put aside */
let readTrouble = null;
let askingForSound = false;
const missing = missingFeature(globalThis);

const [ofTab, ofBrowser] = [makeStore(() => sessionStorage), makeStore(() => localStorage)];
const seat = makeSeat({
  storage: ofTab,
  shared: ofBrowser,
  locks: navigator.locks,
  pause: (ms) => new Promise((done) => { clock.after(() => done(), ms); }),
  tab: crypto.getRandomValues(new Uint32Array(2)).join('-'),
});
const media = makeMedia({
  devices: navigator.mediaDevices, secure: isSecureContext, permissions: navigator.permissions, allowed: allowedIn(document),
  memory: ofBrowser, newStream: () => new MediaStream(), clock, now, hidden: () => document.hidden, changed: mediaChanged,
});
const switches = makeSwitches({
  media, storage: ofTab,
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
  document, navigator, language, clock, storage: ofBrowser, say: makeSay(words),
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
      const speaker = await pickSpeaker(navigator.mediaDevices);
      if (speaker !== null) media.choose('audiooutput', speaker);
    },
    listening(open) {
      sheetOpen = open;
      listen();
    },
  },
});

const awake = makeAwake({ wakeLock: navigator.wakeLock });
let screenBefore = session.state.screen;
let sheetOpen = false;
Object.assign(globalThis, { webrtcBox: { call } });
watchErrors({
  target: globalThis, origin: location.origin, storage: ofBrowser,
  tell() { if (session.state.error === null) session.complain('page-error'); },
});
view.setRoom(room);
begin();

function begin() {
  draw();
  if (badLink) session.complain('bad-link');
  performance.mark?.('door');
  if (missing) session.complain(missing);
  else media.start(switches.kept());
  setInterval(() => { if (session.state.screen !== 'call' || sheetOpen) view.level(level.read()); }, LEVEL_EVERY_MS);
  addEventListener('pointerdown', () => {
    level.wake();
    media.sound();
  });
  addEventListener('online', () => session.wake(true));
  addEventListener('pagehide', () => {
    ofTab.setItem(LEFT_AT, String(Date.now()));
    session.closing();
  });
  // From the browser's own store of pages it comes without its connections.
  addEventListener('pageshow', ({ persisted }) => {
    if (persisted && ['waiting', 'call'].includes(session.state.screen) && !comesBack('back_forward')) return session.leave();
    session.wake(persisted);
    if (persisted) media.wake();
  });
  document.addEventListener('visibilitychange', () => {
    draw();
    if (document.visibilityState !== 'visible') return;
    session.wake();
    media.wake();
    awake.lit(session.state.screen === 'call');
  });
  // A reload in the middle of a call, and Back or Forward to it, is no farewell: the seat is taken again at once.
  const name = roomName(room);
  if (comesBack(navigationType()) && name !== null) seat.interrupted(name).then((yes) => { if (yes) join(name, ''); });
}

/** @param {string | undefined} type */
function comesBack(type) {
  return isReloadOrBack(type, ofTab.getItem(LEFT_AT), Date.now());
}

/** Nothing where the browser does not tell. */
function navigationType() {
  try {
    return /** @type {PerformanceNavigationTiming} */ (performance.getEntriesByType('navigation')[0]).type;
  } catch {
    return undefined;
  }
}

/** @param {string} typed @param {string} key */
async function join(typed, key) {
  if (missing) return session.complain(missing);
  // Who has waited for long may go in without an answer.
  if (askingForSound && joinPromise(media.state) === 'joinSoundOnly') return;
  const name = roomName(typed.trim() === '' ? newRoomName() : roomTyped(typed, location));
  if (name === null) return session.complain('bad-room');
  room = name;
  view.setRoom(name);
  setUrlPath(pathOfRoom(name));
  if (session.state.screen === 'after') media.start(switches.kept());
  else if (joinPromise(media.state) === 'joinSoundOnly' && !media.state.hasMic && !(await requestMic())) return;
  // Who joins with what is there has read what is missing.
  readTrouble = media.state.trouble;
  askingForSound = false;
  session.join(name, key || undefined);
}

/** Some browsers refuse it in a frame, or where it comes too often. @param {string} path */
function setUrlPath(path) {
  try {
    history.replaceState(null, '', path + location.search);
  } catch (why) {
    console.debug('address', why);
  }
}

/** What the button promises is asked for now; where it is refused again, that is told, and the button promises less. */
async function requestMic() {
  askingForSound = true;
  let isWaitedFor = false;
  try {
    await media.askMic();
  } finally {
    isWaitedFor = askingForSound;
    askingForSound = false;
    readTrouble = null;
    draw();
  }
  // Whatever became of this question: another one may have taken its place.
  return isWaitedFor && media.state.hasMic;
}

function newRoomName() {
  return privateRoomName((bytes) => crypto.getRandomValues(bytes));
}

/** randomUUID is missing on insecure origins. */
function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

function newRoom() {
  room = '';
  invited = false;
  view.setRoom('');
  setUrlPath('/');
  session.backToDoor();
  media.start(switches.kept());
}

function retry() {
  const what = trouble().retry;
  readTrouble = null;
  if (what === 'call') session.tryAgain();
  if (what === 'devices') media.again();
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

function draw() {
  const { state } = session;
  if (state.screen !== screenBefore) moved();
  if (state.link === 'connected') readings.watch();
  else readings.rest();
  session.look(state.screen === 'door' && !document.hidden ? roomName(roomTyped(view.room(), location)) : null);
  const status = statusOf(state, !media.state.asking);
  const { error, retry: cure } = trouble();
  view.show({
    session: state, status, statusKey: statusKey(state, status), media: media.state,
    error, canRetry: cure !== null, invited,
    chat: session.chat, link: location.origin + pathOfRoom(room),
    path: readings.path(), udpShut: readings.udpShut(), quality: readings.quality(), samples: readings.samples,
    reason: readings.reason(),
    seconds: state.since === null ? 0 : (now() - state.since) / 1000,
  });
}

function moved() {
  screenBefore = session.state.screen;
  if (screenBefore === 'after') media.stop();
  awake.lit(screenBefore === 'call');
  listen();
}

function trouble() {
  const { trouble: devices, asking } = media.state;
  return troubleOf(session.state, statusOf(session.state, !asking), devices === readTrouble ? null : devices);
}
