// The network changes during a relayed call: a host gets another address or interface, its NAT gets another address, UDP or
// all ports but 443 are blocked, or there is no network for half a minute. Audio and video must return without user action.

import assert from 'node:assert/strict';
import { matrix } from '../browser/lib/harness.mjs';
import { reportMeasurement } from '../browser/lib/measurements.mjs';
import { delay, waitFor } from '../browser/lib/wait.mjs';
import { createNetworkHarness, namespaceOf, runOn } from './network.mjs';

const harness = await createNetworkHarness('nat-network-change');

/** Without a frame for this long the video has stopped. */
const STOPPED_MS = 700;
/** By then both pages know how regularly packets arrive. */
const MID_CALL_MS = 6000;
/** With a frame this recent the video runs. */
const RUNNING_MS = 300;

/** Chromium is told of another address after two seconds, the time that it gives each change of the network to settle. */
const ADDRESS_CHANGED_GOAL_MS = { chromium: 2500, firefox: 2000 };

const startFrameTiming = (pair) => Promise.all(pair.map((participant) => participant.startFrameTiming()));
const frameTimings = (pair) => Promise.all(pair.map((participant) => participant.frameTiming()));

/** Changes the network and returns the milliseconds until both participants have new frames after an interruption. With
 *  `mayContinue` there may be no interruption, because the browser may have another path ready. */
async function interruptionOf(pair, change, { mayContinue = false } = {}) {
  await startFrameTiming(pair);
  const changedAt = performance.now();
  await change();
  const stopped = waitFor('the video to stop', async () => (await frameTimings(pair)).some(({ sinceLast }) => sinceLast > STOPPED_MS), mayContinue ? 3000 : 10_000);
  const hasStopped = await stopped.then(() => true, (error) => (mayContinue ? false : Promise.reject(error)));
  if (!hasStopped) return Math.max(...(await frameTimings(pair)).map(({ longest }) => longest));
  await Promise.all(pair.map((participant) => waitFor('new frames', async () => (await participant.frameTiming()).sinceLast < RUNNING_MS, 60_000)));
  return performance.now() - changedAt;
}

/** Restores the network while the video is stopped, and returns the milliseconds until both have new frames. */
async function recoveryTime(pair, restore) {
  await startFrameTiming(pair);
  const restoredAt = performance.now();
  await restore();
  await Promise.all(pair.map((participant) => waitFor('new frames', async () => (await participant.frameTiming()).count > 2, 60_000)));
  return performance.now() - restoredAt;
}

async function joinRelayedPair(kinds, hosts) {
  const pair = await harness.joinPair(kinds.map((kind, index) => [kind, { host: hosts[index] }]), harness.roomUrl());
  await harness.expectMedia(pair);
  await delay(MID_CALL_MS);
  return pair;
}

/** Adds a rule to the forward path of router ra. */
const block = (rules) => runOn('ra', 'nft', `table inet blocked { chain forward { type filter hook forward priority -1; ${rules} }; }`);
const unblock = () => runOn('ra', 'nft', 'delete', 'table', 'inet', 'blocked');

