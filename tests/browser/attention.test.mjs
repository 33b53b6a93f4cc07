// Attention and sound: a page in the background calls the person back, the speaker is tested, and the processing of sound is
// switched.

import assert from 'node:assert/strict';
import path from 'node:path';
import { createHarness } from './lib/harness.mjs';
import { waitFor } from './lib/wait.mjs';

const harness = await createHarness('attention');
// Firefox asks in a window of its own, which nobody can press here.
const ALLOWED = { prefs: { 'media.peerconnection.ice.loopback': true, 'permissions.default.desktop-notification': 1 } };

/** Init script: counts the notes that are played, and keeps the notifications and the texts of short messages. */
const RECORD = `() => {
  globalThis.__notes = 0;
  const { start } = OscillatorNode.prototype;
  OscillatorNode.prototype.start = function (...args) {
    globalThis.__notes += 1;
    return start.apply(this, args);
  };
  globalThis.__notices = [];
  addEventListener('DOMContentLoaded', () => {
    const notice = document.getElementById('notice');
    new MutationObserver(() => __notices.push(notice.textContent)).observe(notice, { childList: true });
  });
  globalThis.__notifications = [];
  const { close } = Notification.prototype;
  Notification.prototype.close = function () {
    this.__closed = true;
    return close.call(this);
  };
  globalThis.Notification = class extends Notification {
    constructor(...args) {
      super(...args);
      globalThis.__notifications.push(this);
    }
  };
}`;
const named = (name) => `() => { localStorage.setItem('webrtc-box.name', '${name}'); }`;
const setVisible = (participant, visible) => participant.evaluate(`() => {
  Object.defineProperty(document, 'hidden', { value: ${!visible}, configurable: true });
  Object.defineProperty(document, 'visibilityState', { value: '${visible ? 'visible' : 'hidden'}', configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}`);
const tab = (participant) => participant.evaluate(`() => [document.title, document.querySelector('link[rel=icon]').getAttribute('href').split('/').at(-1)]`);
const waitForTitle = (participant, title) => waitFor(`the title ${title}`, async () => {
  const [now] = await tab(participant);
  return now === title || Promise.reject(new Error(now));
});

for (const kind of ['chromium', 'firefox']) {
  harness.scenario(`${kind}: a page in the background tells who joins, writes and leaves`, async () => {
    const url = harness.roomUrl();
    const host = await harness.participant(kind, { ...ALLOWED, initScript: RECORD });
    if (kind === 'chromium') await host.allowNotifications(harness.server.origin);
    await host.open(url);
    await host.waitForState('preview');
    const playsSound = await testSpeaker(host, kind);
    await host.join();
    await host.waitForState('waiting');
    await host.click('#notifyPlace input');
    await setVisible(host, false);
    const notes = await host.evaluate('() => __notes');

    const guest = await harness.participant('chromium', { initScript: named('Bo <b>') });
    await guest.open(url);
    await guest.join();
    await waitForTitle(host, '● Bo <b> joined — Video call');
    assert.equal((await tab(host))[1], 'icon-dot.svg');
    assert.deepEqual(await host.evaluate('() => __notifications.map(({ title }) => title)'), ['Bo <b> joined']);
    await host.waitForState('connected');
    if (playsSound) await host.waitForCondition('two notes', `__notes === ${notes + 2}`);
    await guest.evaluate(`() => {
      document.getElementById('chatLine').value = 'hello';
      document.getElementById('chatForm').requestSubmit();
    }`);
    await waitForTitle(host, '● New messages: 1 — Video call');
    await setVisible(host, true);
    assert.deepEqual(await tab(host), ['Video call', 'icon.svg']);
    await waitFor('closed notifications', () => host.evaluate('() => __notifications.length === 2 && __notifications.every(({ __closed }) => __closed)'));
    await host.waitForCondition('the end of the message', `document.getElementById('notice').textContent === ''`);
    assert.deepEqual(await host.evaluate('() => __notices'), ['Bo <b> joined', '']);
    await setVisible(host, false);
    await guest.leave();
    await waitForTitle(host, '● Bo <b> left — Video call');
    if (playsSound) await host.waitForCondition('two more notes', `__notes === ${notes + 4}`);
  });
}

