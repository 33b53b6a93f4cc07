// The controls of a call that stay: names and states in the accessibility tree, signs of muted microphones, shortcuts while
// typing, media keys, and how the pictures are shown.

import assert from 'node:assert/strict';
import { injectAxe, seriousAxeViolations, waitForFocus } from './lib/accessibility.mjs';
import { createHarness, ENDED_STATES } from './lib/harness.mjs';
import { waitFor } from './lib/wait.mjs';

const harness = await createHarness('controls');

/** Keeps the handlers of media keys, which no test can press. */
const RECORD_MEDIA_KEYS = `${function recordMediaKeys() {
  globalThis.__mediaKeys = {};
  const { setActionHandler } = MediaSession.prototype;
  MediaSession.prototype.setActionHandler = function (name, handler) {
    setActionHandler.call(this, name, handler);
    if (handler) globalThis.__mediaKeys[name] = handler;
    else delete globalThis.__mediaKeys[name];
  };
}}`;
const SECONDS = `document.getElementById('callTime').textContent.split(':').reduce((sum, part) => sum * 60 + Number(part), 0)`;
const BUTTONS = ['Turn off microphone', 'Turn off camera', 'Chat', 'More', 'Leave'];

const isMuted = `document.querySelector('[data-act=mic]').hasAttribute('data-off')`;
const waitForMuted = (participant) => participant.waitForCondition('the muted microphone', isMuted);
const waitForUnmuted = (participant) => participant.waitForCondition('the microphone', `!(${isMuted})`);
async function waitForHiddenControls(participant) {
  // Under a resting mouse they stay.
  await participant.movePointer();
  await participant.waitForCondition('hidden controls', `document.body.dataset.chrome === 'away'
    && getComputedStyle(document.getElementById('btnLeave')).opacity === '0'`, 15_000);
}
const isShown = (id) => `(() => {
  const element = document.getElementById('${id}');
  return element.checkVisibility() && getComputedStyle(element).opacity === '1' && element.clientWidth > 1;
})()`;

/** Two participants in a call; the second one has a name. */
async function joinCall(kinds) {
  const url = harness.roomUrl();
  const pair = [];
  for (const [index, kind] of kinds.entries()) {
    const participant = await harness.participant(kind, { initScript: RECORD_MEDIA_KEYS });
    if (index === 1) await participant.addInitScript(`() => localStorage.setItem('webrtc-box.name', 'Ada')`);
    await participant.open(url);
    await participant.join();
    if (index === 0) await participant.waitForState('waiting');
    pair.push(participant);
  }
  await harness.expectMedia(pair);
  return pair;
}

harness.scenario('names, states and signs stay at 0, 5 and 30 s, also with the bar hidden', async () => {
  const [first, second] = await joinCall(['chromium', 'firefox']);
  await first.waitForCondition('the name', `document.getElementById('theirName').textContent === 'Ada'`);
  for (const seconds of [0, 5, 30]) {
    await first.waitForCondition(`${seconds} s of the call`, `${SECONDS} >= ${seconds}`, 60_000);
    if (seconds > 0) await waitForHiddenControls(first);
    const names = await first.accessibleNames('button');
    for (const name of BUTTONS) assert.ok(names.includes(name), `${name} at ${seconds} s: ${names}`);
    assert.deepEqual(await first.accessibleNames('Video'), [`Ada's video`, 'Your video'], `${seconds} s`);
  }
  assert.equal(await first.evaluate(`() => getComputedStyle(document.getElementById('btnLeave')).pointerEvents`), 'none');
  await injectAxe(first);
  assert.deepEqual(await seriousAxeViolations(first), []);

  // A muted microphone is shown at both sides while the bar stays hidden.
  await second.pressWith('Control', 'd');
  await waitForMuted(second);
  await first.waitForCondition('the sign of the other microphone', isShown('theirMic'));
  assert.equal(await first.evaluate(`() => document.body.dataset.chrome`), 'away');
  assert.equal(await first.evaluate(`() => document.getElementById('announcer').lastChild.textContent`), 'Their microphone is off');
  await waitForHiddenControls(second);
  await second.waitForCondition('the sign of the own microphone', `${isShown('ownMicOff')} && document.querySelector('.tile .sign').checkVisibility()`);
  await second.pressWith('Control', 'd');
  await waitForUnmuted(second);

  await first.press('c');
  await waitForFocus(first, 'chatLine');
  await first.pressWith('Control', 'd');
  await waitForMuted(first);
  await first.pressWith('Control', 'e');
  await first.waitForCondition('the camera off', `document.querySelector('[data-act=cam]').hasAttribute('data-off') && document.getElementById('chatLine').value === ''`);
  assert.ok((await first.accessibleNames('Video')).includes('Your video. Your microphone is off.'));
});

harness.scenario('media keys act on the call and cannot stop it', async () => {
  const pair = await joinCall(['firefox', 'chromium']);
  const [firefox, chromium] = pair;
  for (const participant of pair) {
    await participant.waitForCondition('media keys', `'pause' in __mediaKeys && navigator.mediaSession.metadata !== null`);
    await participant.evaluate('() => __mediaKeys.pause()');
    assert.equal(await participant.evaluate(`() => document.getElementById('remote').paused`), false);
  }
  await chromium.evaluate('() => __mediaKeys.togglemicrophone()');
  await waitForMuted(chromium);
  assert.equal(await firefox.evaluate('() => navigator.mediaSession.metadata.title'), 'Ada');

  // Fit or fill by a double click, and the own picture hidden, which the other participant still sees.
  const isWhole = () => chromium.evaluate(`() => document.getElementById('remoteFrame').classList.contains('whole')`);
  const before = await isWhole();
  // On a busy machine two clicks may be too far apart.
  await waitFor('the other fit', async () => {
    await chromium.doubleClick(400, 300);
    return (await isWhole()) !== before;
  });
  await chromium.click('.in-call[data-act=settings]');
  await chromium.click('[data-act=fit]');
  assert.equal(await isWhole(), before);
  await chromium.click('.in-call[data-act=settings]');
  await chromium.click('[data-act=self]');
  await chromium.waitForCondition('the round button', `document.getElementById('selfFrame').clientWidth === 56 && document.getElementById('swap').getAttribute('aria-label') === 'Show self view'`);
  assert.equal(await firefox.evaluate(`() => document.getElementById('remoteFrame').classList.contains('empty')`), false);
  await chromium.click('#swap');
  await chromium.waitForCondition('the own picture', `document.getElementById('selfFrame').clientWidth > 100`);

  await chromium.evaluate('() => __mediaKeys.hangup()');
  await chromium.waitForState(ENDED_STATES);
  await chromium.waitForCondition('no media keys', `Object.keys(__mediaKeys).length === 0 && navigator.mediaSession.metadata === null`);
});