for (const kinds of matrix([['chromium', 'firefox']], [['firefox', 'chromium']])) {
  harness.scenario(`${kinds[0]}'s relayed call continues when its address changes`, async () => {
    const pair = await joinRelayedPair(kinds, ['a1', 'b1']);
    const changeAddress = (from, to) => runOn('a1', 'sh', '-c',
      `ip address del ${from}/24 dev eth0; ip address add ${to}/24 dev eth0; ip route replace default via 10.1.0.1`);
    try {
      // Firefox may be back before the video counts as stopped.
      const interruption = await interruptionOf(pair, () => changeAddress('10.1.0.2', '10.1.0.50'), { mayContinue: kinds[0] === 'firefox' });
      reportMeasurement(`${kinds[0]}: address changed, media back`, interruption, ADDRESS_CHANGED_GOAL_MS[kinds[0]]);
      await harness.expectMedia(pair);
    } finally {
      await changeAddress('10.1.0.50', '10.1.0.2');
    }
  });

  harness.scenario(`${kinds[0]}'s relayed call continues from Wi-Fi to mobile data`, async () => {
    // A fixed hardware address: with another one the router would send to the previous one for half a minute.
    await runOn('a1', 'sh', '-c', `ip link add eth1 address 02:00:00:00:02:90 type veth peer name mobile netns ${namespaceOf('rb')}; ip link set eth1 up`);
    await runOn('rb', 'sh', '-c', 'ip link set mobile master lan up');
    await runOn('a1', 'sh', '-c', 'ip address add 10.2.0.90/24 dev eth1; ip route add default via 10.2.0.1 metric 100');
    try {
      const pair = await joinRelayedPair(kinds, ['a1', 'b1']);
      const interruption = await interruptionOf(pair, () => runOn('a1', 'ip', 'link', 'set', 'eth0', 'down'), { mayContinue: true });
      reportMeasurement(`${kinds[0]}: Wi-Fi to mobile, media back`, interruption, 2000);
      await harness.expectMedia(pair);
    } finally {
      await runOn('a1', 'sh', '-c', 'ip link del eth1; ip link set eth0 up; ip route replace default via 10.1.0.1');
    }
  });

  harness.scenario(`${kinds[0]}'s relayed call moves to TCP or TLS when UDP is blocked`, async () => {
    const pair = await joinRelayedPair(kinds, ['a2', 'b1']);
    try {
      // Firefox sometimes uses TCP from the start and then loses nothing.
      const path = await pair[0].waitForRelayPath();
      const interruption = await interruptionOf(pair, () => block('ip saddr 10.1.0.3 meta l4proto udp drop;'), { mayContinue: path !== 'relay-udp' });
      reportMeasurement(`${kinds[0]}: UDP blocked during ${path}, media back`, interruption, 3000);
      await harness.expectMedia(pair);
      const newPath = await waitFor('a path over TCP or TLS', async () => /relay-t/.test(await pair[0].displayedPath()) && pair[0].displayedPath());
      assert.match(newPath, /^relay-(tcp|tls)$/);
    } finally {
      await unblock();
    }
  });

  harness.scenario(`${kinds[0]}'s relayed call moves to TLS when only port 443 is open`, async () => {
    const pair = await joinRelayedPair(kinds, ['a2', 'b1']);
    try {
      const interruption = await interruptionOf(pair, () => block('ip saddr 10.1.0.3 meta l4proto udp drop; ip saddr 10.1.0.3 tcp dport != 443 drop;'));
      reportMeasurement(`${kinds[0]}: all ports but 443 blocked, media back`, interruption, 3000);
      await harness.expectMedia(pair);
      await pair[0].waitForPath('relay-tls');
      assert.equal((await pair[0].stats()).local.relayProtocol, 'tls');
      assert.match(await pair[0].evaluate(`() => document.getElementById('pathWhy').textContent`), /through the web port/);
    } finally {
      await unblock();
    }
  });
}

for (const kind of matrix(['firefox'], ['chromium'])) {
  harness.scenario(`${kind}'s relayed call continues when its NAT loses its mappings`, async () => {
    const pair = await joinRelayedPair([kind, 'chromium'], ['a1', 'b1']);
    const changeAddress = (from, to) => runOn('ra', 'sh', '-c', `ip address del ${from}/24 dev wan; ip address add ${to}/24 dev wan; ip route replace default via 45.0.1.1`);
    try {
      reportMeasurement(`${kind}: NAT address changed, media back`, await interruptionOf(pair, () => changeAddress('45.0.1.2', '45.0.1.3')), 2000);
      await harness.expectMedia(pair);
    } finally {
      await changeAddress('45.0.1.3', '45.0.1.2');
    }
  });
}

for (const kinds of matrix([['firefox', 'chromium']], [['chromium', 'firefox']])) {
  harness.scenario(`a call recovers after ${kinds[0]} had no network for half a minute`, async () => {
    const pair = await joinRelayedPair(kinds, ['a1', 'b1']);
    await block('ip saddr 10.1.0.2 drop; ip daddr 10.1.0.2 drop;');
    try {
      // A failed connection loses its keys in Firefox: an ICE restart does not recover it.
      await pair[kinds.indexOf('firefox')].waitForCondition('Firefox\'s connection to fail', `['failed', 'closed'].includes(__observed.connections[0].connectionState)`, 60_000);
      reportMeasurement(`${kinds[0]}: no network for half a minute, media back`, await recoveryTime(pair, unblock), 5000);
      await harness.expectMedia(pair);
    } finally {
      // Already unblocked, unless the scenario has failed before.
      await unblock().catch(() => {});
    }
  });
}
