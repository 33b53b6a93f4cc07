// Main: creates the parts of the page and connects them with each other and with the browser.
//
// `webrtcBox.call` is for the console: `webrtcBox.call.connection()` is the running RTCPeerConnection, for getStats.

import { makeCallReport } from './call-report.js';
import { displayName } from './display-name.js';
import { browserStorage, listeners, media, missing, tabStorage, toggles } from './local-media.js';
import { MicLevel } from './mic-level.js';
import { watchErrors } from './page-errors.js';
import { PageLifecycle } from './page-lifecycle.js';
import { pathOfRoom, privateRoomName, roomInPath, roomInText, roomName } from './room-name.js';
import { Session } from './session.js';
import { joinLabel, presentationOf, qualityWith, statusOf, visibleError } from './status.js';
import { tokenInFragment } from './transfer.js';
import { browserClock as clock, nextTask } from '../lib/clock.js';
import { makeWakeLock } from '../lib/wake-lock.js';
import { makeTranslate } from '../locales/index.js';
import { addDetails, language, languageChoices, useLanguage, words } from '../locales/current-language.js';
import { pickSpeaker } from '../media/device-selection.js';
import { muteStateOf } from '../media/mute-state.js';
import { SignalingClient } from '../signaling/client.js';
import { ResumeTokens } from '../signaling/resume-token.js';
import { Transport } from '../signaling/transport.js';
import { View } from '../ui/view.js';

const LEVEL_INTERVAL_MS = 80;
const CONNECTING_DRAW_MS = 100;
const NAME_KEY = 'webrtc-box.name';

const now = () => performance.now();
const relayOnly = new URLSearchParams(location.search).get('relay') === '1';
let room = roomInPath(location.pathname);
/** A link that was cut or changed must not open another room. */
const isBadLink = location.pathname.startsWith('/r/') && roomName(room) === null;
if (isBadLink) room = '';
let invited = room !== '';
/** The one-time token of a link that moves a call to this device, and its room; it is kept nowhere else. */
let moved = takeTransfer();
/** @type {string | null} */
let dismissedMediaError = null;
let requestingMic = false;
let settingsOpen = false;
let currentLanguage = language;

let started = false;
let isDrawAwaited = false;
/** @type {import('../lib/clock.js').Timer | null} */
let drawTimer = null;
/** @type {import('../call/stats-sampler.js').StatsSampler | null} */
let stats = null;
/** @type {Promise<void> | null} */
let loadingCall = null;

listeners.changed = mediaChanged;
listeners.toggleFailed = () => {
  dismissedMediaError = null;
  draw();
};
// Each `nextTask` lets the browser handle input and draw: together these steps would block a slow phone.
await nextTask();
let ownName = displayName(browserStorage.getItem(NAME_KEY));
const level = new MicLevel({ media, newContext: () => new AudioContext(), clock, now });
const resumeTokens = new ResumeTokens({
  storage: tabStorage,
  shared: browserStorage,
  locks: navigator.locks,
  pause: (ms) => new Promise((resolve) => { clock.after(() => resolve(), ms); }),
  tab: crypto.getRandomValues(new Uint32Array(2)).join('-'),
});
const transport = new Transport({ location, clock, now });
const session = new Session({
  openSignaling: (emit) => new SignalingClient({ open: (host) => transport.open(host), emit, resumeTokens, clock }),
  openReport: (send) => makeCallReport({ send, sample: () => stats?.samples.at(-1), clock, now }),
  clock, now, changed: draw, log: console.debug,
});
watchErrors({
  target: globalThis, origin: location.origin, storage: browserStorage,
  show() { if (session.state.error === null) session.setError('page-error'); },
});
await nextTask();
const view = new View({
  document, navigator, language, languages: languageChoices, clock, storage: browserStorage, translate: makeTranslate(words),
  actions: {
    join,
    roomTyped: draw,
    leave: () => session.leave(),
    joinAgain: () => join(room, ''),
    newRoom,
    openRoom: (key) => session.join(room, { key, name: ownName }),
    answerKnock: (id, admit) => session.answerKnock(id, admit),
    requestTransfer: () => session.requestTransfer(),
    closeTransfer() {
      session.transfer.close();
      draw();
    },
    transferFailed() {
      session.transfer.close();
      session.setError('page-error');
    },
    partFailed: () => session.setError('page-error'),
    retry,
    dismissError,
    toggle: toggles.toggle,
    media,
    chooseLanguage,
    chooseSpeaker,
    settingsToggled(open) {
      settingsOpen = open;
      watchLevel();
    },
  },
});
await nextTask();
await view.prepareLobby();
const lifecycle = new PageLifecycle({ session, media, storage: tabStorage, visibilityChanged });
const wakeLock = makeWakeLock(navigator.wakeLock);
let previousScreen = session.state.screen;
view.room = room;
await nextTask();
started = true;
if (isBadLink) session.setError('bad-link');
if (missing) session.setError(missing);
show();
performance.mark?.('lobby');
await nextTask();
start();

