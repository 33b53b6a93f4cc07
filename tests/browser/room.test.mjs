// Coming and going: leaving, a third person, a reloaded page, the same person twice.

import assert from 'node:assert/strict';
import { setStage } from './lib/stage.mjs';

const stage = await setStage('room');

stage.scene('the one who stays waits again when the other leaves, and the other can come back', async () => {
  const url = stage.room();
  const [first, second] = await stage.pair(['chromium', 'chromium'], url);
  await Promise.all([first.hearsAndSees(), second.hearsAndSees()]);
  await second.leave();
  await second.sees(['idle', 'preview']);
  await first.sees('waiting');
  await second.open(url);
  await second.join();
  await Promise.all([first.hearsAndSees(), second.hearsAndSees()]);
});

stage.scene('a third person is told that the room is full, and the call goes on', async () => {
  const url = stage.room();
  const two = await stage.pair(['chromium', 'chromium'], url);
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
  const third = await stage.person('chromium');
  await third.open(url);
  await third.join();
  assert.notEqual((await third.errs('room-full')).trim(), '');
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
});

for (const [who, kinds] of [['who came first', ['chromium', 'firefox']], ['who came second', ['firefox', 'chromium']]]) {
  for (const query of ['', '?relay=1']) {
    const chosen = who === 'who came first' ? 0 : 1;
    stage.scene(`a page that is reloaded comes back into the call (chromium ${who}${query && ', relayed'})`, async () => {
      const two = await stage.pair(kinds, stage.room(query));
      await Promise.all(two.map((seat) => seat.hearsAndSees()));
      await two[chosen].reload();
      // Whether the page goes in by itself or asks at the door is the page's own choice.
      if ((await two[chosen].sees(['preview', 'joining', 'waiting', 'connecting', 'connected'])) === 'preview') {
        await two[chosen].join().catch(() => {});
      }
      await Promise.all(two.map((seat) => seat.hearsAndSees()));
    });
  }
}
