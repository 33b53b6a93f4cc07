// The store stops, and comes back with its data: no call notices, people join on the owner as fast as before, and new rooms open.
// CLUSTER_OUTAGE_SECONDS: how long it stays away, 600 for the long test.

import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { measureBaselineGaps, reportFrameGaps, reportMeasurement } from '../browser/lib/measurements.mjs';
import { waitFor } from '../browser/lib/wait.mjs';
import { createClusterHarness, isByStore } from './lib/cluster.mjs';
import { percentile, reportRatio } from './lib/figures.mjs';

const OUTAGE_MS = Number(process.env.CLUSTER_OUTAGE_SECONDS ?? 20) * 1000;
const RELAYED_CALLS = 10;
const JOINS = 60;
const BACK_GOAL_MS = 5000;
const NEW_ROOM_GOAL_MS = 1000;
/** The store lost and back, and rooms that two boxes opened. */
const MAX_LINES = 5;

const harness = await createClusterHarness('cluster-store-outage');
const { boxes, store } = harness.cluster;
const [owner, ...others] = boxes;
const clients = await harness.signalingClients('a2');

harness.scenario(`the store is away for ${OUTAGE_MS / 1000} s`, async () => {
  const relayed = await harness.relayCalls('b1', { prefix: 'running', count: RELAYED_CALLS, host: owner.name });
  const pages = await harness.joinPair([['chromium', { host: 'a1' }], ['firefox', { host: 'b1' }]], harness.roomUrl());
  await harness.expectMedia(pages);
  for (let index = 0; index < JOINS; index += 1) await clients.join(`holder-${index}`, { room: `held-${index}`, host: owner.name });
  await relayed.expectMedia();
  const joinsBefore = await clients.joinTimes(owner.name, 'held', JOINS);
  const baseline = await measureBaselineGaps(pages);
  await relayed.expectMedia();
  const texts = '() => globalThis.__observed.statusTexts.length';
  const statusChanges = await Promise.all(pages.map((page) => page.evaluate(texts)));

  const logsBefore = await Promise.all(boxes.map((box) => box.log()));
  const stoppedAt = Date.now();
  await store.stop();
  // The first request of each box after the stop waits for the time-out.
  for (const box of boxes) await askForNewRoom(box, 3 * NEW_ROOM_GOAL_MS);
  const joinsDuring = await clients.joinTimes(owner.name, 'held', JOINS);
  const newRooms = [];
  for (const box of boxes) newRooms.push(await askForNewRoom(box, NEW_ROOM_GOAL_MS));
  assert.ok(newRooms.every(({ answer }) => ['resp-join', 'redirect'].includes(answer.type)), JSON.stringify(newRooms));
  await delay(Math.max(0, OUTAGE_MS - (Date.now() - stoppedAt)));
  assert.deepEqual(await Promise.all(boxes.map((box) => box.isHealthy())), [true, true, true], '/healthz does not depend on the store');

  const backAt = Date.now();
  await store.start();
  await waitFor('a join on another box to lead to the owner', async () => isByStore((await clients.ask(others[0].name, { type: 'join', room: 'held-0' })).answer, 'redirect'));
  reportMeasurement('store back: joins lead to the owners again', Date.now() - backAt, BACK_GOAL_MS);

  assert.deepEqual((await relayed.eventsSince(stoppedAt)).flat(), [], 'no running call was touched');
  assert.deepEqual(await Promise.all(pages.map((page) => page.evaluate(texts))), statusChanges, 'pages did not notice');
  reportMeasurement('store away: relayed media, longest gap', Math.max(...(await relayed.gaps())), 500);
  await reportFrameGaps('store away: pages', pages, baseline);
  reportRatio('store away: join on the owner, median', percentile(joinsDuring, 0.5), percentile(joinsBefore, 0.5), 1);
  reportRatio('store away: join on the owner, p95', percentile(joinsDuring, 0.95), percentile(joinsBefore, 0.95), 1);
  await expectOneLineAtEachChange(logsBefore);
  await relayed.leave();
}, 120_000 + OUTAGE_MS);

let rooms = 0;
async function askForNewRoom(box, limitMs) {
  const asked = await clients.ask(box.name, { type: 'join', room: `new-${(rooms += 1)}` });
  assert.ok(asked.ms <= limitMs, `a new room on ${box.name} took ${Math.round(asked.ms)} ms`);
  return asked;
}

/**
 * Each box says once that the store is away, and once that it is back. On a busy machine the store may be too slow before or after.
 * @param {string[]} logsBefore of the boxes, when the store stopped
 */
async function expectOneLineAtEachChange(logsBefore) {
  for (const [index, box] of boxes.entries()) {
    const linesSince = async () => (await box.log()).slice(logsBefore[index].length).split('\n').filter((line) => /cluster::/.test(line));
    const back = (lines) => lines.findIndex((line) => /the store answers again/.test(line));
    await waitFor(`${box.name} to log that the store is back`, async () => back(await linesSince()) >= 0);
    const lines = await linesSince();
    console.log(`${box.name}:\n  ${lines.join('\n  ')}`);
    assert.equal(lines.slice(0, back(lines)).filter((line) => /the store cannot be used/.test(line)).length, 1);
    assert.ok(lines.length <= MAX_LINES, `${lines.length} lines`);
    assert.ok(!lines.some((line) => /lease/.test(line)), 'what follows from the outage has no line of its own');
    assert.ok(!lines.some((line) => line.includes(store.password)), 'no password in the log');
  }
}
