// Cameras, microphones and speakers: refused or missing ones do not prevent joining; others are selected and remembered,
// unplugged and recovered. Changes that a headless browser cannot simulate are made on the real objects it gave the page.

import assert from 'node:assert/strict';
import path from 'node:path';
import { createHarness, ENDED_STATES } from './lib/harness.mjs';
import { waitFor } from './lib/wait.mjs';

const harness = await createHarness('devices');

const remoteVideoHidden = (hidden) => `${hidden ? '' : '!'}document.getElementById('remoteFrame').classList.contains('empty')`;

for (const [kind, devices] of [['chromium', 'refused'], ['firefox', 'refused'], ['chromium', 'none']]) {
  harness.scenario(`${kind} with ${devices === 'none' ? 'missing' : 'refused'} devices shows why and still joins`, async (context) => {
    const url = harness.roomUrl();
    const host = await harness.participant('chromium');
    await host.open(url);
    await host.join();
    await host.waitForState('waiting');

    const participant = await harness.participant(kind, { devices });
    await participant.open(url);
    await participant.waitForState('preview');
    const attached = await participant.evaluate('async () => (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.kind.endsWith("input")).length');
    if (devices === 'none' && attached > 0) return context.skip('this machine has a real camera or microphone');
    const message = await waitFor('an error about the devices', () => participant.evaluate('() => document.getElementById("error").textContent.trim()'), 15_000);
    assert.match(message, /camera|microphone/i);
    await participant.screenshot(path.join(harness.dir, `${kind}-${devices}.png`));

    await participant.join();
    if (devices === 'refused') {
      // The button offers to join with sound only; the second refusal is shown before it offers to join without.
      await participant.waitForError('camera-denied-again');
      await participant.join();
    }
    await participant.expectMedia();
    await host.waitForState('connected');
    // Joining dismisses the error; each press of a device button in the call shows it again.
    for (const button of ['cam', 'mic', 'cam']) {
      await participant.waitForNoError();
      await participant.click(`[data-act=${button}]`);
      assert.match(await waitFor('the error again', () => participant.evaluate(`() => { const error = document.getElementById('error'); return !error.hidden && error.textContent.trim(); }`)), /camera|microphone/i);
      await participant.click('#btnDismiss');
    }
  });
}

/** Init script: records the tracks that the page gets in `__tracks`; `__deviceBusy` and `__hiddenDeviceKind` change what
 *  the browser answers. */
const CONTROL_DEVICES = `() => {
  const tracks = globalThis.__tracks = [];
  const { mediaDevices } = navigator;
  const getUserMedia = mediaDevices.getUserMedia.bind(mediaDevices);
  mediaDevices.getUserMedia = async (constraints) => {
    globalThis.__requests = (globalThis.__requests ?? 0) + 1;
    if (globalThis.__deviceBusy) throw new DOMException('in use', 'NotReadableError');
    const stream = await getUserMedia(constraints);
    tracks.push(...stream.getTracks());
    return stream;
  };
  const enumerateDevices = mediaDevices.enumerateDevices.bind(mediaDevices);
  mediaDevices.enumerateDevices = async () => (await enumerateDevices()).filter(({ kind }) => kind !== globalThis.__hiddenDeviceKind);
}`;
const THREE_DEVICES = ['--use-fake-device-for-media-stream=device-count=3'];
/** JavaScript for the page's newest local track of this kind. */
const localTrack = (kind) => `__tracks.findLast((track) => track.kind === '${kind}')`;
/** The track that is sent, and its counters; null where there is none. */
const sentTrack = (participant, kind) => participant.evaluate(`async () => {
  const sender = webrtcBox.call.connection().getSenders().find(({ track }) => track?.kind === '${kind}');
  if (!sender) return null;
  const { deviceId } = sender.track.getSettings();
  const stats = [...(await sender.getStats()).values()].find(({ type }) => type === 'outbound-rtp');
  return { id: sender.track.id, deviceId, enabled: sender.track.enabled, frames: stats?.framesEncoded ?? 0, packets: stats?.packetsSent ?? 0 };
}`);
/** Mutes the newest local track of this kind, as the system does that takes its device, or unmutes it. */
const setMuted = (participant, kind, muted) => participant.evaluate(`() => {
  const track = ${localTrack(kind)};
  Object.defineProperty(track, 'muted', { value: ${muted}, configurable: true });
  track.dispatchEvent(new Event('${muted ? 'mute' : 'unmute'}'));
}`);
/** Stops the camera, as unplugging it does. */
const endCamera = `${localTrack('video')}.stop(); ${localTrack('video')}.dispatchEvent(new Event('ended'));`;
const sdpVersion = (participant) => participant.evaluate(`() => webrtcBox.call.connection().localDescription.sdp.match(/o=\\S+ \\S+ (\\d+)/)[1]`);
const selectOption = (participant, id, index) => participant.evaluate(`() => {
  const list = document.getElementById('${id}');
  list.selectedIndex = ${index};
  list.dispatchEvent(new Event('change'));
  return list.value;
}`);

