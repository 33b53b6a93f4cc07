// The connection test page in real browsers against the real server: all probes succeed, a test call is measured, devices
// are tried, and a report is made. Also its layout, accessibility and keyboard use.

import assert from 'node:assert/strict';
import path from 'node:path';
import { injectAxe, seriousAxeViolations, tabTo, waitForFocus } from './lib/accessibility.mjs';
import { printResults, runConnectionTest, waitForVerdict } from './lib/connection-test.mjs';
import { createHarness } from './lib/harness.mjs';
import { waitFor } from './lib/wait.mjs';

const harness = await createHarness('connection-test');
const SIZES = [[390, 844], [844, 390], [1440, 900]];
const textOf = (id) => `() => document.getElementById('${id}').textContent`;

for (const kind of ['chromium', 'firefox']) {
  harness.scenario(`${kind}: all probes succeed and the test call uses the relay`, async () => {
    const participant = await harness.participant(kind);
    const results = await runConnectionTest(participant, harness.server);
    printResults(kind, results);
    assert.deepEqual(new Set(Object.values(results.rows)), new Set(['open']), JSON.stringify(results.rows));
    const names = Object.keys(results.rows).map((row) => row.split(' ')[0]);
    for (const name of ['turn-udp', 'turn-tcp', 'turn-tls']) assert.ok(names.includes(name), name);
    assert.equal(results.figures.path, 'relay-udp');
    assert.ok(Number(results.figures.rate) > 1_000_000);
    assert.ok(Number(results.figures.loss) < 0.1);
    // On a busy machine the call may be poor; the probes must succeed.
    assert.ok(['good', 'lossy', 'far', 'slow'].includes(results.code), results.code);
    assert.ok(results.report.includes(results.sentence));
    assert.doesNotMatch(results.report, /credential|~~|\d+\.\d+\.\d+\.\d+(?![.\d])(?! Safari)/);
    assert.deepEqual(await participant.consoleMessages(), []);

    await participant.click('#btnAgain');
    await waitFor('the second run', async () => (await participant.evaluate(textOf('sentence'))) !== results.sentence);
    assert.equal((await waitForVerdict(participant)).figures.path, 'relay-udp');
  });

  harness.scenario(`${kind} tries camera, microphone and speaker on request only`, async () => {
    const participant = await harness.participant(kind);
    await runConnectionTest(participant, harness.server);
    assert.equal(await participant.evaluate('() => document.getElementById("picture").srcObject'), null);
    await participant.click('#btnDevices');
    await participant.waitForCondition('the picture', `document.getElementById("picture").videoWidth > 0`);
    // Firefox runs no Web Audio without a sound card: the page cannot measure a level.
    const hasWebAudio = await participant.evaluate(`async () => {
      const context = new AudioContext();
      await Promise.race([context.resume(), new Promise((resolve) => setTimeout(resolve, 2000))]);
      return context.state === 'running';
    }`);
    if (!hasWebAudio) console.log(`${kind} has no Web Audio on this machine`);
    const microphoneText = hasWebAudio ? 'Your microphone works.' : 'Say something. The bar should move.';
    await waitFor('the result of the microphone', async () => (await participant.evaluate(textOf('devicesSaid'))) === microphoneText);
    await participant.screenshot(path.join(harness.dir, `devices-${kind}.png`));
    await participant.evaluate('() => { globalThis.__track = document.getElementById("picture").srcObject.getVideoTracks()[0]; }');
    await participant.click('#btnDevices');
    assert.equal(await participant.evaluate('() => globalThis.__track.readyState'), 'ended', 'the camera is off');
    await participant.click('#btnTone');
    const speakerResult = await waitFor('the question, or no speaker', () => participant.evaluate(`() => (
      document.getElementById('question').hidden ? document.getElementById('toneSaid').textContent : 'asked')`));
    if (speakerResult === 'asked') {
      await participant.click('#btnUnheard');
      assert.match(await participant.evaluate(textOf('toneSaid')), /Turn up the volume/);
    } else {
      console.log(`${kind} has no speaker on this machine: ${speakerResult}`);
      assert.match(speakerResult, /No speaker was found/);
    }
    const report = await participant.evaluate('() => document.getElementById("report").value');
    assert.match(report, /^Camera: works, \d+×\d+$/m);
    assert.ok(report.includes(`\nMicrophone: ${hasWebAudio ? microphoneText : 'works, but nothing was heard'}\nSpeaker: ${speakerResult === 'asked' ? 'Not heard.' : 'No speaker was found'}`), report);
  });
}

