// The box that owns rooms is killed, stops for a while, or is cut off from the store or from everybody else. Pages and clients come back
// on another box; direct media does not notice.

import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { measureBaselineGaps, reportFrameGaps, reportMeasurement } from '../browser/lib/measurements.mjs';
import { waitFor } from '../browser/lib/wait.mjs';
import { createClusterHarness, isByStore } from './lib/cluster.mjs';
import { percentile } from './lib/figures.mjs';

const SIGNALING_GOAL_MS = 5000;
const RELAYED_GOAL_MS = 8000;
const REACHABLE_GOAL_MS = 10_000;
const TWO_OWNERS_GOAL_MS = 1000;
const STOPPED_MS = 10_000;
const RELAYED_CALLS = 10;
const UNREACHABLE_ROOMS = 8;
/** How often a woken box is asked. */
const ASK_EVERY_MS = 20;

const harness = await createClusterHarness('cluster-owner-loss');
const { boxes } = harness.cluster;
const [owner, ...others] = boxes;
const clients = await harness.signalingClients('a2');

function reportSeats(name, times, goalMs) {
  console.log(`${name}: ${times.length} seats, median ${percentile(times, 0.5)} ms, longest ${Math.max(...times)} ms`);
  reportMeasurement(`${name}, p95`, percentile(times, 0.95), goalMs);
}

/** Waits until the owner opens new rooms by the store, redirects to other owners, and tells clients of them. */
async function waitUntilBack() {
  await waitFor(`${owner.name} to answer`, owner.isHealthy);
  const ask = (type, room) => clients.ask(owner.name, { type, room });
  await waitFor(`${owner.name} to open a room and name all boxes`, async () => {
    const { answer } = await ask('join', `opens-${Date.now()}`);
    return isByStore(answer, 'resp-join') && answer.nodes?.length === boxes.length;
  });
  await clients.join('elsewhere', { room: 'elsewhere', host: others[0].name });
  await waitFor(`${owner.name} to know the owner of a room`, async () => isByStore((await ask('look', 'elsewhere')).answer, 'redirect'));
}

harness.scenario('the owner is killed: signaling, direct and relayed media', async () => {
  await harness.leadTo(owner);
  const relayed = await harness.relayCalls('b1', { prefix: 'killed', count: RELAYED_CALLS, host: owner.name });
  const url = harness.roomUrl();
  const direct = await harness.joinPair([['chromium', { host: 'a1' }], ['firefox', { host: 'a2' }]], url);
  await harness.expectMedia(direct);
  await relayed.expectMedia();
  await harness.leadTo();
  const baseline = await measureBaselineGaps(direct);

  const killedAt = Date.now();
  await owner.crash();
  reportSeats('owner killed: seats joined again', await relayed.waitForSeats(killedAt, 4 * SIGNALING_GOAL_MS), SIGNALING_GOAL_MS);
  for (const [index, participant] of direct.entries()) {
    const ms = await participant.waitForStatusSequence('go on talking', 'Connected', killedAt);
    reportMeasurement(`owner killed: page ${index + 1} has signaling again`, ms, SIGNALING_GOAL_MS);
  }
  await reportFrameGaps('owner killed: direct media', direct, baseline);
  assert.ok(!(await relayed.boxes()).includes(owner.address));
  await waitFor('relayed media in every call', async () => Math.min(...(await relayed.received())) > 0, 3 * RELAYED_GOAL_MS);
  await delay(1000);
  reportMeasurement('owner killed: relayed media, longest gap', Math.max(...(await relayed.gaps())), RELAYED_GOAL_MS);
  await relayed.leave();
});

