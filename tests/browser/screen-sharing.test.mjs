// Screen sharing with sound, its refusals, full screen, and picture-in-picture.

import assert from 'node:assert/strict';
import path from 'node:path';
import { createHarness } from './lib/harness.mjs';
import { waitFor } from './lib/wait.mjs';

const harness = await createHarness('screen-sharing');

async function joinPair(kinds, flags = []) {
  const pair = await harness.joinPair(kinds.map((kind) => [kind, { flags }]), harness.roomUrl());
  await harness.expectMedia(pair);
  return pair;
}

const sentAudioTrackId = (participant) => participant.evaluate(`() => webrtcBox.call.connection().getSenders().find(({ track }) => track?.kind === 'audio').track.id`);
const sdpVersion = (participant) => participant.evaluate(`() => webrtcBox.call.connection().localDescription.sdp.match(/o=\\S+ \\S+ (\\d+)/)[1]`);

harness.scenario('a screen is shared with sound on the same tracks; the camera returns', async () => {
  const [first, second] = await joinPair(['chromium', 'firefox'], ['--auto-accept-this-tab-capture']);
  await first.evaluate(`() => {
    // Replaces the browser's selection dialog: a synthetic picture and a tone.
    navigator.mediaDevices.getDisplayMedia = async () => {
      const canvas = Object.assign(document.createElement('canvas'), { width: 1600, height: 900 });
      const context = canvas.getContext('2d');
      setInterval(() => { context.fillStyle = context.fillStyle === '#ffffff' ? '#000000' : '#ffffff'; context.fillRect(0, 0, 1600, 900); }, 100);
      const audio = new AudioContext();
      const oscillator = audio.createOscillator();
      const destination = audio.createMediaStreamDestination();
      oscillator.connect(destination);
      oscillator.start();
      globalThis.__screen = new MediaStream([...canvas.captureStream(10).getTracks(), ...destination.stream.getTracks()]);
      return globalThis.__screen;
    };
  }`);
  const [version, voice] = [await sdpVersion(first), await sentAudioTrackId(first)];
  await first.click('[data-act=share]');
  await second.waitForCondition('the screen at the peer', `document.getElementById('remoteFrame').classList.contains('whole') && document.getElementById('remote').videoWidth / document.getElementById('remote').videoHeight > 1.7`);
  await waitFor('the mixed audio track', async () => (await sentAudioTrackId(first)) !== voice);
  // With the microphone muted the peer receives only the tone.
  await first.click('[data-act=mic]');
  await waitFor('the tone at the peer', () => second.evaluate(`async () => {
    for (const stat of (await webrtcBox.call.connection().getStats()).values()) {
      if (stat.type === 'inbound-rtp' && stat.kind === 'audio') return (stat.audioLevel ?? stat.totalAudioEnergy) > 0.01;
    }
    return false;
  }`));
  await first.evaluate(`() => { const [track] = __screen.getVideoTracks(); track.stop(); track.dispatchEvent(new Event('ended')); }`);
  await waitFor('the microphone track again', async () => (await sentAudioTrackId(first)) === voice);
  await second.waitForCondition('the camera at the peer', `!document.getElementById('remoteFrame').classList.contains('whole') || document.getElementById('remote').videoWidth / document.getElementById('remote').videoHeight < 1.7`);
  assert.equal(await sdpVersion(first), version, 'no new offer');
  await second.expectMedia();
});

for (const kind of ['chromium', 'firefox']) {
  harness.scenario(`${kind} shows a system's refusal of a screen, not a user's cancel`, async () => {
    const [first] = await joinPair([kind, 'chromium']);
    const shareWithError = async (name, message) => {
      await first.evaluate(`() => { navigator.mediaDevices.getDisplayMedia = async () => { throw new DOMException('${message}', '${name}'); }; }`);
      await first.click('[data-act=share]');
    };
    await shareWithError('NotAllowedError', 'Permission denied by system');
    assert.match(await first.waitForError('screen-denied-system'), /settings/i);
    assert.equal(await first.evaluate(`() => document.getElementById('btnRetry').hidden`), true, 'only the share button may request a screen');
    await first.screenshot(path.join(harness.dir, `${kind}-screen-refused.png`));
    await shareWithError('NotAllowedError', 'Permission denied');
    await first.waitForNoError();
    await shareWithError('NotReadableError', 'Could not start video source');
    assert.match(await first.waitForError('screen-failed'), /share/);
    await first.click('#btnDismiss');
    await first.waitForNoError();
    await first.expectMedia();
  });
}

harness.scenario('full screen and picture-in-picture start, and end with the call', async () => {
  const [first] = await joinPair(['chromium', 'chromium']);
  await first.click('.in-call[data-act=settings]');
  await first.click('[data-act=full]');
  await first.waitForCondition('full screen', `document.fullscreenElement === document.documentElement`);
  await first.click('.in-call[data-act=settings]');
  await first.click('[data-act=pip]');
  await first.waitForCondition('picture-in-picture', `document.pictureInPictureElement?.id === 'remote'`);
  await first.leave();
  await first.waitForCondition('both ended', `!document.fullscreenElement && !document.pictureInPictureElement`);
});
