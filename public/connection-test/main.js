// The connection test: introduces its parts to each other and to the browser.

import { policyOf } from '../media/permissions-policy.js';
import { missingFeature } from '../lib/browser.js';
import { browserClock as clock } from '../lib/clock.js';
import { language, words } from '../locales/language.js';
import { makeLevelMeter } from '../media/level-meter.js';
import { Media } from '../media/media.js';
import { savedErrors, watchErrors } from '../app/page-errors.js';
import { makeStore } from '../lib/storage.js';
import { measure } from './loopback-call.js';
import { gathers, reach } from './probes.js';
import { reportOf } from './report.js';
import { makeRun } from './run.js';
import { playTone } from './tone.js';
import { makeTestView } from './view.js';
import { makeSay } from '../locales/index.js';

const LEVEL_EVERY_MS = 80;
/** A voice, and not the noise of a room. */
const VOICE = 0.35;

const say = makeSay({ ...words, ...(await language.test()).words });
/** @type {import('./probes.js').Edge} */
const edge = { newPeer: (configuration) => new RTCPeerConnection(configuration), clock, now: () => performance.now() };

const ofBrowser = makeStore(() => localStorage);
let broken = false;
watchErrors({
  target: globalThis, origin: location.origin, storage: ofBrowser,
  show() {
    broken = true;
    draw();
  },
});
const run = makeRun({
  ask,
  reach: (probe, credential) => reach(probe, credential, edge),
  measure: (probe, credential) => measure(probe, credential, edge),
  lacking: () => missingFeature(globalThis) === 'no-webrtc',
  gathers: () => gathers(edge),
  changed: draw,
});
const media = new Media({
  devices: navigator.mediaDevices, secure: isSecureContext, permissions: navigator.permissions, allowed: policyOf(document),
  newStream: () => new MediaStream(), clock, now: edge.now, hidden: () => document.hidden, changed: mediaChanged,
});
const level = makeLevelMeter(() => new AudioContext());
/** @type {{watching: boolean, camera: string, mic: '' | 'none' | 'quiet' | 'heard', playing: boolean, asked: boolean, tone: '' | 'heard' | 'unheard' | 'failed'}} */
const tried = { watching: false, camera: '', mic: '', playing: false, asked: false, tone: '' };
const view = makeTestView({
  document, navigator, say, language, clock,
  actions: { again: () => run.start(), devices, retry: () => { media.retry(); }, tone, heard },
});

setInterval(listen, LEVEL_EVERY_MS);
document.addEventListener('visibilitychange', () => { if (document.visibilityState === 'visible') media.pageVisible(); });
run.start();

/** @returns {Promise<import('./run.js').Sheet | 'limited'>} */
async function ask() {
  const reply = await fetch('/test.json', { cache: 'no-store' });
  if (reply.status === 429) return 'limited';
  if (!reply.ok) throw new Error(`status ${reply.status}`);
  return reply.json();
}

function devices() {
  tried.watching = !tried.watching;
  if (tried.watching) media.start({ mic: true, cam: true });
  else media.stop();
}

function mediaChanged() {
  const { audio, video } = media.outgoingTracks();
  level.watch(tried.watching ? audio : null);
  // What was found stays said when it is over.
  if (tried.watching && !media.state.requesting) {
    const { width, height } = video?.getSettings() ?? {};
    tried.camera = video ? say('device.works', { size: `${width}×${height}` }) : media.state.error ?? say('device.none');
    if (tried.mic !== 'heard') tried.mic = audio ? 'quiet' : 'none';
  }
  draw();
}

function listen() {
  if (!tried.watching) return;
  level.resume();
  const loud = level.read();
  view.level(loud);
  if (loud < VOICE || tried.mic === 'heard') return;
  tried.mic = 'heard';
  draw();
}

async function tone() {
  Object.assign(tried, { playing: true, asked: false, tone: '' });
  draw();
  const played = await playTone(() => new AudioContext());
  Object.assign(tried, { playing: false, asked: played, tone: played ? '' : 'failed' });
  draw();
}

/** @param {boolean} yes */
function heard(yes) {
  Object.assign(tried, { asked: false, tone: yes ? 'heard' : 'unheard' });
  draw();
}

function draw() {
  const toneSaid = tried.tone ? say(`tone.${tried.tone}`) : '';
  view.show({
    run: run.state, broken, media: media.state, watching: tried.watching, playing: tried.playing, asked: tried.asked,
    devicesSaid: !tried.watching ? '' : say(`device.${media.state.requesting ? 'asking' : tried.mic}`),
    toneSaid,
    report: reportOf({
      run: run.state, errors: savedErrors(ofBrowser), browser: navigator.userAgent, host: location.host, time: new Date().toISOString(),
      devices: {
        camera: tried.camera || say('device.untried'),
        microphone: say(`device.${tried.mic === 'quiet' ? 'silent' : tried.mic || 'untried'}`),
        speaker: toneSaid || say('device.untried'),
      },
    }, say),
  });
}