harness.scenario('the owner stops for ten seconds: two owners for at most a second', async () => {
  await waitUntilBack();
  const room = 'stopped';
  const stays = await clients.join('stays', { room, host: owner.name, reconnects: false });
  await clients.join('moves', { room, host: owner.name });
  const stoppedAt = Date.now();
  owner.signal('SIGSTOP');
  const moved = await clients.waitForEvent('moves', 'joined', stoppedAt);
  reportMeasurement('owner stopped: seat joined again', moved.at - stoppedAt, REACHABLE_GOAL_MS);
  assert.ok(moved.fence > stays.fence, `fence ${moved.fence} after ${stays.fence}`);
  await delay(Math.max(0, STOPPED_MS - (Date.now() - stoppedAt)));

  owner.signal('SIGCONT');
  const wokenAt = Date.now();
  const told = clients.waitForEvent('stays', 'redirect', wokenAt, 3 * TWO_OWNERS_GOAL_MS);
  let servedAt = wokenAt;
  while (Date.now() < wokenAt + 2 * TWO_OWNERS_GOAL_MS) {
    const { answer } = await clients.ask(owner.name, { type: 'look', room }).catch(() => ({ answer: null }));
    if (answer?.type === 'room') servedAt = Date.now();
    await delay(ASK_EVERY_MS);
  }
  reportMeasurement('owner woken: two owners serve one room', servedAt - wokenAt, TWO_OWNERS_GOAL_MS);
  const redirect = await told;
  reportMeasurement('owner woken: its seat is sent to the new owner', redirect.at - wokenAt, TWO_OWNERS_GOAL_MS);
  assert.equal(new URL(redirect.url).hostname, harness.boxAt(moved.address).name);
  assert.equal((await clients.waitForEvent('stays', 'closed', wokenAt)).code, 4002);
});

harness.scenario('a box cut off from the store keeps its rooms; others do not take them while seats are there', async () => {
  await waitUntilBack();
  const relayed = await harness.relayCalls('b1', { prefix: 'cut', count: 2, host: owner.name });
  await relayed.expectMedia();
  await owner.cutOff('store');
  const cutAt = Date.now();
  try {
    await owner.waitForLog(/store/i);
    await delay(5000);
    assert.deepEqual((await relayed.eventsSince(cutAt)).flat(), [], 'no seat was touched');
    assert.ok(await owner.isHealthy());
    const { answer } = await clients.ask(owner.name, { type: 'join', room: 'cut-0' });
    assert.deepEqual([answer.type, answer.code], ['error', 'room-full'], 'the owner answers from memory');
  } finally {
    await owner.heal();
  }
  reportMeasurement('cut off from the store: relayed media, longest gap', Math.max(...(await relayed.gaps())), 500);
  for (const room of ['cut-0', 'cut-1']) {
    await waitFor(`one owner of ${room}`, async () => {
      const owners = await harness.ownersOf(room, clients);
      return owners.join() === owner.name || Promise.reject(new Error(owners.join()));
    });
  }
  await relayed.expectMedia();
  await relayed.leave();
});

harness.scenario('a box that only the store reaches gives its rooms up', async () => {
  await waitUntilBack();
  const keys = Array.from({ length: UNREACHABLE_ROOMS }, (_, index) => `unreachable-${index}`);
  for (const key of keys) await clients.join(key, { room: key, host: owner.name });
  // The first address of the common name stays that of the box. Browsers need a minute or more to try another one while packets to the
  // first are dropped.
  await harness.leadTo(owner);
  const pages = await harness.joinPair([['chromium', { host: 'a1' }], ['firefox', { host: 'a2' }]], harness.roomUrl());
  await harness.expectMedia(pages);
  const cutAt = Date.now();
  await owner.cutOff('clients');
  try {
    const moved = await Promise.all(keys.map((key) => clients.waitForEvent(key, 'joined', cutAt, 3 * REACHABLE_GOAL_MS)));
    reportSeats('cut off from clients: the room is reachable again', moved.map(({ at }) => at - cutAt), REACHABLE_GOAL_MS);
    assert.ok(moved.every(({ address }) => address !== owner.address));
    for (const [index, page] of pages.entries()) {
      reportMeasurement(`cut off from clients: page ${index + 1} has signaling again`, await page.waitForStatusSequence('go on talking', 'Connected', cutAt), REACHABLE_GOAL_MS);
    }
  } finally {
    await owner.heal();
  }
});
