// A call over a link that becomes too slow: sound continues, video gets smaller or pauses, both participants see why, and
// video returns by itself. A shared screen keeps its size and loses frame rate.

import assert from 'node:assert/strict';
import { matrix } from '../browser/lib/harness.mjs';
import { reportMeasurement } from '../browser/lib/measurements.mjs';
import { delay, waitFor } from '../browser/lib/wait.mjs';
import { createLinkEmulator } from './link-emulator.mjs';
import { createNetworkHarness } from './network.mjs';

const harness = await createNetworkHarness('nat-bandwidth-adaptation');
const VIDEO_PAUSED = 'Weak connection: your video is paused';

// Chromium's fake camera hardly changes, and its fake microphone has silent gaps: adaptation cannot be measured with them.
// Chromium needs these flags for the synthetic tone.
const AUDIO_FLAGS = ['--autoplay-policy=no-user-gesture-required'];

/** Init script: replaces camera, microphone and screen by moving pictures, a tone, and a screen full of text. */
const SYNTHETIC_MEDIA = `${function syntheticMedia() {
  if (!navigator.mediaDevices) return;
  const getUserMedia = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);

  navigator.mediaDevices.getUserMedia = async ({ audio, video }) => {
    const stream = new MediaStream();
    if (audio) stream.addTrack(await toneTrack());
    if (video) stream.addTrack(cameraTrack());
    return stream;
  };
  navigator.mediaDevices.getDisplayMedia = async () => new MediaStream([screenTrack()]);

  async function toneTrack() {
    // Firefox's fake microphone has no gaps, and its AudioContext needs a user gesture.
    if (/Firefox/.test(navigator.userAgent)) return (await getUserMedia({ audio: true })).getAudioTracks()[0];
    const context = new AudioContext();
    const oscillator = context.createOscillator();
    const destination = context.createMediaStreamDestination();
    oscillator.connect(destination);
    oscillator.start();
    return destination.stream.getAudioTracks()[0];
  }

  function cameraTrack() {
    return canvasTrack(640, 360, 20, (context, frame) => {
      for (let index = 0; index < 40; index += 1) {
        context.fillStyle = `hsl(${(index * 37 + frame * 5) % 360} 70% 50%)`;
        context.fillRect((index * 83 + frame * (3 + (index % 5))) % 640, (index * 61 + frame * (index % 4)) % 360, 30 + index * 2, 20 + index);
      }
    });
  }

  function screenTrack() {
    return canvasTrack(1600, 900, 15, (context, frame) => {
      context.fillStyle = '#fff';
      context.fillRect(0, 0, 1600, 900);
      context.fillStyle = '#000';
      context.font = '20px monospace';
      for (let line = 0; line < 30; line += 1) context.fillText(`line ${line + Math.floor(frame / 15)} of a text that goes on and on`, 40, 40 + line * 28);
    });
  }

  function canvasTrack(width, height, frameRate, draw) {
    const canvas = Object.assign(document.createElement('canvas'), { width, height });
    const context = canvas.getContext('2d');
    let frame = 0;
    setInterval(() => draw(context, (frame += 1)), 1000 / frameRate);
    return canvas.captureStream(frameRate).getVideoTracks()[0];
  }
}}`;

/** Runs `body(link, first, second)` in a call whose first participant is behind an emulated link. */
async function withEmulatedLink(kinds, body) {
  const link = await createLinkEmulator();
  try {
    const hosts = ['a1', 'b1'];
    const pair = await harness.joinPair(kinds.map((kind, index) => [kind, { host: hosts[index], initScript: SYNTHETIC_MEDIA, flags: AUDIO_FLAGS }]), harness.roomUrl());
    await harness.expectMedia(pair);
    // The bandwidth estimation of the browsers settles.
    await delay(5000);
    await body(link, ...pair);
  } finally {
    await link.close();
  }
}

const inboundCounters = (participant) => participant.evaluate(`async () => {
  const counters = { concealed: 0, samples: 0, frames: 0, width: 0 };
  for (const stat of (await webrtcBox.call.connection().getStats()).values()) {
    if (stat.type !== 'inbound-rtp') continue;
    if (stat.kind === 'video') Object.assign(counters, { frames: stat.framesDecoded, width: stat.frameWidth ?? 0 });
    else Object.assign(counters, { concealed: stat.concealedSamples - stat.silentConcealedSamples, samples: stat.totalSamplesReceived });
  }
  return counters;
}`);

