// One allocation with an IPv4 and an IPv6 address (ADDITIONAL-ADDRESS-FAMILY, RFC 8656 §7.2), asked for by
// our own client: coturn's of Debian still asks in the words of a draft.

import assert from 'node:assert/strict';
import { settle, setWorldStage } from './world.mjs';

const stage = await setWorldStage('nat-dual');

const CHANNEL = { 4: 0x4004, 6: 0x4006 };
const ROUND = { count: 40, patience: 3000 };
const QUIET = { count: 40, patience: 300 };

/** Someone by IPv4 and someone by IPv6, each holding both addresses and bound to the other's. */
async function bothSides() {
  const credentials = await stage.box.credentials();
  const two = [
    await settle('a1', './turn.mjs', 'makeTurnClient', { address: '45.0.0.10', port: 3478 }, credentials),
    await settle('c1', './turn.mjs', 'makeTurnClient', { address: '2a05:d000::10', port: 3478 }, credentials),
  ];
  const relayed = await Promise.all(two.map((client) => client.allocateBoth()));
  for (const family of [4, 6]) {
    await Promise.all(two.map((client, which) => client.bind(CHANNEL[family], relayed[1 - which][family])));
  }
  return { two, relayed, close: () => Promise.all(two.map((client) => client.close())) };
}

stage.scene('both addresses of a double allocation carry data both ways, whatever family its client comes by', async () => {
  const { two: [asker, answerer], relayed, close } = await bothSides();
  try {
    for (const one of relayed) assert.deepEqual([one[4].address, one[6].address], ['45.0.0.10', '2a05:d000::10']);
    await answerer.echo();
    for (const family of [4, 6]) assert.equal(await asker.round(CHANNEL[family], ROUND), ROUND.count, `IPv${family}`);
  } finally {
    await close();
  }
});

for (const [ended, left] of [[4, 6], [6, 4]]) {
  stage.scene(`a double allocation whose IPv${ended} half is given back goes on with IPv${left}`, async () => {
    const { two: [asker, answerer], close } = await bothSides();
    try {
      await answerer.echo();
      await asker.refresh(0, ended);
      assert.equal(await asker.round(CHANNEL[ended], QUIET), 0);
      assert.equal(await asker.round(CHANNEL[left], ROUND), ROUND.count);
      await asker.refresh();
      await assert.rejects(asker.refresh(600, ended), /443/);
    } finally {
      await close();
    }
  });
}
