// Brings real pages into every state that they can show, from the lobby to the end of a call, one after the other.

import path from 'node:path';
import { PERSON_A, PERSON_B, renderCameraVideo } from './camera-video.mjs';
import { ENDED_STATES } from './harness.mjs';
import { waitFor } from './wait.mjs';

/** Chromium's flags for the browser language, by the page's name of the language. */
export const LANGUAGE_FLAGS = { en: ['--accept-lang=en-GB'], zh: ['--accept-lang=zh-CN'] };

/** The color schemes to check in a state: the call is dark in both, and is checked under the light one, which it overrides. */
export const colorSchemes = (state) => (state.startsWith('call') ? ['light'] : ['light', 'dark']);

// --- init scripts: they run in the page before its own scripts and must not use anything else of this file -------------

/** Puts the page's signaling socket under the control of the test, as `__signaling`. The server's real behaviour has its
 *  own tests. */
const CONTROL_SIGNALING = `${function controlSignaling() {
  const Native = globalThis.WebSocket;
  let [disconnected, error, peer] = [false, null, null];
  const sockets = [];
  // Another socket may have been opened beside it, and closed again.
  const current = () => sockets.findLast(({ readyState }) => readyState === Native.OPEN);
  globalThis.WebSocket = class extends Native {
    constructor(url) {
      super(disconnected ? url.replace(/ws$/, 'nowhere') : url);
      sockets.push(this);
      this.addEventListener('message', ({ data }) => {
        const message = JSON.parse(data);
        if (message.type === 'resp-join') ({ peer } = message);
        if (message.type === 'new-peer') peer = message.id;
      });
      if (error) {
        setTimeout(() => {
          this.onopen?.({});
          this.onmessage?.({ data: JSON.stringify(error) });
        }, 0);
      }
    }
  };
  const nativeFetch = globalThis.fetch;
  globalThis.fetch = (resource, options) => (disconnected && String(resource).endsWith('/poll')
    ? Promise.reject(new TypeError('disconnected')) : nativeFetch(resource, options));
  globalThis.__signaling = {
    /** Closes the socket; new ones and HTTP long polling fail until `reconnect`. */
    disconnect() {
      disconnected = true;
      for (const socket of sockets) socket.close();
    },
    reconnect() { disconnected = false; },
    /** Delivers the message that the other participant's seat has expired. */
    expirePeer() { current().onmessage({ data: JSON.stringify({ type: 'peer-leave', id: peer }) }); },
    /** Closes the socket as if another page had taken the seat. */
    replaceSeat() { current().onclose({ code: 4001 }); },
    /** While disconnected, every request is answered with this error. */
    refuse(code) { error = { type: 'error', code, message: '' }; },
  };
}}`;

/** With `?nowhere` in the address, no candidate pair is found, and the page gives up soon. */
const NO_CANDIDATES = `${function noCandidates() {
  if (!location.search.includes('nowhere')) return;
  RTCPeerConnection.prototype.addIceCandidate = async () => {};
  const later = globalThis.setTimeout;
  globalThis.setTimeout = (fn, ms, ...rest) => later(fn, ms === 30_000 ? 500 : ms, ...rest);
}}`;

/** With `sessionStorage.__invalidReveal` set, the page reveals a key that does not match its verification code. */
const INVALID_REVEAL = `${function invalidReveal() {
  const { send } = RTCDataChannel.prototype;
  RTCDataChannel.prototype.send = function (text) {
    send.call(this, sessionStorage.__invalidReveal ? String(text).replace(/^reveal .*/, `reveal ${'0'.repeat(64)}`) : text);
  };
}}`;

// --- faults that a test causes in a running page ----------------------------------------------------------------------