async function joinControlledPair(kinds, flags = THREE_DEVICES) {
  const url = harness.roomUrl();
  const pair = [];
  for (const kind of kinds) {
    const participant = await harness.participant(kind, { flags, initScript: CONTROL_DEVICES });
    await participant.open(url);
    await participant.join();
    await participant.waitForState(['waiting', 'connecting', 'connected']);
    pair.push(participant);
  }
  await harness.expectMedia(pair);
  return pair;
}

harness.scenario('a device selected in the call needs no new offer and is remembered', async () => {
  const [first, second] = await joinControlledPair(['chromium', 'firefox']);
  const [before, version] = [await sentTrack(first, 'video'), await sdpVersion(first)];
  await first.click('.in-call[data-act=settings]');
  // Chromium's second fake camera is a depth camera, without a color image.
  const camera = await selectOption(first, 'pickCam', 2);
  const after = await waitFor('video of the other camera', async () => {
    const now = await sentTrack(first, 'video');
    return now?.deviceId === camera && now.frames > before.frames ? now : Promise.reject(new Error(`${JSON.stringify(now)}, not ${camera}`));
  });
  assert.notEqual(after.id, before.id);
  const microphone = await selectOption(first, 'pickMic', 2);
  await waitFor('audio of the other microphone', async () => (await sentTrack(first, 'audio'))?.deviceId === microphone);
  await first.waitForCondition('the level meter', `Number(/scaleX\\(([\\d.]+)/.exec(document.querySelector('#settings .level i').style.transform)?.[1]) > 0.2`);
  assert.equal(await sdpVersion(first), version, 'no new offer');
  await first.press('Escape');
  await harness.expectMedia([first, second]);
  await first.leave();
  await first.open(harness.roomUrl());
  await first.waitForState('preview');
  await first.click('.outside-call[data-act=settings]');
  assert.deepEqual(await first.evaluate(`() => ['pickCam', 'pickMic'].map((id) => document.getElementById(id).value)`), [camera, microphone]);
});

harness.scenario('of two cameras selected at once the last is sent, opened one by one', async () => {
  const [first] = await joinControlledPair(['chromium', 'chromium']);
  await first.click('.in-call[data-act=settings]');
  const last = await first.evaluate(`() => {
    const { mediaDevices } = navigator;
    const getUserMedia = mediaDevices.getUserMedia;
    globalThis.__opening = { now: 0, max: 0 };
    mediaDevices.getUserMedia = async (constraints) => {
      __opening.max = Math.max(__opening.max, __opening.now += 1);
      try {
        return await getUserMedia(constraints);
      } finally {
        __opening.now -= 1;
      }
    };
    const list = document.getElementById('pickCam');
    for (const index of [1, 2]) {
      list.selectedIndex = index;
      list.dispatchEvent(new Event('change'));
    }
    return list.value;
  }`);
  await waitFor('video of the last camera', async () => (await sentTrack(first, 'video'))?.deviceId === last);
  assert.deepEqual(await first.evaluate('() => __opening'), { now: 0, max: 1 });
  assert.deepEqual(await first.evaluate(`() => __tracks.filter((track) => track.kind === 'video').map((track) => track.readyState)`), ['ended', 'ended', 'live']);
});