function start() {
  loadDetails();
  loadCall().catch((error) => console.debug('call', error));
  draw();
  setInterval(() => { if (session.state.screen !== 'call' || settingsOpen) view.showLevel(level.read()); }, LEVEL_INTERVAL_MS);
  addEventListener('pointerdown', () => {
    level.resume();
    media.resumeAudio();
  });
  addEventListener('hashchange', () => {
    const found = takeTransfer();
    if (found && session.state.screen === 'lobby') moved = found;
    draw();
  });
  lifecycle.watch();
  // A reload during a call, and Back or Forward to it, rejoins at once.
  const name = roomName(room);
  if (lifecycle.isResumed() && name !== null && moved === null) resumeTokens.wasInterrupted(name).then((yes) => { if (yes) join(name, ''); });
}

function visibilityChanged() {
  draw();
  if (document.visibilityState === 'visible') wakeLock.set(session.state.screen === 'call');
}

/** Without a name, the one given before is used. @param {string} typed @param {string} key @param {string} [typedName] */
async function join(typed, key, typedName = ownName) {
  rememberName(typedName);
  if (missing) return session.setError(missing);
  // A second click while the microphone is requested joins without it.
  if (requestingMic && joinLabel(media.state) === 'joinSoundOnly') return;
  const name = roomName(typed.trim() === '' ? newRoomName() : roomInText(typed, location));
  if (name === null) return session.setError('bad-room');
  room = name;
  view.room = name;
  setUrlPath(pathOfRoom(name));
  if (session.state.screen === 'ended') media.start(toggles.saved());
  else if (joinLabel(media.state) === 'joinSoundOnly' && !media.state.hasMic && !(await requestMic())) return;
  try {
    await loadCall();
  } catch {
    return session.setError('page-error');
  }
  // Joining with the devices there are dismisses the error about the others.
  dismissedMediaError = media.state.error;
  requestingMic = false;
  const { state } = session;
  const transfer = moved?.room === name ? moved.token : undefined;
  moved = null;
  session.join(name, {
    key: key || undefined, name: ownName, transfer, takeOver: state.elsewhere || state.ended?.reason === 'replaced',
  });
}

/** The token in the address and its room; it is removed from the address at once. */
function takeTransfer() {
  const token = tokenInFragment(location.hash);
  const name = roomName(roomInPath(location.pathname));
  if (token === null || name === null) return null;
  setUrlPath(location.pathname);
  return { room: name, token };
}

/** @param {string} typed */
function rememberName(typed) {
  ownName = displayName(typed);
  if (ownName) browserStorage.setItem(NAME_KEY, ownName);
  else browserStorage.removeItem(NAME_KEY);
}

/** Some browsers refuse it in a frame, or too often in a row. @param {string} path */
function setUrlPath(path) {
  if (location.pathname === path && location.hash === '') return;
  try {
    history.replaceState(null, '', path + location.search);
  } catch (error) {
    console.debug('address', error);
  }
}

/** Requests what the join button promises; after another denial the error is shown and the button promises less. */
async function requestMic() {
  requestingMic = true;
  let isWaitedFor = false;
  try {
    await media.requestMic();
  } finally {
    isWaitedFor = requestingMic;
    requestingMic = false;
    dismissedMediaError = null;
    draw();
  }
  // Another request may have provided the microphone meanwhile.
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
  view.room = '';
  setUrlPath('/');
  session.returnToLobby();
  media.start(toggles.saved());
}

function retry() {
  const { retry: what } = currentError();
  dismissedMediaError = null;
  if (what === 'call') session.retry();
  if (what === 'devices') media.retry();
}

function dismissError() {
  dismissedMediaError = media.state.error;
  media.dismissNotice();
  session.setError(null);
}

