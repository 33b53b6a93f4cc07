// Every state the page shows a person, at three sizes of screen, as pictures to look at; asserted is only
// that nothing hangs out of the screen sideways.

import assert from 'node:assert/strict';
import path from 'node:path';
import { AFTER, setStage } from './lib/stage.mjs';

const stage = await setStage('screens');
const SIZES = [[390, 844], [844, 390], [1440, 900]];

async function pictures(seat, name) {
  for (const [width, height] of SIZES) {
    await seat.resize(width, height);
    await seat.screenshot(path.join(stage.dir, `${name}-${width}x${height}.png`));
    const over = await seat.look('() => document.documentElement.scrollWidth - innerWidth');
    assert.ok(over <= 0, `${name} is ${over} pixels too wide at ${width}x${height}`);
  }
}

stage.scene('no state of the page hangs out of the screen', async () => {
  const url = stage.room();
  const first = await stage.person('chromium');
  await first.open(url);
  await first.sees('preview');
  await pictures(first, '1-door');
  await first.join();
  await first.sees('waiting');
  await pictures(first, '2-waiting');
  const second = await stage.person('chromium');
  await second.open(url);
  await second.join();
  await first.hearsAndSees();
  await pictures(first, '3-call');
  const third = await stage.person('chromium');
  await third.open(url);
  await third.join();
  await third.errs('room-full');
  await pictures(third, '4-full');
  await third.close();
  await second.leave();
  await second.sees(AFTER);
  await pictures(second, '5-after');
});
