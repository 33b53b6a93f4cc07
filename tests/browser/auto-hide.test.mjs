// The controls of a call hide after a while. Hidden controls stay available to the keyboard and to screen readers, and the
// first touch or click only shows them.

import assert from 'node:assert/strict';
import { tabTo } from './lib/accessibility.mjs';
import { createHarness } from './lib/harness.mjs';

const harness = await createHarness('auto-hide');

async function waitForHiddenControls(participant) {
  // Under a resting mouse they stay.
  await participant.movePointer();
  await participant.waitForCondition('hidden controls', `document.body.dataset.chrome === 'away'
    && getComputedStyle(document.getElementById('btnLeave')).opacity === '0'`, 15_000);
}
const centerOf = (participant, selector) => participant.evaluate(`() => {
  const { left, top, width, height } = document.querySelector('${selector}').getBoundingClientRect();
  return [left + width / 2, top + height / 2];
}`);

harness.scenario('hidden controls stay in the accessibility tree and the tab order', async () => {
  const [first, second] = await harness.joinPair(['chromium', 'chromium'], harness.roomUrl());
  await harness.expectMedia([first, second]);
  await waitForHiddenControls(first);
  const names = await first.accessibleNames('button');
  for (const name of ['Turn off microphone', 'Turn off camera', 'Chat', 'More', 'Leave']) assert.ok(names.includes(name), `${name}: ${names}`);

  // The keyboard shows the controls, and they stay while one of them has the focus.
  await tabTo(first, 'mic');
  await first.waitForCondition('visible controls', `getComputedStyle(document.getElementById('btnLeave')).opacity === '1'`);
  await first.evaluate(`() => { document.body.dataset.chrome = 'away'; }`);
  assert.equal(await first.evaluate(`() => getComputedStyle(document.querySelector('[data-act=mic]')).pointerEvents`), 'auto');
  await first.evaluate('() => document.activeElement.blur()');
  await waitForHiddenControls(first);
  await first.press('Enter');
  await first.waitForState('connected');
});

for (const [method, action] of [['tap', 'tap'], ['clickAt', 'click']]) {
  harness.scenario(`the first ${action} only shows hidden controls, the second activates`, async () => {
    const [first, second] = await harness.joinPair(['chromium', 'chromium'], harness.roomUrl());
    await harness.expectMedia([first, second]);
    for (const [selector, unchanged] of [['#btnLeave', `document.body.dataset.screen === 'call'`], ['[data-act=mic]', `!document.querySelector('[data-act=mic]').hasAttribute('data-off')`]]) {
      await waitForHiddenControls(first);
      await first.evaluate(`() => { globalThis.__clicked = false; }`);
      await first.evaluate(`() => addEventListener('click', () => { globalThis.__clicked = true; }, { capture: true, once: true })`);
      await first[method](...await centerOf(first, selector));
      await first.waitForCondition('the click', 'globalThis.__clicked');
      await first.waitForCondition('visible controls', `document.body.dataset.chrome === 'shown'`);
      assert.ok(await first.evaluate(`() => ${unchanged}`), selector);
    }
    await first[method](...await centerOf(first, '[data-act=mic]'));
    await first.waitForCondition('the microphone off', `document.querySelector('[data-act=mic]').hasAttribute('data-off')`);
  });
}