harness.scenario('1080p and music are switched in the call and remembered', async () => {
  const url = harness.roomUrl();
  const pair = [await harness.participant('chromium'), await harness.participant('chromium')];
  for (const each of pair) {
    await each.open(url);
    await each.join();
  }
  const [person, peer] = pair;
  await harness.expectMedia(pair);
  const sent = (kind) => person.evaluate(`() => webrtcBox.call.connection().getSenders().find(({ track }) => track?.kind === '${kind}').track.getSettings()`);
  const opus = (side) => person.evaluate(`() => /^a=fmtp:.*useinbandfec=1.*/m.exec(webrtcBox.call.connection().${side}Description.sdp)[0]`);
  const playedChannels = () => peer.evaluate(`() => webrtcBox.call.connection().getReceivers().find(({ track }) => track.kind === 'audio').track.getSettings().channelCount`);
  assert.equal((await sent('video')).width, 1280);
  assert.match(await opus('local'), /\bstereo=1/);
  assert.doesNotMatch(await opus('remote'), /\bstereo=1/);
  await person.click('.in-call[data-act=settings]');
  await person.click('[data-switch=highResolution]');
  await waitFor('a picture of 1080p', async () => (await sent('video')).width === 1920);
  await person.click('[data-switch=music]');
  await waitFor('a microphone with two channels', async () => (await sent('audio')).channelCount === 2);
  assert.equal((await sent('audio')).echoCancellation, false);
  await waitFor('stereo asked of our encoder', async () => /\bmaxaveragebitrate=128000;.*\bstereo=1\b/.test(await opus('remote')));
  await waitFor('stereo at the other side', async () => await playedChannels() === 2);
  await person.press('Escape');
  await harness.expectMedia(pair);
  await person.open(harness.roomUrl());
  await person.waitForState('preview');
  const preview = await person.evaluate(`() => document.getElementById('local').srcObject.getTracks().map((track) => track.getSettings())`);
  assert.ok(preview.some(({ width }) => width === 1920), JSON.stringify(preview));
  assert.ok(preview.some(({ channelCount, echoCancellation }) => channelCount === 2 && echoCancellation === false), JSON.stringify(preview));
});

harness.scenario('a selected speaker is remembered', async (context) => {
  const [first] = await joinControlledPair(['chromium', 'chromium']);
  await first.click('.in-call[data-act=settings]');
  const speakers = await first.evaluate(`() => document.getElementById('pickSpeaker').options.length`);
  if (speakers < 2) return context.skip('this browser has only one speaker');
  const speaker = await selectOption(first, 'pickSpeaker', speakers - 1);
  await first.waitForCondition('the speaker', `document.getElementById('remote').sinkId === '${speaker}'`);
  await first.reload();
  await first.waitForCondition('the speaker again', `document.getElementById('remote').sinkId === '${speaker}'`);
});

