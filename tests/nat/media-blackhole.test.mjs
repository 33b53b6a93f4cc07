// A direct path that passes STUN but no media, or small packets only: the call moves to the relay, stays there, and both
// pages show the reason.

import assert from 'node:assert/strict';
import { matrix } from '../browser/lib/harness.mjs';
import { reportMeasurement } from '../browser/lib/measurements.mjs';
import { waitFor } from '../browser/lib/wait.mjs';
import { createNetworkHarness, runOn } from './network.mjs';

const harness = await createNetworkHarness('nat-media-blackhole');
const ALL_BUT_STUN = 'meta l4proto udp @th,96,32 != 0x2112a442 drop';
const LARGE_PACKETS = 'udp length > 308 drop';

/** Drops these packets between the two hosts of a LAN in both directions; packets to the server pass. */
const drop = (rule) => runOn('a2', 'nft', `table inet blackhole {
  chain in { type filter hook input priority 0; ip saddr 10.1.0.2 ${rule}; }
  chain out { type filter hook output priority 0; ip daddr 10.1.0.2 ${rule}; }
}`);
const restore = () => runOn('a2', 'nft', 'delete', 'table', 'inet', 'blackhole').catch(() => {});

async function expectRelay(pair, fault, startedAt) {
  await Promise.all(pair.map((participant) => waitFor(`the relay: ${fault}`, async () => {
    const { local, remote, connection } = (await participant.stats()) ?? {};
    if (connection === 'connected' && (local?.type === 'relay' || remote?.type === 'relay')) return true;
    throw new Error(JSON.stringify({ connection, local, remote }));
  }, 120_000)));
  await harness.expectMedia(pair);
  reportMeasurement(`${fault}: media over the relay`, performance.now() - startedAt, 90_000);
  for (const participant of pair) {
    await participant.waitForCondition('the reason', `document.getElementById('pathWhy').textContent.includes('carried no')`, 10_000);
    assert.match(await participant.displayedPath(), /^relay-/);
  }
}

const joinInOneLan = (kinds) => harness.joinPair([[kinds[0], { host: 'a1' }], [kinds[1], { host: 'a2' }]], harness.roomUrl());

async function expectDirectPath(pair) {
  for (const participant of pair) await participant.expectMedia();
  for (const participant of pair) await participant.waitForPath('direct');
}

for (const kinds of matrix([['firefox', 'chromium']], [['chromium', 'chromium']])) {
  const browsers = kinds.join(' and ');
  harness.scenario(`${browsers} move to the relay when only STUN passes`, async () => {
    try {
      const pair = await joinInOneLan(kinds);
      await expectDirectPath(pair);
      const droppedAt = performance.now();
      await drop(ALL_BUT_STUN);
      await expectRelay(pair, `${browsers}, only STUN passes`, droppedAt);
    } finally {
      await restore();
    }
  });

  harness.scenario(`${browsers} use the relay if large packets are lost from the start`, async () => {
    try {
      await drop(LARGE_PACKETS);
      const startedAt = performance.now();
      const pair = await joinInOneLan(kinds);
      await expectRelay(pair, `${browsers}, only small packets pass`, startedAt);
    } finally {
      await restore();
    }
  });

  harness.scenario(`${browsers} move to the relay when large packets are lost`, async () => {
    try {
      const pair = await joinInOneLan(kinds);
      await expectDirectPath(pair);
      const droppedAt = performance.now();
      await drop(LARGE_PACKETS);
      await expectRelay(pair, `${browsers}, only small packets pass in mid-call`, droppedAt);
    } finally {
      await restore();
    }
  });
}
