// Browsers without WebRTC or a common codec, a frozen or closed page, back and forward navigation, a video paused from
// outside: the page shows the cause, and everything that can work still works.

import assert from 'node:assert/strict';
import { createHarness, ENDED_STATES } from './lib/harness.mjs';
import { reportMeasurement } from './lib/measurements.mjs';
import { waitFor } from './lib/wait.mjs';

const harness = await createHarness('browser-faults');
const LOOPBACK_ICE = { 'media.peerconnection.ice.loopback': true };
const DELETE_WEBRTC = '() => { delete globalThis.RTCPeerConnection; }';
const THROWING_WEBRTC = '() => { const Native = globalThis.RTCPeerConnection; globalThis.RTCPeerConnection = class extends Native { constructor() { throw new Error("forbidden"); } }; }';

/** The connection test names the browser as the cause, and no port of the server. */
async function expectTestVerdict(participant, code) {
  await participant.open(`${harness.server.origin}/test`);
  await participant.waitForCondition(`verdict ${code}`, `document.getElementById('verdict').dataset.code === '${code}'`, 40_000);
  assert.doesNotMatch(await participant.evaluate('() => document.body.innerText'), /\b(UDP|TCP|TLS) \d+/, 'no port');
}

async function launchWaitingPeer(kind, url) {
  const peer = await harness.participant(kind);
  await peer.open(url);
  await peer.join();
  await peer.waitForState('waiting');
  return peer;
}

for (const [kind, options] of [['firefox', { prefs: { ...LOOPBACK_ICE, 'media.peerconnection.enabled': false } }], ['chromium', { initScript: DELETE_WEBRTC }]]) {
  harness.scenario(`${kind} without WebRTC shows an error and does not join`, async () => {
    const url = harness.roomUrl();
    const broken = await harness.participant(kind, options);
    const peer = await launchWaitingPeer('chromium', url);
    await broken.open(url);
    assert.match(await broken.waitForError('no-webrtc'), /WebRTC/);
    await broken.click('#btnJoin');
    await broken.waitForError('no-webrtc');
    assert.equal(await peer.state(), 'waiting');
    await expectTestVerdict(broken, 'no-webrtc');
  });
}

harness.scenario('a browser that refuses a connection leaves; the peer keeps waiting', async () => {
  const url = harness.roomUrl();
  const broken = await harness.participant('chromium', { initScript: THROWING_WEBRTC });
  const peer = await launchWaitingPeer('firefox', url);
  await broken.open(url);
  await broken.join();
  await broken.waitForError('no-webrtc');
  await peer.waitForState('waiting');
  await expectTestVerdict(broken, 'no-webrtc');
});

harness.scenario('both pages name a browser that gathers no candidates as the cause', async () => {
  const broken = await harness.participant('chromium', {
    flags: ['--force-webrtc-ip-handling-policy=disable_non_proxied_udp', '--webrtc-ip-handling-policy=disable_non_proxied_udp'],
    initScript: `() => {
      const add = RTCPeerConnection.prototype.addEventListener;
      Object.defineProperty(RTCPeerConnection.prototype, 'onicecandidate', { set(handler) {
        let finished = false;
        add.call(this, 'icegatheringstatechange', () => { if (this.iceGatheringState === 'complete' && !finished) { finished = true; handler({ candidate: null }); } });
      } });
    }`,
  });
  const url = harness.roomUrl();
  await launchWaitingPeer('chromium', url);
  await broken.open(url);
  await broken.join();
  assert.match(await broken.waitForError('no-candidates', 40_000), /browser/);
  await expectTestVerdict(broken, 'no-candidates');
});