for (const kind of ['chromium', 'firefox']) {
  harness.scenario(`${kind}: an unplugged camera is shown to both and recovered`, async () => {
    const [first, second] = await joinControlledPair([kind, 'chromium']);
    await first.evaluate(`() => {
      globalThis.__hiddenDeviceKind = 'videoinput';
      ${endCamera}
    }`);
    assert.match(await first.waitForError('cam-lost'), /camera/i);
    await second.waitForCondition('no remote video', remoteVideoHidden(true));
    await first.evaluate(`() => {
      delete globalThis.__hiddenDeviceKind;
      navigator.mediaDevices.dispatchEvent(new Event('devicechange'));
    }`);
    await first.waitForNoError();
    await second.waitForCondition('the remote video', remoteVideoHidden(false));
    await harness.expectMedia([first, second]);
  });

  harness.scenario(`${kind}: a busy camera is recovered, its dismissed error stays away`, async () => {
    const [first, second] = await joinControlledPair([kind, 'chromium']);
    await first.evaluate(`() => {
      globalThis.__deviceBusy = true;
      ${endCamera}
    }`);
    await first.waitForError('cam-lost');
    await first.click('#btnDismiss');
    await first.waitForCondition('the error to be closed', `document.getElementById('error').hidden`);
    const before = await first.evaluate(`() => {
      const error = document.getElementById('error');
      globalThis.__shown = [];
      new MutationObserver(() => { if (!error.hidden) __shown.push(error.dataset.code); }).observe(error, { attributes: true });
      return __requests;
    }`);
    await first.waitForCondition('two more attempts', `__requests >= ${before + 2}`);
    await first.evaluate(`() => { globalThis.__deviceBusy = false; }`);
    await second.waitForCondition('the remote video', remoteVideoHidden(false));
    await harness.expectMedia([first, second]);
    assert.deepEqual(await first.evaluate(`() => __shown`), []);
  });

  harness.scenario(`${kind}: devices taken by a phone call are recovered one by one`, async () => {
    const [first, second] = await joinControlledPair([kind, 'chromium']);
    const waitForMutedBadge = (shown) => second.waitForCondition('the badge of a muted microphone', `document.getElementById('theirMic').hidden === ${!shown}`);
    const before = await sentTrack(first, 'audio');
    await setMuted(first, 'audio', true);
    await setMuted(first, 'video', true);
    await waitForMutedBadge(true);
    assert.match(await first.waitForError('device-taken'), /phone call/);
    await setMuted(first, 'video', false);
    await second.waitForCondition('the remote video', remoteVideoHidden(false));
    assert.match(await first.waitForError('device-taken'), /phone call/, 'the microphone is still taken');
    await setMuted(first, 'audio', false);
    await waitForMutedBadge(false);
    await waitFor('another microphone track', async () => (await sentTrack(first, 'audio')).id !== before.id);
    await first.waitForNoError();
    await harness.expectMedia([first, second]);
  });

  harness.scenario(`${kind}: a device taken in the background is reopened, not a paused one`, async () => {
    const [first, second] = await joinControlledPair([kind, 'chromium']);
    const setVisible = (visible) => first.evaluate(`() => {
      Object.defineProperty(document, 'hidden', { value: ${!visible}, configurable: true });
      Object.defineProperty(document, 'visibilityState', { value: '${visible ? 'visible' : 'hidden'}', configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }`);
    const [camera, microphone] = await Promise.all([sentTrack(first, 'video'), sentTrack(first, 'audio')]);
    // The camera is paused in front of the user, the microphone is taken while the page is hidden.
    await setMuted(first, 'video', true);
    await first.waitForError('device-taken');
    await setVisible(false);
    await setMuted(first, 'audio', true);
    await setVisible(true);
    await waitFor('another microphone track', async () => (await sentTrack(first, 'audio')).id !== microphone.id);
    assert.equal((await sentTrack(first, 'video')).id, camera.id);
    await setMuted(first, 'video', false);
    await harness.expectMedia([first, second]);
  });
}

harness.scenario('without any device the peer is seen and heard', async () => {
  const url = harness.roomUrl();
  const host = await harness.participant('chromium');
  await host.open(url);
  await host.join();
  const participant = await harness.participant('firefox');
  await participant.addInitScript(`() => {
    navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('none', 'NotFoundError'); };
    navigator.mediaDevices.enumerateDevices = async () => [];
  }`);
  await participant.open(url);
  await participant.waitForError('device-not-found');
  assert.match(await participant.evaluate(`() => document.getElementById('joinWord').textContent`), /without/);
  await participant.join();
  await participant.expectMedia();
  await host.waitForCondition('the placeholder and the muted badge', `${remoteVideoHidden(true)} && !document.getElementById('theirMic').hidden`);
});

