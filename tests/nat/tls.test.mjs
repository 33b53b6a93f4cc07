// Everything but the web port is blocked under a relayed call: it goes on over TLS on 443, and the page says so.

import assert from 'node:assert/strict';
import { figure } from '../browser/lib/figures.mjs';
import { until } from '../browser/lib/work.mjs';
import { runOn, setWorldStage } from './world.mjs';

const stage = await setWorldStage('nat-tls');
const times = (two) => Promise.all(two.map((seat) => seat.frameTimes()));

for (const kinds of [['chromium', 'firefox'], ['firefox', 'chromium']]) {
  stage.scene(`UDP and every port but 443 are blocked under a relayed call of ${kinds[0]}, and it goes on over TLS`, async () => {
    const homes = ['a2', 'b1'];
    const two = await stage.pair(kinds.map((kind, which) => [kind, { home: homes[which] }]), stage.room());
    await Promise.all(two.map((seat) => seat.hearsAndSees()));
    await Promise.all(two.map((seat) => seat.timeFrames()));
    try {
      await runOn('ra', 'nft', `table inet blocked { chain forward { type filter hook forward priority -1;
        ip saddr 10.1.0.3 meta l4proto udp drop; ip saddr 10.1.0.3 tcp dport != 443 drop; }; }`);
      const began = performance.now();
      await until('the picture to stop', async () => (await times(two)).some(({ now }) => now > 700), 10_000);
      await until('frames again', async () => (await times(two)).every(({ now }) => now < 300), 60_000);
      figure(`${kinds[0]}: all but the web port blocked, media back`, performance.now() - began, 10_000);
      await Promise.all(two.map((seat) => seat.hearsAndSees()));
      await two[0].settles('relay-tls');
      assert.equal((await two[0].stats()).local.relayProtocol, 'tls');
      assert.match(await two[0].look(`() => document.getElementById('pathWhy').textContent`), /over the web port/);
    } finally {
      await runOn('ra', 'nft', 'delete', 'table', 'inet', 'blocked');
    }
  });
}