/** The words and the style of a call come after the lobby is drawn. A failed load is repeated with the next screen. */
function loadDetails() {
  view.loadCallStyle();
  addDetails().then((added) => { if (added) view.setLanguage(currentLanguage); }, (error) => console.debug('words', error));
}

/** The modules of a call come after the lobby is drawn, and a join waits for them. */
function loadCall() {
  loadingCall ??= openCall().catch((error) => {
    loadingCall = null;
    throw error;
  });
  return loadingCall;
}

async function openCall() {
  const [{ callModules: { createCall, makeStatsSampler } }] = await Promise.all([import('./call-modules.js'), view.prepareCall()]);
  await nextTask();
  session.openCall((edge) => createCall({ ...edge, clock, relayOnly, newId: randomId, storage: browserStorage }));
  const { call } = session;
  stats = makeStatsSampler({ connection: () => call?.connection() ?? null, clock, now, changed: draw });
  await nextTask();
  // A join that has come meanwhile has done it.
  call?.prepare();
  Object.assign(globalThis, { webrtcBox: { call } });
  mediaChanged();
}

/** @param {import('../locales/languages.js').Language} chosen */
async function chooseLanguage(chosen) {
  try {
    if (await useLanguage(chosen)) view.setLanguage(currentLanguage = chosen);
  } catch (error) {
    view.setLanguage(currentLanguage);
    console.debug('words', error);
  }
}

async function chooseSpeaker() {
  const speaker = await pickSpeaker(navigator.mediaDevices);
  if (speaker !== null) media.select('audiooutput', speaker);
}

function mediaChanged() {
  if (!started) return;
  if (media.state.error !== dismissedMediaError) dismissedMediaError = null;
  session.call?.setTracks(media.outgoingTracks()).catch((error) => console.debug('call', error));
  session.call?.setMuteState(muteStateOf(media));
  watchLevel();
  draw();
}

/** During a call the level is shown only in the device settings. */
function watchLevel() {
  const inCall = session.state.screen === 'call';
  level.watch(inCall, !inCall || settingsOpen);
}

/**
 * Draws once for all changes of this moment, and after what else follows from them: a message goes to the call first. While a
 * call is being connected its messages have priority, on both sides: drawing takes as long as all of them together.
 */
function draw() {
  const isConnecting = session.state.screen === 'call' && session.state.connectedAt === null;
  if (!started || (isDrawAwaited && (isConnecting || !drawTimer))) return;
  isDrawAwaited = true;
  clock.cancel(drawTimer);
  drawTimer = isConnecting ? clock.after(drawNow, CONNECTING_DRAW_MS) : null;
  if (!drawTimer) nextTask().then(drawNow);
}

function drawNow() {
  isDrawAwaited = false;
  drawTimer = null;
  const { state } = session;
  // After the new screen is drawn.
  if (state.screen !== previousScreen) nextTask().then(screenChanged);
  previousScreen = state.screen;
  if (state.connectionState === 'connected') stats?.start();
  else stats?.stop();
  lifecycle.askBeforeUnload(state.screen === 'call' && state.connectedAt !== null);
  session.peek(state.screen === 'lobby' && !document.hidden ? roomName(roomInText(view.room, location)) : null);
  show();
}

function show() {
  const { state } = session;
  const { late, ...presentation } = presentationOf(state, !media.state.requesting);
  const { error, retry: retries } = currentError();
  view.show({
    session: state, ...presentation, media: media.state,
    error, canRetry: retries !== null, invited, ownName, inviterName: state.inviterName,
    continues: moved !== null,
    chat: session.chat, link: location.origin + pathOfRoom(room), transfer: session.transfer.code,
    path: stats?.path() ?? null, udpBlocked: stats?.isUdpBlocked() ?? false,
    quality: late ? 'poor' : qualityWith(stats?.quality() ?? 'good', state.outgoingVideo), samples: stats?.samples ?? [],
    reason: stats?.qualityReason() ?? null,
    seconds: state.connectedAt === null ? 0 : (now() - state.connectedAt) / 1000,
  });
}

function screenChanged() {
  const { screen } = session.state;
  loadDetails();
  if (screen === 'ended') media.stop();
  wakeLock.set(screen === 'call');
  watchLevel();
}

function currentError() {
  const { error, requesting } = media.state;
  return visibleError(session.state, statusOf(session.state, !requesting), error === dismissedMediaError ? null : error);
}
