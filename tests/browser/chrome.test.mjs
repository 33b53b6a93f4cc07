// The controls of a call: they fade for the eye only, stay reachable by keyboard, finger and screen reader, and fit every
// size of screen, in forced colours too.

import assert from 'node:assert/strict';
import { is, tabTo } from './lib/keyboard.mjs';
import { SMALL, unreachable } from './lib/reach.mjs';
import { setStage } from './lib/stage.mjs';
import { tour } from './lib/tour.mjs';
import { until } from './lib/work.mjs';

const stage = await setStage('chrome');

const away = (seat) => until('the controls to fade', () => seat.look(`() => document.body.dataset.chrome === 'away'
  && getComputedStyle(document.getElementById('btnLeave')).opacity === '0'`), 15_000);
const middle = (seat, selector) => seat.look(`() => {
  const { left, top, width, height } = document.querySelector('${selector}').getBoundingClientRect();
  return [left + width / 2, top + height / 2];
}`);

stage.scene('controls that have faded stay in the accessibility tree and the tab order', async () => {
  const [one, other] = await stage.pair(['chromium', 'chromium'], stage.room());
  await Promise.all([one, other].map((seat) => seat.hearsAndSees()));
  await away(one);
  const names = await one.namesFor('button');
  for (const name of ['Turn off microphone', 'Turn off camera', 'Chat', 'More', 'Leave']) assert.ok(names.includes(name), `${name}: ${names}`);

  // By keyboard: it comes back, and stays for as long as it has the focus.
  await tabTo(one, 'mic');
  await is(one, 'the bar back', `getComputedStyle(document.getElementById('btnLeave')).opacity === '1'`);
  await one.look(`() => { document.body.dataset.chrome = 'away'; }`);
  assert.equal(await one.look(`() => getComputedStyle(document.querySelector('[data-act=mic]')).pointerEvents`), 'auto');
  await one.look('() => document.activeElement.blur()');
  await away(one);
  await one.press('Enter');
  await one.sees('connected');
});

for (const [way, what] of [['tap', 'tap'], ['clickAt', 'click']]) {
  stage.scene(`the first ${what} only brings the controls back, the second presses`, async () => {
    const [one, other] = await stage.pair(['chromium', 'chromium'], stage.room());
    await Promise.all([one, other].map((seat) => seat.hearsAndSees()));
    await away(one);
    for (const [selector, truth] of [['#btnLeave', `document.body.dataset.screen === 'call'`], ['[data-act=mic]', `!document.querySelector('[data-act=mic]').hasAttribute('data-off')`]]) {
      await away(one);
      await one.look(`() => { globalThis.__clicked = false; }`);
      await one.look(`() => addEventListener('click', () => { globalThis.__clicked = true; }, { capture: true, once: true })`);
      await one[way](...await middle(one, selector));
      await is(one, 'the click', 'globalThis.__clicked');
      await is(one, 'the bar back', `document.body.dataset.chrome === 'shown'`);
      assert.ok(await one.look(`() => ${truth}`), selector);
    }
    await one[way](...await middle(one, '[data-act=mic]'));
    await is(one, 'the microphone off', `document.querySelector('[data-act=mic]').hasAttribute('data-off')`);
  });
}

const FADES_OVER = '() => Promise.all(document.getAnimations().filter((one) => one.effect.getTiming().iterations === 1).map((one) => one.finished.catch(() => {})))';

for (const language of ['en', 'zh']) {
  stage.scene(`every button is within reach down to 280 pixels and 400 % (${language})`, async () => {
    const wrong = [];
    let looked = 0;
    await tour(stage, language, async (seat, state) => {
      for (const [width, height] of SMALL) {
        await seat.resize(width, height);
        await seat.touch();
        await seat.look(FADES_OVER);
        wrong.push(...(await seat.look(`${unreachable}`)).map((what) => `${state} ${width}x${height}: ${what}`));
        looked += 1;
      }
      await seat.resize(1280, 800);
    });
    assert.ok(looked >= 250, `${looked} looks`);
    assert.deepEqual(wrong, []);
  }, 500_000);
}

/** Runs inside the page: what can only be told by a colour or a line, and is not. */
function lost() {
  const found = [];
  const seen = (one) => one.checkVisibility({ visibilityProperty: true });
  const name = (one) => one.id || one.dataset.act || one.className;
  for (const one of [...document.querySelectorAll('button:not(.bare, .swap, .trouble .round), input:not([type=checkbox]), select, textarea, dialog[open], .side, .tile, .badge')].filter(seen)) {
    const { borderTopWidth, borderTopColor } = getComputedStyle(one);
    if (parseFloat(borderTopWidth) < 1 || /^rgba.*, 0\)$/.test(borderTopColor)) found.push(`${name(one)} has no line`);
  }
  for (const one of [...document.querySelectorAll('.round.red')].filter(seen)) {
    if (getComputedStyle(one).backgroundColor !== 'rgb(200, 50, 43)') found.push(`${name(one)} is not red`);
  }
  for (const one of [...document.querySelectorAll('.level i')].filter(seen)) {
    if (getComputedStyle(one).backgroundColor === getComputedStyle(one.parentElement).backgroundColor) found.push('no level');
  }
  return found;
}

stage.scene('in forced colours nothing loses its line, the level is seen and leaving is red', async () => {
  const url = stage.room();
  const forced = async (seat) => { for (const theme of ['light', 'dark']) {
    await seat.media({ 'forced-colors': 'active', 'prefers-color-scheme': theme });
    assert.equal(await seat.look(`() => matchMedia('(forced-colors: active)').matches`), true);
    assert.deepEqual(await seat.look(`${lost}`), []);
  } };
  const one = await stage.person('chromium');
  await one.open(url);
  await one.sees('preview');
  await forced(one);
  await one.join();
  await one.sees('waiting');
  await forced(one);
  const other = await stage.person('chromium');
  await other.open(url);
  await other.join();
  await Promise.all([one, other].map((seat) => seat.hearsAndSees()));
  for (const key of ['c', 'Escape', 'p', 'Escape', '?']) {
    await one.press(key);
    await one.touch();
    await forced(one);
  }
  await one.press('Escape');
  await one.leave();
  await forced(one);
});
