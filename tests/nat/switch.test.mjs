// The network changes under a relayed call: a home gets another address, its translator another one, UDP is
// blocked. Picture and sound come back by themselves.

import assert from 'node:assert/strict';
import { figure } from '../browser/lib/figures.mjs';
import { until } from '../browser/lib/work.mjs';
import { runOn, setWorldStage } from './world.mjs';

const stage = await setWorldStage('nat-switch');

/** Does something to the network and gives the milliseconds until both see new frames again, after a gap. */
async function backAfter(two, change) {
  await Promise.all(two.map((seat) => seat.timeFrames()));
  const began = performance.now();
  await change();
  await until('the picture to stop', async () => (await Promise.all(two.map((seat) => seat.frameTimes()))).some(({ now }) => now > 700), 10_000);
  await Promise.all(two.map((seat) => until('frames again', async () => (await seat.frameTimes()).now < 300, 60_000)));
  return performance.now() - began;
}

async function relayed(kinds, homes) {
  const two = await stage.pair(kinds.map((kind, which) => [kind, { home: homes[which] }]), stage.room());
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
  return two;
}

for (const kinds of [['chromium', 'firefox'], ['firefox', 'chromium']]) {
  stage.scene(`${kinds[0]}'s home gets another address in a relayed call, and the picture is back`, async () => {
    const two = await relayed(kinds, ['a1', 'b1']);
    try {
      figure(`${kinds[0]}: address changed, media back`, await backAfter(two, () => runOn('a1', 'sh', '-c',
        'ip address del 10.1.0.2/24 dev eth0; ip address add 10.1.0.50/24 dev eth0; ip route replace default via 10.1.0.1')), 4000);
      await Promise.all(two.map((seat) => seat.hearsAndSees()));
    } finally {
      await runOn('a1', 'sh', '-c',
        'ip address del 10.1.0.50/24 dev eth0; ip address add 10.1.0.2/24 dev eth0; ip route replace default via 10.1.0.1');
    }
  });

  stage.scene(`UDP is blocked under a relayed call of ${kinds[0]}, and it goes on over TCP or TLS`, async (context) => {
    if (!stage.box.streams) return context.skip('this box relays for UDP clients only');
    const two = await relayed(kinds, ['a2', 'b1']);
    try {
      figure(`${kinds[0]}: UDP blocked, media back`, await backAfter(two, () => runOn('ra', 'nft',
        'table inet blocked { chain forward { type filter hook forward priority -1; ip saddr 10.1.0.3 meta l4proto udp drop; }; }')), 10_000);
      await Promise.all(two.map((seat) => seat.hearsAndSees()));
      assert.match(await until('the path over a stream', async () => /relay-t/.test(await two[0].pathTaken()) && two[0].pathTaken()), /^relay-(tcp|tls)$/);
    } finally {
      await runOn('ra', 'nft', 'delete', 'table', 'inet', 'blocked');
    }
  });
}

stage.scene('a translator forgets its mappings under a relayed call, and the picture is back', async () => {
  const two = await relayed(['chromium', 'chromium'], ['a1', 'b1']);
  const move = (from, to) => runOn('ra', 'sh', '-c', `ip address del ${from}/24 dev wan; ip address add ${to}/24 dev wan; ip route replace default via 45.0.1.1`);
  try {
    figure('translator changed its address, media back', await backAfter(two, () => move('45.0.1.2', '45.0.1.3')), 4000);
    await Promise.all(two.map((seat) => seat.hearsAndSees()));
  } finally {
    await move('45.0.1.3', '45.0.1.2');
  }
});
