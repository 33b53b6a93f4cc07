// The connection test in real browsers against the real box: every way open, a test call measured, devices tried,
// a report; and what it looks like.

import assert from 'node:assert/strict';
import path from 'node:path';
import { bringAxe, seriousIn } from './lib/axe.mjs';
import { has, is, tabTo } from './lib/keyboard.mjs';
import { setStage } from './lib/stage.mjs';
import { tested, told, verdict } from './lib/test-page.mjs';
import { until } from './lib/work.mjs';

const stage = await setStage('test-page');
const SIZES = [[390, 844], [844, 390], [1440, 900]];
const text = (id) => `() => document.getElementById('${id}').textContent`;

for (const kind of ['chromium', 'firefox']) {
  stage.scene(`${kind} finds every way open and makes a test call over the relay`, async () => {
    const seat = await stage.person(kind);
    const shown = await tested(seat, stage.box);
    told(kind, shown);
    assert.deepEqual(new Set(Object.values(shown.rows)), new Set(['open']), JSON.stringify(shown.rows));
    const names = Object.keys(shown.rows).map((row) => row.split(' ')[0]);
    for (const name of ['turn-udp', 'turn-tcp', 'turn-tls']) assert.ok(names.includes(name), name);
    assert.equal(shown.figures.path, 'relay-udp');
    assert.ok(Number(shown.figures.rate) > 1_000_000);
    assert.ok(Number(shown.figures.loss) < 0.1);
    // On a busy machine the figures may be poor, but never the ways.
    assert.ok(['good', 'lossy', 'far', 'slow'].includes(shown.code), shown.code);
    assert.ok(shown.report.includes(shown.sentence));
    assert.doesNotMatch(shown.report, /credential|~~|\d+\.\d+\.\d+\.\d+(?![.\d])(?! Safari)/);
    assert.deepEqual(await seat.said(), []);

    await seat.click('#btnAgain');
    await until('the second run', async () => (await seat.look(text('sentence'))) !== shown.sentence);
    assert.equal((await verdict(seat)).figures.path, 'relay-udp');
  });

  stage.scene(`${kind} tries camera, microphone and speaker when asked, and not before`, async () => {
    const seat = await stage.person(kind);
    await tested(seat, stage.box);
    assert.equal(await seat.look('() => document.getElementById("picture").srcObject'), null);
    await seat.click('#btnDevices');
    await until('the picture', () => seat.look('() => document.getElementById("picture").videoWidth > 0'));
    // Firefox runs no WebAudio where there is no sound card, so that nothing can listen.
    const listens = await seat.look(`async () => {
      const context = new AudioContext();
      await Promise.race([context.resume(), new Promise((late) => setTimeout(late, 2000))]);
      return context.state === 'running';
    }`);
    if (!listens) console.log(`${kind} has no WebAudio here`);
    const heard = listens ? 'We can hear you.' : 'Say something: the bar should move.';
    await until('a word on the microphone', async () => (await seat.look(text('devicesSaid'))) === heard);
    await seat.screenshot(path.join(stage.dir, `devices-${kind}.png`));
    const track = '() => { globalThis.__track = document.getElementById("picture").srcObject.getVideoTracks()[0]; }';
    await seat.look(track);
    await seat.click('#btnDevices');
    assert.equal(await seat.look('() => globalThis.__track.readyState'), 'ended', 'the light is out');
    await seat.click('#btnTone');
    const asked = await until('the question, or no speaker', () => seat.look(`() => (
      document.getElementById('question').hidden ? document.getElementById('toneSaid').textContent : 'asked')`));
    if (asked === 'asked') {
      await seat.click('#btnUnheard');
      assert.match(await seat.look(text('toneSaid')), /Turn up the volume/);
    } else {
      console.log(`${kind} has no speaker here: ${asked}`);
      assert.match(asked, /nothing to play a tone on/);
    }
    const report = await seat.look('() => document.getElementById("report").value');
    assert.match(report, /^Camera: works, \d+×\d+$/m);
    assert.ok(report.includes(`\nMicrophone: ${listens ? heard : 'works, but nothing was heard'}\nSpeaker: ${asked === 'asked' ? 'Not heard.' : 'This browser found nothing'}`), report);
  });
}

stage.scene('a refused camera is explained, and the network test goes on without it', async () => {
  const seat = await stage.person('chromium', { devices: 'refused' });
  const shown = await tested(seat, stage.box);
  assert.equal(shown.figures.path, 'relay-udp');
  await seat.click('#btnDevices');
  await until('the sentence', () => seat.look('() => document.getElementById("trouble").dataset.code === "camera-denied"'));
  assert.match(await seat.look(text('trouble')), /choose Allow, then Try again/);
  assert.doesNotMatch(await seat.look(text('trouble')), /join/);
  await seat.screenshot(path.join(stage.dir, 'refused.png'));
  await bringAxe(seat);
  assert.deepEqual(await seriousIn(seat), []);
  // What it names is there, and asks again.
  await seat.look('() => { globalThis.__asked = 0; navigator.mediaDevices.getUserMedia = async () => { __asked += 1; throw new DOMException("Permission denied by system", "NotAllowedError"); }; }');
  await seat.click('#btnRetry');
  await until('another sentence', () => seat.look('() => __asked > 0 && document.getElementById("trouble").dataset.code === "camera-denied-system"'));
});