/** What arrives within `ms`; `concealment` is the share of audio samples that were lost and synthesized. */
async function measureInbound(participant, ms) {
  const before = await inboundCounters(participant);
  await delay(ms);
  const after = await inboundCounters(participant);
  const concealment = (after.concealed - before.concealed) / Math.max(1, after.samples - before.samples);
  const frames = after.frames - before.frames;
  return { concealment, hasAudio: after.samples > before.samples, frames, fps: (frames * 1000) / ms, width: after.width };
}

/** The encoding of the sent video: `active`, `maxBitrate` and so on. */
const videoEncoding = (participant) => participant.evaluate(`() => webrtcBox.call.connection().getSenders()
  .find(({ track }) => track?.kind === 'video').getParameters().encodings[0]`);

/** The share of `ms` in which the sent video is reduced or paused; the page tries a higher bitrate in between. */
async function shareOfReducedVideo(participant, ms) {
  const end = performance.now() + ms;
  const samples = [];
  while (performance.now() < end) {
    const { active, maxBitrate } = await videoEncoding(participant);
    samples.push(!active || maxBitrate <= 600_000);
    await delay(250);
  }
  return samples.filter(Boolean).length / samples.length;
}

function reportShare(name, measured, goal) {
  console.log(`measurement: ${name}: ${(measured * 100).toFixed(1)} % (goal ${goal * 100} %)`);
  assert.ok(measured <= 3 * goal, `${name}: ${measured}`);
}

/** The text in place of the remote video; false where there is a video. */
const remoteVideoNote = (participant) => participant.evaluate(`() => document.getElementById('remoteFrame').classList.contains('empty')
  && document.getElementById('theirNote').textContent`);

const isScreenShown = `document.getElementById('remoteFrame').classList.contains('whole')`;

for (const kinds of [['chromium', 'firefox'], ['firefox', 'chromium']]) {
  harness.scenario(`${kinds[0]}'s video pauses at 70 kbit/s, sound continues, video returns`, () => withEmulatedLink(kinds, async (link, first, second) => {
    await link.limit({ rate: 70_000 }, {});
    const limitedAt = performance.now();
    const initialInbound = measureInbound(second, 6000);
    await first.waitForStatusText(VIDEO_PAUSED);
    reportMeasurement(`${kinds[0]}: slow link, video paused`, performance.now() - limitedAt, 3000);
    await waitFor('the reason at the peer', async () => /Weak connection/.test(await remoteVideoNote(second)));
    reportMeasurement(`${kinds[0]}: slow link, the peer shows why`, performance.now() - limitedAt, 5000);
    console.log(`measurement: ${kinds[0]}: audio concealed in the first 6 s: ${((await initialInbound).concealment * 100).toFixed(1)} %`);
    const inbound = await measureInbound(second, 6000);
    assert.ok(inbound.hasAudio);
    reportShare(`${kinds[0]}: audio concealed while video is paused`, inbound.concealment, 0.15);
    await link.unlimit();
    const unlimitedAt = performance.now();
    await waitFor('the video again', async () => (await videoEncoding(first)).active && !(await remoteVideoNote(second)) && (await measureInbound(second, 1000)).frames > 0, 60_000);
    reportMeasurement(`${kinds[0]}: unlimited link, video back`, performance.now() - unlimitedAt, 15_000);
    assert.equal(await first.evaluate('() => __observed.connections.length'), 1);
  }));
}

harness.scenario('300 kbit/s with 10 % loss carry sound and reduced video', () => withEmulatedLink(['chromium', 'firefox'], async (link, ...pair) => {
  await link.limit({ rate: 300_000, loss: 0.1, delay: 0.05 });
  // The page adapts.
  await delay(8000);
  const [inbound, reduced] = await Promise.all([measureInbound, shareOfReducedVideo].map((measure) => Promise.all(pair.map((participant) => measure(participant, 8000)))));
  inbound.forEach(({ concealment, hasAudio }, index) => {
    assert.ok(hasAudio);
    reportShare(`300 kbit/s, 10 % loss: audio concealed at ${index ? 'firefox' : 'chromium'}`, concealment, 0.1);
  });
  reduced.forEach((share, index) => {
    console.log(`measurement: 300 kbit/s, 10 % loss: ${index ? 'firefox' : 'chromium'} sends reduced video or none ${(share * 100).toFixed()} % of the time`);
    assert.ok(share >= 0.5, `${share}`);
  });
  await Promise.all(pair.map((participant) => participant.waitForState('connected')));
}));