for (const kinds of [['chromium', 'firefox'], ['firefox', 'chromium']]) {
  harness.scenario(`${kinds[1]} shows within seconds that ${kinds[0]} is frozen`, async () => {
    const [frozen, peer] = await harness.joinPair(kinds, harness.roomUrl());
    await harness.expectMedia([frozen, peer]);
    const frozenAt = performance.now();
    await frozen.suspend();
    await peer.waitForState('reconnecting', 20_000);
    reportMeasurement(`${kinds[0]} frozen: shown`, performance.now() - frozenAt, 3500);
    await frozen.resume();
    await peer.expectMedia();
  });

  harness.scenario(`${kinds[1]} shows that ${kinds[0]} closed the page, not that it was lost`, async () => {
    const [closing, peer] = await harness.joinPair(kinds, harness.roomUrl());
    await harness.expectMedia([closing, peer]);
    const closedAt = performance.now();
    await closing.open(`${harness.server.origin}/healthz`);
    await peer.waitForStatusText('They closed the page');
    reportMeasurement(`${kinds[0]} closed the page: shown`, performance.now() - closedAt, 2000);
    await peer.waitForState(ENDED_STATES, 40_000);
    assert.equal(await peer.evaluate(`() => document.getElementById('afterWhy').textContent`), 'The other person closed the page.');
  });

  harness.scenario(`${kinds[0]} rejoins the call after Back, and after Forward and Back`, async () => {
    const pair = await harness.joinPair(kinds, harness.roomUrl());
    await harness.expectMedia(pair);
    await pair[0].open(`${harness.server.origin}/healthz`);
    for (const step of ['back', 'forward', 'back']) {
      await pair[0].evaluate(`() => { setTimeout(() => history.${step}(), 0); }`);
      const path = step === 'back' ? '/r/' : '/healthz';
      await waitFor(step, () => pair[0].evaluate(`() => location.pathname.startsWith('${path}') && document.readyState === 'complete'`).catch(() => false));
    }
    await harness.expectMedia(pair);
  });
}

for (const kind of ['chromium', 'firefox']) {
  harness.scenario(`${kind} resumes a paused video, and asks if it is paused again`, async () => {
    const [participant] = await harness.joinPair([kind, 'chromium'], harness.roomUrl());
    await participant.expectMedia();
    const waitForPlayback = () => participant.waitForCondition('playback', `!document.getElementById('remote').paused`);
    const waitForButton = (shown) => participant.waitForCondition(shown ? 'the sound button' : 'no sound button', `document.getElementById('btnHear').hidden === ${!shown}`);
    await participant.evaluate(`() => document.getElementById('remote').pause()`);
    await waitForPlayback();
    await waitForButton(false);
    await participant.evaluate(`() => { document.getElementById('remote').muted = true; }`);
    await waitForButton(true);
    await participant.click('#btnHear');
    await waitForButton(false);
    assert.equal(await participant.evaluate(`() => document.getElementById('remote').muted`), false);
    await participant.evaluate(`async () => {
      const remote = document.getElementById('remote');
      for (let count = 0; count < 3; count += 1) {
        remote.pause();
        await new Promise((resolve) => { setTimeout(resolve, 300); });
      }
    }`);
    await waitForButton(true);
    await participant.click('#btnHear');
    await waitForPlayback();
    await waitForButton(false);
  });
}

/** Init script: the browser supports none of the offered video codecs. */
const NO_VIDEO_CODEC = `() => {
  const { setRemoteDescription } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.setRemoteDescription = function (description) {
    return setRemoteDescription.call(this, { type: description.type, sdp: description.sdp.replace(/ (VP8|VP9|H264|H265|AV1)\\//g, ' X$1/') });
  };
}`;

for (const kinds of [['chromium', 'firefox'], ['firefox', 'chromium']]) {
  harness.scenario(`${kinds.join(' and ')} without a common video codec have sound`, async () => {
    const url = harness.roomUrl();
    const [offering, answering] = [await harness.participant(kinds[0]), await harness.participant(kinds[1], { initScript: NO_VIDEO_CODEC })];
    for (const participant of [answering, offering]) {
      await participant.open(url);
      await participant.join();
      if (participant === answering) await participant.waitForState('waiting');
    }
    for (const participant of [offering, answering]) {
      await participant.waitForState('connected');
      await participant.waitForStatusText('cannot play your video');
      await waitFor('sound', async () => (await participant.stats()).audioEnergy > 0);
    }
  });
}

harness.scenario('Firefox with randomized canvas data never shows noise as a frame', async () => {
  const pair = await harness.joinPair([['firefox', { prefs: { ...LOOPBACK_ICE, 'privacy.resistFingerprinting': true } }], 'chromium'], harness.roomUrl());
  await harness.expectMedia(pair);
  await pair[0].evaluate(`() => {
    globalThis.__posters = 0;
    new MutationObserver(() => { if (document.getElementById('remote').poster) __posters += 1; }).observe(document.getElementById('remote'), { attributes: true });
  }`);
  await pair[1].reload();
  await pair[0].waitForCondition('the new connection', '__observed.connections.length > 1');
  await harness.expectMedia(pair);
  assert.equal(await pair[0].evaluate('() => __posters'), 0);
});