/** Tests the speaker in the lobby. @returns whether there is one */
async function testSpeaker(participant, kind) {
  await participant.click('.outside-call[data-act=settings]');
  await participant.click('#btnSpeakerTest');
  const result = await waitFor('the end of the test', () => participant.evaluate(`() => !document.getElementById('btnSpeakerTest').dataset.playing
    && (document.getElementById('speakerFailure').textContent || 'played ' + __notes)`));
  await participant.screenshot(path.join(harness.dir, `devices-${kind}.png`));
  if (result === 'played 2') return participant.press('Escape').then(() => true);
  // Firefox runs no Web Audio without a sound card.
  assert.match(result, /No sound could be played/);
  console.log(`${kind} has no speaker on this machine`);
  await participant.press('Escape');
  return false;
}

/** Init script: the microphone is a tone that `__voice.gain` makes loud. */
const VOICE = `() => {
  const { mediaDevices } = navigator;
  const getUserMedia = mediaDevices.getUserMedia.bind(mediaDevices);
  mediaDevices.getUserMedia = async (constraints) => {
    const stream = await getUserMedia(constraints);
    if (!constraints.audio) return stream;
    const context = new AudioContext();
    const [tone, gain, output] = [context.createOscillator(), context.createGain(), context.createMediaStreamDestination()];
    gain.gain.value = 0;
    tone.connect(gain).connect(output);
    tone.start();
    globalThis.__voice = gain;
    globalThis.__clones = [];
    const [track] = output.stream.getTracks();
    const clone = track.clone.bind(track);
    track.clone = () => {
      const copy = clone();
      __clones.push(copy);
      return copy;
    };
    return new MediaStream([...stream.getVideoTracks(), track]);
  };
}`;

harness.scenario('speech into a muted microphone is noticed, the processing of sound is switched', async () => {
  const url = harness.roomUrl();
  const [speaker, peer] = [await harness.participant('chromium', { initScript: VOICE }), await harness.participant('chromium')];
  for (const each of [speaker, peer]) {
    await each.open(url);
    await each.join();
  }
  await speaker.waitForState('connected');
  await speaker.click('[data-act=mic]');
  await speaker.waitForCondition('a copy of the muted track', `__clones.length === 1`);
  await speaker.evaluate('() => { __voice.gain.value = 0.5; }');
  await speaker.waitForCondition('the hint', `!document.getElementById('mutedHint').hidden`);
  await speaker.click('[data-act=mic]');
  await speaker.waitForCondition('the end of the copy', `__clones.every(({ readyState }) => readyState === 'ended')`);

  const noise = `document.querySelector('[data-switch=noiseSuppression]')`;
  const sent = () => peer.evaluate(`() => webrtcBox.call.connection().getSenders().find(({ track }) => track?.kind === 'audio').track.getSettings()`);
  assert.equal((await sent()).noiseSuppression, true);
  await peer.click('.in-call[data-act=settings]');
  await peer.click('[data-switch=noiseSuppression]');
  await waitFor('a track without noise suppression', async () => (await sent()).noiseSuppression === false);
  assert.deepEqual([(await sent()).echoCancellation, await peer.evaluate(`() => ${noise}.checked`)], [true, false]);
  await peer.press('Escape');
  await harness.expectMedia([peer]);
  await peer.leave();
  await peer.open(harness.roomUrl());
  await peer.waitForState('preview');
  const preview = `document.getElementById('local').srcObject.getAudioTracks()[0].getSettings()`;
  assert.deepEqual(await peer.evaluate(`() => [${preview}.noiseSuppression, ${preview}.echoCancellation]`), [false, true], 'remembered');
});
