// The controls of a call: they fade for the eye only, stay reachable by keyboard, finger and screen reader, and fit every
// size of screen, in forced colours too.

import assert from 'node:assert/strict';
import { is, tabTo } from './lib/keyboard.mjs';
import { setStage } from './lib/stage.mjs';
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
