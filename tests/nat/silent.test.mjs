// A direct path that answers ICE and carries nothing else, or small packets only: the call ends up on the relay by
// itself, stays there, and both pages say why.

import assert from 'node:assert/strict';
import { figure } from '../browser/lib/figures.mjs';
import { until } from '../browser/lib/work.mjs';
import { runOn, setWorldStage } from './world.mjs';

const stage = await setWorldStage('nat-silent');
const EVERYTHING_BUT_STUN = 'meta l4proto udp @th,96,32 != 0x2112a442 drop';
const LARGE = 'udp length > 308 drop';

/** From here on this is so between the two of one home, both ways; of what goes to the box nothing is lost. */
const drop = (rule) => runOn('a2', 'nft', `table inet silent {
  chain in { type filter hook input priority 0; ip saddr 10.1.0.2 ${rule}; }
  chain out { type filter hook output priority 0; ip daddr 10.1.0.2 ${rule}; }
}`);
const restore = () => runOn('a2', 'nft', 'delete', 'table', 'inet', 'silent').catch(() => {});

async function endsUpOnTheRelay(two, what, began) {
  await Promise.all(two.map((seat) => until(`the relay: ${what}`, async () => {
    const { local, remote, connection } = (await seat.stats()) ?? {};
    if (connection === 'connected' && (local?.type === 'relay' || remote?.type === 'relay')) return true;
    throw new Error(JSON.stringify({ connection, local, remote }));
  }, 120_000)));
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
  figure(`${what}: media over the relay`, performance.now() - began, 90_000);
  for (const seat of two) {
    await until('the reason', () => seat.look(`() => document.getElementById('pathWhy').textContent.includes('carried no')`), 10_000);
    assert.match(await seat.pathTaken(), /^relay-/);
  }
}

const pairOf = (kinds) => stage.pair([[kinds[0], { home: 'a1' }], [kinds[1], { home: 'a2' }]], stage.room());

for (const kinds of [['chromium', 'chromium'], ['firefox', 'chromium']]) {
  stage.scene(`a direct path of ${kinds.join(' and ')} on which only STUN passes after 3 s is left for the relay`, async () => {
    try {
      const two = await pairOf(kinds);
      for (const seat of two) await seat.hearsAndSees();
      for (const seat of two) await seat.settles('direct');
      const began = performance.now();
      await drop(EVERYTHING_BUT_STUN);
      await endsUpOnTheRelay(two, `${kinds.join(' and ')}, only STUN passes`, began);
    } finally {
      await restore();
    }
  });

  stage.scene(`a direct path of ${kinds.join(' and ')} on which packets over 300 bytes are lost is left for the relay`, async () => {
    try {
      await drop(LARGE);
      const began = performance.now();
      const two = await pairOf(kinds);
      await endsUpOnTheRelay(two, `${kinds.join(' and ')}, only small packets pass`, began);
    } finally {
      await restore();
    }
  });

  stage.scene(`a direct path of ${kinds.join(' and ')} that loses packets over 300 bytes in mid-call is left for the relay`, async () => {
    try {
      const two = await pairOf(kinds);
      for (const seat of two) await seat.hearsAndSees();
      for (const seat of two) await seat.settles('direct');
      const began = performance.now();
      await drop(LARGE);
      await endsUpOnTheRelay(two, `${kinds.join(' and ')}, only small packets pass in mid-call`, began);
    } finally {
      await restore();
    }
  });
}