harness.scenario('a refused camera is explained and does not stop the network test', async () => {
  const participant = await harness.participant('chromium', { devices: 'refused' });
  const results = await runConnectionTest(participant, harness.server);
  assert.equal(results.figures.path, 'relay-udp');
  await participant.click('#btnDevices');
  await participant.waitForCondition('the error', `document.getElementById("trouble").dataset.code === "camera-denied"`);
  assert.match(await participant.evaluate(textOf('trouble')), /choose Allow, then Try again/);
  assert.doesNotMatch(await participant.evaluate(textOf('trouble')), /join/);
  await participant.screenshot(path.join(harness.dir, 'refused.png'));
  await injectAxe(participant);
  assert.deepEqual(await seriousAxeViolations(participant), []);
  // The retry button that the error names requests the camera again.
  await participant.evaluate('() => { globalThis.__requests = 0; navigator.mediaDevices.getUserMedia = async () => { __requests += 1; throw new DOMException("Permission denied by system", "NotAllowedError"); }; }');
  await participant.click('#btnRetry');
  await participant.waitForCondition('another error', `__requests > 0 && document.getElementById("trouble").dataset.code === "camera-denied-system"`);
});

harness.scenario('errors name Firefox, an insecure page, the policy or the system', async () => {
  const refused = await harness.participant('firefox', { devices: 'refused' });
  await runConnectionTest(refused, harness.server);
  const waitForExplanation = (participant, code) => participant.waitForCondition(`the error ${code}`, `document.getElementById('trouble').dataset.code === '${code}' && document.getElementById('troubleText').textContent`);
  await refused.click('#btnDevices');
  assert.match(await waitForExplanation(refused, 'camera-denied'), /^Firefox is not letting/);

  const participant = await harness.participant('chromium');
  await participant.addInitScript(`() => {
    if (location.hash === '#insecure') {
      Object.defineProperty(globalThis, 'isSecureContext', { value: false });
      Object.defineProperty(navigator, 'mediaDevices', { value: undefined });
    } else {
      navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('Permission denied', 'NotAllowedError'); };
      if (location.hash === '#policy') document.featurePolicy.allowsFeature = (feature) => feature !== 'camera';
      // The page has the permission, and the system refuses.
      if (location.hash === '#system') navigator.permissions.query = async () => Object.assign(new EventTarget(), { state: 'granted' });
    }
  }`);
  for (const [hash, code] of [['insecure', 'insecure-origin'], ['policy', 'blocked-by-site'], ['system', 'camera-denied-system']]) {
    await participant.open('about:blank');
    await participant.open(`${harness.server.origin}/test#${hash}`);
    await participant.click('#btnDevices');
    await waitForExplanation(participant, code);
  }
});

harness.scenario('a rate limit and an unreachable server have their own verdicts', async () => {
  const participant = await harness.participant('chromium');
  await runConnectionTest(participant, harness.server);
  await participant.evaluate('async () => { for (let i = 0; i < 12; i += 1) await fetch("/test.json"); }');
  await participant.click('#btnAgain');
  await waitFor('the verdict of the limit', async () => (await waitForVerdict(participant)).code === 'limited');
  await harness.server.crash();
  await participant.click('#btnAgain');
  await waitFor('the verdict of the unreachable server', async () => (await waitForVerdict(participant)).code === 'unreachable');
  await harness.server.start();
  await participant.click('#btnAgain');
  await waitFor('another run', async () => (await waitForVerdict(participant)).figures.path === 'relay-udp', 60_000);
});

