// Coming and going: leaving and coming back, a third person, a reloaded page.

import assert from 'node:assert/strict';
import { AFTER, setStage } from './lib/stage.mjs';

const stage = await setStage('room');

stage.scene('when one leaves, the call ends for both, and both can come back to the same room', async () => {
  const url = stage.room();
  const two = await stage.pair(['chromium', 'firefox'], url);
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
  await two[1].leave();
  for (const seat of two) await seat.sees(AFTER);
  for (const seat of two) {
    await seat.open(url);
    await seat.join();
  }
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
});

stage.scene('the one who leaves an empty room can come back to it', async () => {
  const url = stage.room();
  const only = await stage.person('chromium');
  await only.open(url);
  await only.join();
  await only.sees('waiting');
  await only.leave();
  await only.sees(AFTER);
  await only.open(url);
  await only.join();
  await only.sees('waiting');
});

stage.scene('the door says who is inside before anybody enters', async () => {
  const url = stage.room();
  const [first, second, third] = [await stage.person('chromium'), await stage.person('firefox'), await stage.person('chromium')];
  await first.open(url);
  await first.findsInside(0);
  await first.join();
  await second.open(url);
  await second.findsInside(1);
  await second.join();
  await Promise.all([first, second].map((seat) => seat.hearsAndSees()));
  await third.open(url);
  await third.findsInside(2);
  await first.leave();
  await third.findsInside(0);
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
