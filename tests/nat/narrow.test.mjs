// Homes that let less through: no UDP, nothing but the web port, no IPv4. The call still comes about, and
// the page tells the truth about the way.

import assert from 'node:assert/strict';
import { setWorldStage } from './world.mjs';

const stage = await setWorldStage('nat-narrow');

for (const [home, words, way] of [
  ['b2', 'that lets no UDP through', /^relay-(tcp|tls)$/],
  ['b3', 'that lets only the web port through', /^relay-tls$/],
  // Nothing keeps UDP from it, but Firefox takes the pair that answers first.
  ['c1', 'without IPv4', /^relay-(udp|tcp|tls)$/],
]) {
  for (const kind of ['chromium', 'firefox']) {
    stage.scene(`${kind} in a home ${words} talks to a home with an ordinary connection`, async (context) => {
      if (home !== 'c1' && !stage.box.streams) return context.skip('this box relays for UDP clients only');
      const two = await stage.pair([['chromium', { home: 'a1' }], [kind, { home }]], stage.room());
      for (const seat of two) await seat.hearsAndSees(60_000);
      const { local } = await two[1].stats();
      assert.equal(local.type, 'relay');
      assert.match(await two[1].pathTaken(), way);
    });
  }
}