harness.scenario('layout and axe pass at all sizes, in both languages and schemes', async () => {
  for (const [language, scheme] of [['en', 'light'], ['zh', 'dark']]) {
    const flags = [`--accept-lang=${language}`, ...(scheme === 'dark' ? ['--force-dark-mode', '--blink-settings=preferredColorScheme=0'] : [])];
    const participant = await harness.participant('chromium', { flags, size: { width: 1440, height: 900 } });
    const results = await runConnectionTest(participant, harness.server);
    assert.equal(await participant.evaluate('() => document.documentElement.lang.slice(0, 2)'), language);
    if (language === 'zh') assert.match(results.sentence, /\p{Script=Han}/u);
    for (const [width, height] of SIZES) {
      await participant.setViewport(width, height);
      await participant.screenshot(path.join(harness.dir, `test-${language}-${scheme}-${width}x${height}.png`));
      const overflow = await participant.evaluate('() => document.documentElement.scrollWidth - innerWidth');
      assert.ok(overflow <= 0, `${overflow} pixels too wide at ${width}x${height}`);
      const smallControls = await participant.evaluate(`() => [...document.querySelectorAll('button, a')]
        .filter((element) => element.offsetParent && element.getBoundingClientRect().height < 47.5).map((element) => element.id || element.textContent)`);
      assert.deepEqual(smallControls, []);
    }
    await injectAxe(participant);
    assert.deepEqual(await seriousAxeViolations(participant), [], `${language}-${scheme}`);
    await participant.click('#btnDevices');
    await participant.waitForCondition('the picture', `document.getElementById("picture").videoWidth > 0`);
    assert.deepEqual(await seriousAxeViolations(participant), [], `${language}-${scheme}, devices tried`);
    await participant.evaluate('() => scrollTo(0, document.body.scrollHeight)');
    await participant.screenshot(path.join(harness.dir, `test-${language}-${scheme}-end.png`));
  }
});

harness.scenario('the test page works by keyboard alone', async () => {
  const participant = await harness.participant('chromium');
  const { report } = await runConnectionTest(participant, harness.server);
  await tabTo(participant, 'btnAgain');
  await participant.press('Enter');
  await participant.waitForCondition('another run', `document.getElementById('verdict').getAttribute('aria-busy') === 'true'`);
  await tabTo(participant, 'btnDevices');
  await participant.press('Enter');
  await participant.waitForCondition('the picture', `document.getElementById('picture').videoWidth > 0`);
  await waitForFocus(participant, 'btnDevices');
  await participant.press('Enter');
  await participant.waitForCondition('no picture', `document.getElementById('picture').srcObject === null`);
  await tabTo(participant, 'btnTone');
  await participant.press('Enter');
  await participant.waitForCondition('the question, or no speaker', `!document.getElementById('question').hidden || document.getElementById('toneSaid').textContent !== ''`);
  if (await participant.evaluate(`() => !document.getElementById('question').hidden`)) {
    await tabTo(participant, 'btnHeard');
    await participant.press('Enter');
    await participant.waitForCondition('the answer', `document.getElementById('toneSaid').textContent === 'heard'`);
  }
  await waitForVerdict(participant);
  await tabTo(participant, 'report');
  await tabTo(participant, 'btnCopy');
  await participant.evaluate(`() => { navigator.clipboard.writeText = async (text) => { globalThis.__copied = text; }; }`);
  await participant.press('Enter');
  await participant.waitForCondition('the copied report', `globalThis.__copied === document.getElementById('report').value`);
  assert.notEqual(await participant.evaluate('() => __copied'), report, 'the report of the second run');
});