/** Makes the statistics report 90 % loss and a growing round trip, or restores the real ones. */
const reportLoss = (participant, enabled) => participant.evaluate(`() => {
  const pc = webrtcBox.call.connection();
  delete pc.getStats;
  if (!${enabled}) return;
  let reports = 0;
  const lossy = (kind) => [kind, { type: 'remote-inbound-rtp', id: kind, kind, timestamp: reports, fractionLost: 0.9, roundTripTime: reports < 4 ? 0.01 : 1 }];
  pc.getStats = async () => {
    reports += 1;
    return new Map([...await RTCPeerConnection.prototype.getStats.call(pc), lossy('video'), lossy('audio')]);
  };
}`);

/** Makes the connection report that it is disconnected, or restores its real state. */
const reportDisconnected = (participant, enabled) => participant.evaluate(`() => {
  const pc = webrtcBox.call.connection();
  if (${enabled}) Object.defineProperty(pc, 'connectionState', { configurable: true, get: () => 'disconnected' });
  else delete pc.connectionState;
  pc.dispatchEvent(new Event('connectionstatechange'));
}`);

/** Screen sharing captures a canvas full of text from now on. */
const fakeScreenCapture = (participant) => participant.evaluate(`() => {
  navigator.mediaDevices.getDisplayMedia = async () => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 1600, height: 900 });
    const context = canvas.getContext('2d');
    let frame = 0;
    setInterval(() => {
      context.fillStyle = '#fff';
      context.fillRect(0, 0, 1600, 900);
      context.fillStyle = '#123';
      context.font = '22px monospace';
      frame += 1;
      for (let line = 0; line < 28; line += 1) context.fillText('line ' + (line + frame) + ' of a long text', 60, 60 + line * 30);
    }, 100);
    return canvas.captureStream(10);
  };
}`);

/** Refuses to play sound, as phones do before a touch, and restarts the remote video; or allows it again. */
const blockSound = (participant, enabled) => participant.evaluate(`() => {
  const proto = HTMLMediaElement.prototype;
  globalThis.__play ??= proto.play;
  proto.play = ${enabled} ? function () { return this.muted ? __play.call(this) : Promise.reject(new DOMException('sound', 'NotAllowedError')); } : __play;
  if (${enabled}) document.getElementById('remote').srcObject = null;
}`);

const sendMessage = (participant, text) => participant.evaluate(`() => {
  document.getElementById('chatLine').value = ${JSON.stringify(text)};
  document.getElementById('chatForm').requestSubmit();
}`);

const isDialogOpen = (id) => `document.getElementById('${id}').open`;

// --- the states -------------------------------------------------------------------------------------------------------

let cameraVideos;

function renderCameraVideos(harness) {
  cameraVideos ??= Promise.all(Object.entries({ a: PERSON_A, b: PERSON_B }).map(
    ([name, person]) => renderCameraVideo(path.join(harness.dir, `person-${name}.mjpeg`), person, { dir: harness.dir, ca: harness.authority.ca })));
  return cameraVideos;
}

/** Calls `visit(participant, state)` in each state, in the order of a call; `language` is `en` or `zh`. */
export async function visitPageStates(harness, language, visit) {
  const url = harness.roomUrl();
  const [videoA, videoB] = await renderCameraVideos(harness);
  const launch = async (options) => {
    const participant = await harness.participant('chromium', { flags: LANGUAGE_FLAGS[language], ...options });
    for (const script of [CONTROL_SIGNALING, NO_CANDIDATES, INVALID_REVEAL]) await participant.addInitScript(script);
    return participant;
  };

  const refused = await launch({ devices: 'refused' });
  await refused.open(url);
  await refused.waitForError('camera-denied');
  await visit(refused, 'lobby-devices-refused');
  await refused.close();

  const first = await launch({ cameraVideo: videoB });
  await visitLobby(first, harness.server.origin, url, visit);
  const second = await launch({ cameraVideo: videoA });
  await second.open(url);
  await second.join();
  await harness.expectMedia([first, second]);
  await first.waitForCondition('the verification code', `!document.getElementById('trust').hidden`);
  await visit(first, 'call');
  await visitPanels(first, second, language, visit);
  await visitWeakConnection(first, second, visit);
  await visitCallProblems(first, second, visit);

  const third = await launch({});
  await third.open(url);
  await third.join();
  await third.waitForCondition('the third person waiting', `document.body.dataset.screen === 'knocking' && document.getElementById('knockingWhy').textContent`);
  await visit(third, 'knocking');
  await first.waitForCondition('the knock', `!document.getElementById('knocks').hidden`);
  await visit(first, 'call-knocks');
  await third.click('#btnCancel');
  await first.waitForCondition('no knock', `document.getElementById('knocks').hidden`);

  await first.leave();
  await Promise.all([first, second].map((participant) => participant.waitForState(ENDED_STATES)));
  await visit(first, 'ended-left');
  await visit(second, 'ended-peer-left');
  await visitFailures(first, second, third, harness, visit);
}

