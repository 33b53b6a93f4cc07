// Main of the connection test: creates its parts and connects them with each other and with the browser.

import { savedErrors, watchErrors } from '../app/page-errors.js';
import { missingFeature } from '../lib/browser.js';
import { browserClock as clock } from '../lib/clock.js';
import { makeStore } from '../lib/storage.js';
import { makeTranslate } from '../locales/index.js';
import { language, languageChoices, useLanguage, words } from '../locales/current-language.js';
import { policyOf } from '../media/capture.js';
import { Chime } from '../media/chime.js';
import { makeLevelMeter } from '../media/level-meter.js';
import { Media } from '../media/media.js';
import { measure } from './loopback-call.js';
import { gathersCandidates, runProbe, signalingWay } from './probes.js';
import { reportOf } from './report.js';
import { Run } from './run.js';
import { TestView } from './view.js';
import { Transport } from '../signaling/transport.js';

const LEVEL_INTERVAL_MS = 80;
/** The level of a voice, above that of a quiet room. */
const VOICE_LEVEL = 0.35;

const allWords = { ...words, ...(await language.test()).words };
const translate = makeTranslate(allWords);
/** @type {import('./probes.js').ProbeParts} */
const parts = { newPeerConnection: (configuration) => new RTCPeerConnection(configuration), clock, now: () => performance.now() };
const storage = makeStore(() => localStorage);
let pageFailed = false;
let currentLanguage = language;
watchErrors({
  target: globalThis, origin: location.origin, storage,
  show() {
    pageFailed = true;
    draw();
  },
});
const run = new Run({
  fetchPlan,
  runProbe: (probe, credential) => runProbe(probe, credential, parts),
  measure: (probe, credential) => measure(probe, credential, parts),
  signalingWay: () => signalingWay(new Transport({ location, clock, now: parts.now }), clock),
  lacksWebRtc: () => missingFeature(globalThis) === 'no-webrtc',
  gathersCandidates: () => gathersCandidates(parts),
  changed: draw,
});
const media = new Media({
  devices: navigator.mediaDevices, secure: isSecureContext, permissions: navigator.permissions, allowed: policyOf(document),
  newStream: () => new MediaStream(), clock, now: parts.now, hidden: () => document.hidden, changed: mediaChanged,
});
const level = makeLevelMeter(() => new AudioContext());
const chime = new Chime({ newContext: () => new AudioContext(), newAudio: () => new Audio(), mayPlay: () => true });
/** @type {{active: boolean, camera: string, mic: '' | 'none' | 'quiet' | 'heard'}} */
const devices = { active: false, camera: '', mic: '' };
/** @type {{playing: boolean, asking: boolean, result: '' | 'heard' | 'unheard' | 'failed'}} */
const tone = { playing: false, asking: false, result: '' };
const view = new TestView({
  document, navigator, translate, language, languages: languageChoices, clock,
  actions: { restart: () => run.start(), toggleDevices, retryDevices: () => { media.retry(); }, playTone: testSpeaker, answerTone, chooseLanguage },
});

setInterval(readLevel, LEVEL_INTERVAL_MS);
document.addEventListener('visibilitychange', () => { if (document.visibilityState === 'visible') media.pageVisible(); });
run.start();

/** @returns {Promise<import('./run.js').TestPlan | 'limited'>} */
async function fetchPlan() {
  const response = await fetch('/test.json', { cache: 'no-store' });
  if (response.status === 429) return 'limited';
  if (!response.ok) throw new Error(`status ${response.status}`);
  return response.json();
}

function toggleDevices() {
  devices.active = !devices.active;
  if (devices.active) media.start({ mic: true, cam: true });
  else media.stop();
}

function mediaChanged() {
  const { audio, video } = media.outgoingTracks();
  level.watch(devices.active ? audio : null);
  // The results stay after the devices are released.
  if (devices.active && !media.state.requesting) {
    const { width, height } = video?.getSettings() ?? {};
    devices.camera = video ? translate('device.works', { size: `${width}×${height}` }) : media.state.error ?? translate('device.none');
    if (devices.mic !== 'heard') devices.mic = audio ? 'quiet' : 'none';
  }
  draw();
}

function readLevel() {
  if (!devices.active) return;
  level.resume();
  const value = level.read();
  view.showLevel(value);
  if (value < VOICE_LEVEL || devices.mic === 'heard') return;
  devices.mic = 'heard';
  draw();
}

async function testSpeaker() {
  Object.assign(tone, { playing: true, asking: false, result: '' });
  draw();
  const played = await chime.play('test');
  Object.assign(tone, { playing: false, asking: played, result: played ? '' : 'failed' });
  draw();
}

/** @param {boolean} heard */
function answerTone(heard) {
  Object.assign(tone, { asking: false, result: heard ? 'heard' : 'unheard' });
  draw();
}

/** @param {import('../locales/languages.js').Language} chosen */
async function chooseLanguage(chosen) {
  try {
    const [own, inUse] = await Promise.all([chosen.test(), useLanguage(chosen)]);
    if (!inUse) return;
    Object.assign(allWords, words, own.words);
    currentLanguage = chosen;
  } catch (error) {
    console.debug('words', error);
  }
  view.setLanguage(currentLanguage);
  draw();
}

function draw() {
  const toneText = tone.result ? translate(`tone.${tone.result}`) : '';
  view.show({
    run: run.state, pageFailed, media: media.state, testsDevices: devices.active, playsTone: tone.playing, asksTone: tone.asking,
    deviceText: devices.active ? translate(`device.${media.state.requesting ? 'asking' : devices.mic}`) : '',
    toneText,
    report: reportOf({
      run: run.state, errors: savedErrors(storage), browser: navigator.userAgent, host: location.host, time: new Date().toISOString(),
      devices: {
        camera: devices.camera || translate('device.untried'),
        microphone: translate(`device.${devices.mic === 'quiet' ? 'silent' : devices.mic || 'untried'}`),
        speaker: toneText || translate('device.untried'),
      },
    }, translate),
  });
}
