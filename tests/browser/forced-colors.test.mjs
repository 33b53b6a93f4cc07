// Forced colors: nothing that is visible by a color or border alone disappears.

import assert from 'node:assert/strict';
import { createHarness } from './lib/harness.mjs';
import { forcedColorFaults } from './lib/page-checks.mjs';

const harness = await createHarness('forced-colors');

harness.scenario('forced colors keep borders, the level meter and the red leave button', async () => {
  const url = harness.roomUrl();
  const expectNoFaults = async (participant) => {
    for (const scheme of ['light', 'dark']) {
      await participant.emulateMedia({ 'forced-colors': 'active', 'prefers-color-scheme': scheme });
      assert.equal(await participant.evaluate(`() => matchMedia('(forced-colors: active)').matches`), true);
      assert.deepEqual(await participant.evaluate(`${forcedColorFaults}`), []);
    }
  };
  const first = await harness.participant('chromium');
  await first.open(url);
  await first.waitForState('preview');
  await expectNoFaults(first);
  await first.join();
  await first.waitForState('waiting');
  await expectNoFaults(first);
  const second = await harness.participant('chromium');
  await second.open(url);
  await second.join();
  await harness.expectMedia([first, second]);
  for (const key of ['c', 'Escape', 'p', 'Escape', '?']) {
    await first.press(key);
    await first.movePointer();
    await expectNoFaults(first);
  }
  await first.press('Escape');
  await first.leave();
  await expectNoFaults(first);
});