/** Runs in the page: records whether the remote video is ever hidden, cropped or black, and changes of the notice above it. */
const OBSERVE_REMOTE_SCREEN = `() => {
  const [video, frame, notice] = ['remote', 'remoteFrame', 'theirScreen'].map((id) => document.getElementById(id));
  const observed = globalThis.__remoteScreen = { hidden: 0, cropped: 0, black: 0, changes: [] };
  const startedAt = performance.now();
  const canvas = Object.assign(document.createElement('canvas'), { width: 32, height: 18 });
  const context = canvas.getContext('2d', { willReadFrequently: true });
  new MutationObserver(() => { observed.changes.push(((performance.now() - startedAt) / 1000).toFixed(1) + ' s ' + notice.textContent); }).observe(notice, { childList: true });
  new MutationObserver(() => {
    if (frame.classList.contains('empty')) observed.hidden += 1;
    if (!frame.classList.contains('whole')) observed.cropped += 1;
  }).observe(frame, { attributes: true });
  setInterval(() => {
    context.drawImage(video, 0, 0, 32, 18);
    // Until a new connection has a frame, the poster shows the last one.
    if (video.readyState < 2 && !video.poster) observed.black += 1;
    if (context.getImageData(0, 0, 32, 18).data.every((value, index) => index % 4 === 3 || value < 24)) observed.black += 1;
  }, 250);
}`;

for (const kind of matrix(['firefox'], ['chromium'])) {
  harness.scenario(`a paused screen stays visible at ${kind} with a steady notice`, () => withEmulatedLink(['chromium', kind], async (link, first, second) => {
    await first.click('[data-act=share]');
    await waitFor('the screen', async () => (await inboundCounters(second)).width === 1600 && second.evaluate(`() => ${isScreenShown}`));
    await second.evaluate(OBSERVE_REMOTE_SCREEN);
    await link.limit({ rate: 50_000 }, {});
    await waitFor('the paused screen', async () => !(await videoEncoding(first)).active, 60_000);
    await second.waitForCondition('the notice at the peer', `document.getElementById('theirScreen').textContent.includes('screen is paused')`);
    // Long enough for two trials of a higher bitrate.
    await delay(25_000);
    const { changes, ...faults } = await second.evaluate('() => globalThis.__remoteScreen');
    console.log(`measurement: paused screen: the notice at ${kind} changed ${changes.length} times:\n  ${changes.join('\n  ')}`);
    assert.deepEqual(faults, { hidden: 0, cropped: 0, black: 0 });
    // The notice changes with each trial, which starts every ten seconds at most.
    assert.ok(changes.length <= 6, `${changes.length} changes`);
    await link.unlimit();
    await second.waitForCondition('the moving screen', `document.getElementById('theirScreen').textContent === ''`, 60_000);
  }));
}

harness.scenario('a screen shared over 150 kbit/s keeps its size and loses frame rate', () => withEmulatedLink(['chromium', 'chromium'], async (link, first, second) => {
  await first.click('[data-act=share]');
  await waitFor('the screen', async () => (await inboundCounters(second)).width === 1600);
  await link.limit({ rate: 150_000 });
  // The page adapts.
  await delay(8000);
  const inbound = await waitFor('frames of the screen', async () => {
    const measured = await measureInbound(second, 12_000);
    return measured.frames > 0 && measured;
  }, 90_000);
  console.log(`measurement: screen over 150 kbit/s: ${inbound.width} pixels wide, ${inbound.fps.toFixed(1)} frames a second`);
  assert.equal(inbound.width, 1600);
  assert.ok(inbound.fps <= 8, `${inbound.fps}`);
  reportShare('screen over 150 kbit/s: audio concealed', inbound.concealment, 0.1);
}));
