// A Sentinel fail-over that loses the last second of writes: the boxes follow to the new primary, and each room has one owner soon after.

import assert from 'node:assert/strict';
import { reportMeasurement } from '../browser/lib/measurements.mjs';
import { waitFor } from '../browser/lib/wait.mjs';
import { createClusterHarness } from './lib/cluster.mjs';

const ONE_OWNER_GOAL_MS = 5000;

const harness = await createClusterHarness('cluster-sentinel', { sentinels: true });
const { boxes, store } = harness.cluster;
const clients = await harness.signalingClients('a2');

harness.scenario('a fail-over loses the last second: one owner of each room remains', async () => {
  const relayed = await harness.relayCalls('b1', { prefix: 'running', count: 3, host: boxes[0].name });
  await clients.join('early', { room: 'early', host: boxes[0].name });
  await relayed.expectMedia();

  await store.stopReplication();
  // What the store forgets: rooms of each box, and the fences that they got.
  const rooms = ['early'];
  for (const box of boxes) {
    for (let index = 0; index < 3; index += 1) {
      const room = `lost-${box.host}-${index}`;
      await clients.join(room, { room, host: box.name });
      rooms.push(room);
    }
  }
  const stoppedAt = Date.now();
  await store.primary.stop();
  // Until the new primary is there, other boxes open rooms of the same names where the hash of the name chooses them.
  await harness.cluster.boxes[0].waitForLog(/the store cannot be used/);
  let doubled = 0;
  for (const room of rooms) {
    for (const box of boxes) {
      const { answer } = await clients.ask(box.name, { type: 'join', room });
      if (answer?.type !== 'resp-join' || answer.peer !== null) continue;
      doubled += 1;
      await clients.join(`meets-${room}`, { room, host: box.name });
    }
  }
  await store.waitForFailover();
  const backAt = Date.now();
  console.log(`the fail-over took ${backAt - stoppedAt} ms; ${doubled} of ${rooms.length} rooms had two owners`);
  assert.ok(doubled > 0, 'a conflict to resolve');

  await waitFor('one owner of each room', async () => {
    for (const room of rooms) {
      const owners = await harness.ownersOf(room, clients);
      if (owners.length !== 1) throw new Error(`${room}: ${owners.join() || 'no owner'}`);
    }
    return true;
  }, 4 * ONE_OWNER_GOAL_MS);
  reportMeasurement('fail-over: one owner of each room after the new primary is there', Date.now() - backAt, ONE_OWNER_GOAL_MS);
  assert.deepEqual((await relayed.eventsSince(stoppedAt)).flat(), [], 'running calls are untouched');
  reportMeasurement('fail-over: relayed media, longest gap', Math.max(...(await relayed.gaps())), 500);

  const seats = async (key) => (await clients.events(key)).findLast(({ event }) => event === 'joined');
  const highest = Math.max(...(await Promise.all(rooms.map(seats))).map(({ fence }) => fence));
  for (const box of boxes) await box.waitForLog(/the store answers again/);
  const fresh = await clients.join('fresh', { room: 'fresh', host: boxes[1].name });
  assert.ok(fresh.fence > highest, `the next fence, ${fresh.fence}, is above ${highest}`);
  await relayed.leave();
});