stage.scene('a refused camera is explained for Firefox in Firefox, and one that an insecure page or the policy keeps away as such', async () => {
  const refused = await stage.person('firefox', { devices: 'refused' });
  await tested(refused, stage.box);
  const sentence = (seat, code) => until(`the sentence about ${code}`, () => seat.look(`() => document.getElementById('trouble').dataset.code === '${code}' && document.getElementById('troubleText').textContent`));
  await refused.click('#btnDevices');
  assert.match(await sentence(refused, 'camera-denied'), /^Firefox is not letting/);

  const seat = await stage.person('chromium');
  await seat.before(`() => {
    if (location.hash === '#insecure') {
      Object.defineProperty(globalThis, 'isSecureContext', { value: false });
      Object.defineProperty(navigator, 'mediaDevices', { value: undefined });
    } else {
      navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('Permission denied', 'NotAllowedError'); };
      if (location.hash === '#policy') document.featurePolicy.allowsFeature = (feature) => feature !== 'camera';
      // Granted to the page, and refused all the same.
      if (location.hash === '#system') navigator.permissions.query = async () => Object.assign(new EventTarget(), { state: 'granted' });
    }
  }`);
  for (const [hash, code] of [['insecure', 'insecure-origin'], ['policy', 'blocked-by-site'], ['system', 'camera-denied-system']]) {
    await seat.open('about:blank');
    await seat.open(`${stage.box.origin}/test#${hash}`);
    await seat.click('#btnDevices');
    await sentence(seat, code);
  }
});

stage.scene('a box that is gone, and one asked too often, are told in a sentence', async () => {
  const seat = await stage.person('chromium');
  await tested(seat, stage.box);
  await seat.look('async () => { for (let i = 0; i < 12; i += 1) await fetch("/test.json"); }');
  await seat.click('#btnAgain');
  await until('the limit', async () => (await verdict(seat)).code === 'limited');
  await stage.box.crash();
  await seat.click('#btnAgain');
  await until('the end', async () => (await verdict(seat)).code === 'unreachable');
  await stage.box.start();
  await seat.click('#btnAgain');
  await until('another run', async () => (await verdict(seat)).figures.path === 'relay-udp', 60_000);
});

stage.scene('the page is whole at every size, in both languages and both themes, and axe finds nothing serious', async () => {
  for (const [language, theme] of [['en', 'light'], ['zh', 'dark']]) {
    const flags = [`--accept-lang=${language}`, ...(theme === 'dark' ? ['--force-dark-mode', '--blink-settings=preferredColorScheme=0'] : [])];
    const seat = await stage.person('chromium', { flags, size: { width: 1440, height: 900 } });
    const shown = await tested(seat, stage.box);
    assert.equal(await seat.look('() => document.documentElement.lang.slice(0, 2)'), language);
    if (language === 'zh') assert.match(shown.sentence, /\p{Script=Han}/u);
    for (const [width, height] of SIZES) {
      await seat.resize(width, height);
      await seat.screenshot(path.join(stage.dir, `test-${language}-${theme}-${width}x${height}.png`));
      const over = await seat.look('() => document.documentElement.scrollWidth - innerWidth');
      assert.ok(over <= 0, `${over} pixels too wide at ${width}x${height}`);
      const small = await seat.look(`() => [...document.querySelectorAll('button, a')]
        .filter((each) => each.offsetParent && each.getBoundingClientRect().height < 47.5).map((each) => each.id || each.textContent)`);
      assert.deepEqual(small, []);
    }
    await bringAxe(seat);
    assert.deepEqual(await seriousIn(seat), [], `${language}-${theme}`);
    await seat.click('#btnDevices');
    await until('the picture', () => seat.look('() => document.getElementById("picture").videoWidth > 0'));
    assert.deepEqual(await seriousIn(seat), [], `${language}-${theme}, devices tried`);
    await seat.look('() => scrollTo(0, document.body.scrollHeight)');
    await seat.screenshot(path.join(stage.dir, `test-${language}-${theme}-end.png`));
  }
});

stage.scene('the test page can be worked by keyboard alone', async () => {
  const seat = await stage.person('chromium');
  const { report } = await tested(seat, stage.box);
  await tabTo(seat, 'btnAgain');
  await seat.press('Enter');
  await is(seat, 'another run', `document.getElementById('verdict').getAttribute('aria-busy') === 'true'`);
  await tabTo(seat, 'btnDevices');
  await seat.press('Enter');
  await is(seat, 'the picture', `document.getElementById('picture').videoWidth > 0`);
  await has(seat, 'btnDevices');
  await seat.press('Enter');
  await is(seat, 'no picture', `document.getElementById('picture').srcObject === null`);
  await tabTo(seat, 'btnTone');
  await seat.press('Enter');
  await is(seat, 'the question, or no speaker', `!document.getElementById('question').hidden || document.getElementById('toneSaid').textContent !== ''`);
  if (await seat.look(`() => !document.getElementById('question').hidden`)) {
    await tabTo(seat, 'btnHeard');
    await seat.press('Enter');
    await is(seat, 'the answer', `document.getElementById('toneSaid').textContent === 'heard'`);
  }
  await verdict(seat);
  await tabTo(seat, 'report');
  await tabTo(seat, 'btnCopy');
  await seat.look(`() => { navigator.clipboard.writeText = async (text) => { globalThis.__copied = text; }; }`);
  await seat.press('Enter');
  await is(seat, 'the report copied', `globalThis.__copied === document.getElementById('report').value`);
  assert.notEqual(await seat.look('() => __copied'), report, 'of the second run');
});