harness.scenario('one button switches between front and back camera', async () => {
  const participant = await harness.participant('chromium', { flags: THREE_DEVICES, size: { width: 390, height: 844 } });
  await participant.addInitScript(`() => {
    // Unlike a phone's cameras, fake ones report no facing mode.
    const { mediaDevices } = navigator;
    const getUserMedia = mediaDevices.getUserMedia.bind(mediaDevices);
    mediaDevices.getUserMedia = async (constraints) => {
      const stream = await getUserMedia(constraints);
      for (const track of stream.getVideoTracks()) {
        const settings = track.getSettings.bind(track);
        track.getSettings = () => ({ ...settings(), facingMode: constraints.video.facingMode ?? 'user' });
      }
      return stream;
    };
  }`);
  await participant.open(harness.roomUrl());
  await participant.waitForState('preview');
  await participant.waitForCondition('the button', `!document.querySelector('[data-act=flip]').hidden`);
  const isMirrored = () => participant.evaluate(`() => document.getElementById('selfFrame').classList.contains('mirrored')`);
  assert.equal(await isMirrored(), true);
  await participant.click('[data-act=flip]');
  await waitFor('the back camera', async () => !(await isMirrored()));
  await participant.screenshot(path.join(harness.dir, 'back-camera.png'));
  await participant.click('[data-act=flip]');
  await waitFor('the front camera', isMirrored);
});

for (const kind of ['chromium', 'firefox']) {
  harness.scenario(`${kind}: one press starts sound that was blocked until a touch`, async () => {
    const url = harness.roomUrl();
    const host = await harness.participant('chromium');
    await host.open(url);
    await host.join();
    const participant = await harness.participant(kind);
    await participant.addInitScript(`() => {
      // As on phones: sound only after a touch of this page.
      const { play } = HTMLMediaElement.prototype;
      HTMLMediaElement.prototype.play = function () {
        return this.muted || globalThis.__touched ? play.call(this) : Promise.reject(new DOMException('sound', 'NotAllowedError'));
      };
      addEventListener('click', ({ target }) => { if (target.closest('#btnHear')) globalThis.__touched = true; }, true);
    }`);
    await participant.open(url);
    await participant.waitForState('preview');
    await participant.evaluate(`() => { document.getElementById('door').requestSubmit(); }`);
    await participant.waitForCondition('the sound button', `!document.getElementById('btnHear').hidden`);
    await waitFor('the video without sound', () => participant.evaluate(`() => { const { muted, paused, videoWidth } = document.getElementById('remote'); return muted && !paused && videoWidth > 0; }`));
    await participant.click('#btnHear');
    await waitFor('the sound', () => participant.evaluate(`() => { const { muted, paused } = document.getElementById('remote'); return !muted && !paused && document.getElementById('btnHear').hidden; }`));
    await participant.expectMedia();
  });
}

/** Permissions are not granted, and every request is refused, except for audio once `__allowed` is set. */
const REFUSE_DEVICES = `() => {
  navigator.permissions.query = async () => ({ state: 'prompt' });
  const getUserMedia = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = (constraints) => (!constraints.video && globalThis.__allowed ? getUserMedia(constraints)
    : Promise.reject(new DOMException('Permission denied', 'NotAllowedError')));
}`;

for (const kind of ['chromium', 'firefox']) {
  harness.scenario(`${kind} with both devices refused can join with sound only`, async () => {
    const url = harness.roomUrl();
    const [refused, peer] = [await harness.participant(kind, { initScript: REFUSE_DEVICES }), await harness.participant('chromium')];
    await peer.open(url);
    await peer.join();
    await peer.waitForState('waiting');
    await refused.open(url);
    await refused.waitForError('camera-denied');
    const joinLabel = () => refused.evaluate(`() => document.getElementById('joinWord').textContent`);
    assert.equal(await joinLabel(), 'Join with sound only');
    await refused.click('#btnJoin');
    await refused.waitForError('camera-denied-again');
    assert.equal(await joinLabel(), 'Join without camera and microphone');
    assert.equal(await peer.state(), 'waiting');
    await refused.reload();
    await refused.waitForError('camera-denied');
    await refused.evaluate('() => { globalThis.__allowed = true; }');
    await refused.click('#btnJoin');
    await refused.waitForState('connected');
    await waitFor('sound at the peer', async () => (await peer.stats()).audioEnergy > 0, 20_000);
    await refused.leave();
    await peer.waitForState(ENDED_STATES);
  });
}
