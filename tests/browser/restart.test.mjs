// The box is killed without a word and started again on the same state: both people come back by
// themselves, and where the media never needed the box it never stops.

import assert from 'node:assert/strict';
import { AFTER, setStage } from './lib/stage.mjs';

const stage = await setStage('restart');

stage.scene('a direct call goes on while the box is away, and leaving is noticed after it is back', async () => {
  const [first, second] = await stage.pair(['chromium', 'firefox'], stage.room());
  await Promise.all([first.hearsAndSees(), second.hearsAndSees()]);
  await stage.box.crash();
  const [before, after] = [await first.stats(), await first.hearsAndSees()];
  assert.equal(after.connection, 'connected');
  assert.ok(after.frames > before.frames, 'the picture goes on without the box');
  await stage.box.start();
  await Promise.all([first.hearsAndSees(), second.hearsAndSees()]);
  await second.leave();
  await first.sees(AFTER, 60_000);
});

stage.scene('a relayed call comes back by itself after the box was restarted', async () => {
  const two = await stage.pair(['chromium', 'firefox'], stage.room('?relay=1'));
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
  await stage.box.crash();
  await stage.box.start();
  await Promise.all(two.map((seat) => seat.hearsAndSees(90_000)));
});