/** One participant alone: the lobby, its dialogs, and waiting. */
async function visitLobby(first, origin, url, visit) {
  await first.open(origin);
  await first.waitForState('preview');
  await visit(first, 'lobby');
  await first.evaluate(`() => { document.getElementById('room').value = 'two/words'; document.getElementById('door').requestSubmit(); }`);
  await first.waitForError('bad-room');
  await visit(first, 'lobby-error');
  await first.open(url);
  await first.waitForState('preview');
  await first.waitForOccupancy(0);
  await visit(first, 'lobby-invited');
  await first.click('.outside-call[data-act=settings]');
  await first.waitForCondition('the device dialog', isDialogOpen('settings'));
  await visit(first, 'lobby-devices');
  await first.press('Escape');
  await first.join();
  await first.waitForState('waiting');
  await first.waitForCondition('the QR code', `document.getElementById('qr').childElementCount > 0`);
  await visit(first, 'waiting');
}

/** Panels and dialogs that open beside the video or over it. */
async function visitPanels(first, second, language, visit) {
  await first.click('#path');
  await visit(first, 'call-stats');
  await first.click('#btnNumbersClose');
  await sendMessage(second, language === 'zh' ? '能看到我吗？' : 'Can you see me?');
  await first.waitForCondition('the badge of unread messages', `document.body.dataset.unread === '1'`);
  await visit(first, 'call-unread');
  await first.click('[data-act=chat]');
  await sendMessage(first, language === 'zh' ? '看到了。文件在这里：https://example.org/a/long/way/to/the/report.pdf，请看一下。'
    : 'Yes! Here it is: https://example.org/a/long/way/to/the/report.pdf, have a look.');
  await sendMessage(second, language === 'zh' ? '谢谢' : 'Thank you');
  await first.waitForCondition('three messages', `document.querySelectorAll('#chatLog [data-state=sent]').length === 3`);
  await visit(first, 'call-chat');
  await first.press('Escape');
  await first.click('.in-call[data-act=settings]');
  await first.waitForCondition('the device dialog', isDialogOpen('settings'));
  await visit(first, 'call-devices');
  await first.press('Escape');
  await first.press('?');
  await first.waitForCondition('the list of shortcuts', isDialogOpen('keys'));
  await visit(first, 'call-shortcuts');
  await first.press('Escape');
  await first.click('.in-call[data-act=settings]');
  await first.click('[data-act=transfer]');
  await first.waitForCondition('the code', `document.getElementById('transferCode')?.childElementCount > 0`);
  await visit(first, 'call-transfer');
  await first.press('Escape');
}

