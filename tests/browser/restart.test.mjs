// The box is killed without a word and started again on the same state: both people come back by
// themselves, and where the media never needed the box it never stops.

import assert from 'node:assert/strict';
import { figure, framesAgain, gapsAgainst, undisturbed } from './lib/figures.mjs';
import { AFTER, setStage } from './lib/stage.mjs';

const stage = await setStage('restart');

stage.scene('a direct call goes on while the box is away, and leaving is noticed after it is back', async () => {
  const [first, second] = await stage.pair(['chromium', 'firefox'], stage.room());
  await Promise.all([first.hearsAndSees(), second.hearsAndSees()]);
  const calm = await undisturbed([first, second]);
  const began = Date.now();
  await stage.box.crash();
  const [before, after] = [await first.stats(), await first.hearsAndSees()];
  assert.equal(after.connection, 'connected');
  assert.ok(after.frames > before.frames, 'the picture goes on without the box');
  await stage.box.start();
  await Promise.all([first, second].map((seat) => seat.hasSaid('go on talking', 'Connected', began)));
  await gapsAgainst('box killed, direct', [first, second], calm);
  await Promise.all([first.hearsAndSees(), second.hearsAndSees()]);
  await second.leave();
  await first.sees(AFTER, 60_000);
});

stage.scene('a relayed call comes back by itself after the box was restarted', async () => {
  const two = await stage.pair(['chromium', 'firefox'], stage.room('?relay=1'));
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
  const began = performance.now();
  await stage.box.crash();
  await new Promise((done) => { setTimeout(done, 1000); });
  await stage.box.start();
  await Promise.all(two.map((seat) => framesAgain(seat)));
  figure('box away for a second, relayed: both in the call again', performance.now() - began, 8000);
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
});
