// The verification code in real browsers: both show the same four emoji as long as the keys are the same. Also the
// statistics panel beside it.

import assert from 'node:assert/strict';
import path from 'node:path';
import { createHarness } from './lib/harness.mjs';
import { waitFor } from './lib/wait.mjs';

const harness = await createHarness('verification');

/** The code that the page shows, as soon as it is not `previous`. */
function waitForCode(participant, previous = '') {
  return waitFor('another verification code', async () => {
    const shown = await participant.evaluate(`() => {
      const { hidden, dataset, textContent } = document.getElementById('trust');
      return hidden ? null : { state: dataset.state, code: textContent };
    }`);
    if (!shown || shown.code === previous) return null;
    assert.equal(shown.state, 'same');
    assert.equal(shown.code.split(' ').length, 4);
    return shown.code;
  });
}

async function waitForEqualCodes(pair, previous) {
  const [first, second] = await Promise.all(pair.map((participant) => waitForCode(participant, previous)));
  assert.equal(first, second);
  return first;
}

for (const kinds of [['chromium', 'chromium'], ['chromium', 'firefox'], ['firefox', 'firefox']]) {
  harness.scenario(`${kinds.join(' and ')} show equal codes, kept by ICE restarts, not by reloads`, async () => {
    const pair = await harness.joinPair(kinds, harness.roomUrl());
    await harness.expectMedia(pair);
    const code = await waitForEqualCodes(pair);

    const iceUfrag = '() => /a=ice-ufrag:(.*)/.exec(webrtcBox.call.connection().currentLocalDescription.sdp)[1]';
    const before = await pair[0].evaluate(iceUfrag);
    await pair[0].evaluate('() => webrtcBox.call.connection().restartIce()');
    await waitFor('the ICE restart', async () => (await pair[0].evaluate(iceUfrag)) !== before);
    await harness.expectMedia(pair);
    assert.equal(await waitForEqualCodes(pair), code);

    await pair[1].reload();
    await harness.expectMedia(pair);
    assert.notEqual(await waitForEqualCodes(pair, code), code);
  });
}

harness.scenario('an invalid reveal shows, opens and announces a warning instead of a code', async () => {
  const [honest, attacker] = [await harness.participant('chromium', { size: { width: 390, height: 844 } }), await harness.participant('firefox')];
  const url = harness.roomUrl();
  await honest.open(url);
  await honest.join();
  await honest.waitForState('waiting');
  await attacker.open(url);
  await attacker.evaluate(`() => {
    const { send } = RTCDataChannel.prototype;
    RTCDataChannel.prototype.send = function (text) { send.call(this, String(text).replace(/^reveal .*/, 'reveal ' + '0'.repeat(64))); };
  }`);
  await attacker.join();
  await honest.waitForCondition('the warning', `document.getElementById('trust').dataset.state === 'mismatch'`);
  assert.equal(await honest.evaluate(`() => document.getElementById('trustWord').textContent`), 'Not secure');
  assert.equal(await honest.evaluate(`() => document.getElementById('trustCode').children.length`), 0);
  assert.match(await honest.evaluate(`() => document.querySelector('#trustSaid[role=alert]').textContent`), /^Not secure: .*somebody may intercept it/);
  assert.match(await honest.evaluate(`() => document.getElementById('trustHow').innerText`), /somebody may intercept it/);
  await honest.screenshot(path.join(harness.dir, 'warning-panel-390x844.png'));
  await honest.click('#btnNumbersClose');
  await honest.waitForCondition('the other controls hidden', `document.body.dataset.chrome === 'away' && !document.getElementById('path').checkVisibility({ opacityProperty: true })`);
  assert.ok(await honest.evaluate(`() => document.getElementById('trust').checkVisibility({ visibilityProperty: true, opacityProperty: true })
    && Number(getComputedStyle(document.querySelector('.top')).opacity) === 1`), 'the warning stays visible');
  await honest.screenshot(path.join(harness.dir, 'warning-only-390x844.png'));
  await honest.click('#trust');
  await honest.waitForCondition('the warning again', `document.getElementById('trustHow').checkVisibility()`);
});

harness.scenario('the statistics panel draws labelled graphs only while it is open', async () => {
  const [participant] = await harness.joinPair(['chromium', 'chromium'], harness.roomUrl());
  await participant.expectMedia();
  const graphImages = () => participant.evaluate(`() => [...document.querySelectorAll('#figures canvas')].map((canvas) => canvas.toDataURL()).join()`);
  const beforeOpening = await graphImages();
  await participant.click('#path');
  const opened = await waitFor('graphs', async () => {
    const images = await graphImages();
    return images !== beforeOpening && images;
  });
  await waitFor('the next sample', async () => (await graphImages()) !== opened);
  const labels = await participant.evaluate(`() => [...document.querySelectorAll('#figures canvas')].map((canvas) => canvas.getAttribute('aria-label'))`);
  assert.equal(labels.length, 5);
  for (const label of labels) assert.match(label, /^.+, last minute: .+ to .+$/);
  assert.ok(await participant.evaluate(`() => { const canvas = document.querySelector('#figures canvas'); return canvas.width === Math.round(canvas.clientWidth * devicePixelRatio); }`));
  const text = await participant.evaluate(`() => document.getElementById('figures').textContent`);
  assert.match(text, /\d+×\d+ · \w+/);
  assert.match(text, /\d fps/);
  await participant.click('#btnNumbersClose');
  const closed = await graphImages();
  const videoTime = '() => document.getElementById("remote").currentTime';
  const closedAt = await participant.evaluate(videoTime);
  await waitFor('two more seconds of the call', async () => (await participant.evaluate(videoTime)) > closedAt + 2);
  assert.equal(await graphImages(), closed);
  await participant.screenshot(path.join(harness.dir, 'call.png'));
});
