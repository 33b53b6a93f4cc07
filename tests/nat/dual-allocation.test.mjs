// One allocation with an IPv4 and an IPv6 address (ADDITIONAL-ADDRESS-FAMILY, RFC 8656 §7.2), with our own client: Debian's
// coturn client still sends the attribute of a draft.

import assert from 'node:assert/strict';
import { createNetworkHarness, spawnOn } from './network.mjs';

const harness = await createNetworkHarness('nat-dual-allocation');

const CHANNEL = { 4: 0x4004, 6: 0x4006 };
const EXPECT_ECHOES = { count: 40, timeoutMs: 3000 };
const EXPECT_NONE = { count: 40, timeoutMs: 300 };

/** A client over IPv4 and one over IPv6, each with both addresses and channels to both of the other's. */
async function createClients() {
  const credentials = await harness.server.credentials();
  const clients = [
    await spawnOn('a1', './turn-client.mjs', 'createTurnClient', { address: '45.0.0.10', port: 3478 }, credentials),
    await spawnOn('c1', './turn-client.mjs', 'createTurnClient', { address: '2a05:d000::10', port: 3478 }, credentials),
  ];
  const relayed = await Promise.all(clients.map((client) => client.allocateBoth()));
  for (const family of [4, 6]) {
    await Promise.all(clients.map((client, index) => client.bindChannel(CHANNEL[family], relayed[1 - index][family])));
  }
  return { clients, relayed, close: () => Promise.all(clients.map((client) => client.close())) };
}

harness.scenario('both addresses carry data, whatever family the client itself uses', async () => {
  const { clients: [sender, echo], relayed, close } = await createClients();
  try {
    for (const addresses of relayed) assert.deepEqual([addresses[4].address, addresses[6].address], ['45.0.0.10', '2a05:d000::10']);
    await echo.echo();
    for (const family of [4, 6]) assert.equal(await sender.countEchoes(CHANNEL[family], EXPECT_ECHOES), EXPECT_ECHOES.count, `IPv${family}`);
  } finally {
    await close();
  }
});

for (const [deleted, remaining] of [[4, 6], [6, 4]]) {
  harness.scenario(`deleting the IPv${deleted} address keeps the IPv${remaining} one`, async () => {
    const { clients: [sender, echo], close } = await createClients();
    try {
      await echo.echo();
      await sender.refresh(0, deleted);
      assert.equal(await sender.countEchoes(CHANNEL[deleted], EXPECT_NONE), 0);
      assert.equal(await sender.countEchoes(CHANNEL[remaining], EXPECT_ECHOES), EXPECT_ECHOES.count);
      await sender.refresh();
      await assert.rejects(sender.refresh(600, deleted), /443/);
    } finally {
      await close();
    }
  });
}