/** A shared screen, and both videos paused for a weak network: with the shared screen, and then without it. */
async function visitWeakConnection(first, second, visit) {
  await fakeScreenCapture(second);
  await second.press('s');
  await waitFor('the shared screen', async () => (await first.stats()).width === 1600
    && first.evaluate(`() => document.getElementById('remoteFrame').classList.contains('whole')`));
  await visit(first, 'call-screen');
  await Promise.all([first, second].map((participant) => reportLoss(participant, true)));
  await first.waitForCondition('the paused screen and the paused own video',
    `document.getElementById('theirScreen').textContent.includes(document.documentElement.lang === 'en' ? 'your video' : '您的视频')`);
  await visit(first, 'call-screen-paused');
  await reportDisconnected(first, true);
  await first.waitForState('reconnecting');
  await visit(first, 'call-screen-paused-reconnecting');
  await reportDisconnected(first, false);
  await second.press('s');
  // The connection may have been replaced meanwhile, and reports no loss then.
  await first.waitForState('connected');
  await Promise.all([first, second].map((participant) => reportLoss(participant, true)));
  await first.waitForCondition('both videos paused',
    `document.getElementById('status').classList.contains('detailed') && document.getElementById('remoteFrame').classList.contains('empty')`, 60_000);
  await visit(first, 'call-video-paused');
  await first.click('#path');
  await visit(first, 'call-video-paused-stats');
  await first.click('#btnNumbersClose');
  await Promise.all([first, second].map((participant) => reportLoss(participant, false)));
  await first.waitForCondition('the video again',
    `!document.getElementById('remoteFrame').classList.contains('empty') && !document.getElementById('status').classList.contains('detailed')`, 60_000);
}

/** A running call with a notice or a request to the user. */
async function visitCallProblems(first, second, visit) {
  await blockSound(first, true);
  await first.waitForCondition('the sound button', `!document.getElementById('btnHear').hidden`);
  await visit(first, 'call-sound-blocked');
  await blockSound(first, false);
  await first.click('#btnHear');
  await first.waitForCondition('the sound', `!document.getElementById('remote').muted`);
  await first.evaluate('() => __signaling.disconnect()');
  await first.waitForStatusText(await first.evaluate(`() => document.documentElement.lang === 'en' ? 'go on talking' : '可以继续通话'`));
  await visit(first, 'call-signaling-lost');
  await first.evaluate('() => __signaling.reconnect()');
  await first.waitForCondition('the server again', `!document.getElementById('status').classList.contains('detailed')`);
  for (const key of ['m', 'v']) await second.press(key);
  await first.waitForCondition('the muted peer', `!document.getElementById('theirMic').hidden`);
  await first.press('v');
  await visit(first, 'call-muted');
  await first.press('v');
  for (const key of ['m', 'v']) await second.press(key);
  await second.evaluate(`() => { sessionStorage.__invalidReveal = 'yes'; }`);
  await second.reload();
  await first.waitForCondition('the warning', `document.getElementById('trust').dataset.state === 'mismatch'`);
  await visit(first, 'call-verification-failed');
  await first.click('#btnNumbersClose');
}

/** No path between the participants, and the ways in which a call ends. */
async function visitFailures(first, second, third, harness, visit) {
  const nowhere = harness.roomUrl('?nowhere');
  for (const participant of [second, third]) {
    await participant.open(nowhere);
    await participant.join();
    if (participant === second) await participant.waitForState('waiting');
  }
  await second.waitForError('no-path');
  await visit(second, 'call-no-path');
  await third.evaluate('() => __signaling.replaceSeat()');
  await third.waitForState(ENDED_STATES);
  await visit(third, 'ended-seat-replaced');
  await second.leave();

  for (const [peer, ending] of [[second, 'peer-disconnected'], [third, 'disconnected']]) {
    const url = harness.roomUrl();
    for (const participant of [first, peer]) {
      await participant.open(url);
      await participant.join();
      if (participant === first) await participant.waitForState('waiting');
    }
    await first.expectMedia();
    await peer.close();
    await first.waitForState('reconnecting');
    if (ending === 'peer-disconnected') {
      await visit(first, 'call-peer-lost');
      await first.evaluate('() => __signaling.expirePeer()');
    } else {
      await first.evaluate('() => __signaling.disconnect()');
      await first.waitForStatusText(await first.evaluate(`() => document.documentElement.lang === 'en' ? 'Your connection was lost' : '您的网络断开了'`));
      await visit(first, 'call-connection-lost');
      await first.evaluate(`() => __signaling.refuse('room-full')`);
    }
    await first.waitForState(ENDED_STATES);
    await visit(first, `ended-${ending}`);
  }
  await first.close();
}
