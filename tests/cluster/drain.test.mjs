// One of three boxes is stopped for maintenance (SIGTERM) while it serves calls: each moves to another box without a noticeable gap.

import assert from 'node:assert/strict';
import { measureBaselineGaps, reportFrameGaps, reportMeasurement } from '../browser/lib/measurements.mjs';
import { waitFor } from '../browser/lib/wait.mjs';
import { createClusterHarness, isByStore } from './lib/cluster.mjs';

const DRAIN_SECONDS = 20;
const RELAYED_CALLS = 20;
/** Of the five that the goal names, as many as two processors draw and encode; set CLUSTER_DRAIN_CALLS for more. */
const BROWSER_CALLS = Number(process.env.CLUSTER_DRAIN_CALLS ?? 2);
/** Few frames: otherwise two processors are busy with drawing alone, and boxes and store wait for each other. */
const CAMERA = { flags: ['--use-fake-device-for-media-stream=fps=5'] };
const GAP_GOAL_MS = 1000;

const harness = await createClusterHarness('cluster-drain', { flags: ['--drain-timeout', `${DRAIN_SECONDS}`] });
const { boxes } = harness.cluster;
const [drained] = boxes;

harness.scenario(`a box with ${BROWSER_CALLS} calls of browsers and ${RELAYED_CALLS} relayed ones of our client is drained`, async () => {
  await harness.leadTo(drained);
  const relayed = await harness.relayCalls('b1', { prefix: 'drained', count: RELAYED_CALLS, host: drained.name });
  const pages = [];
  for (let call = 0; call < BROWSER_CALLS; call += 1) {
    const pair = await harness.joinPair([['chromium', { ...CAMERA, host: 'a1' }], ['chromium', { ...CAMERA, host: call % 2 ? 'b1' : 'a2' }]], harness.roomUrl());
    await harness.expectMedia(pair);
    pages.push(...pair);
  }
  await relayed.expectMedia();
  await harness.leadTo();
  const baseline = await measureBaselineGaps(pages);
  await relayed.expectMedia();

  const startedAt = Date.now();
  const ended = drained.terminate();
  const times = await relayed.waitForSeats(startedAt, DRAIN_SECONDS * 1000 + 10_000);
  console.log(`drain: ${times.length} seats of relayed calls joined elsewhere after ${Math.min(...times)} to ${Math.max(...times)} ms`);
  await ended;
  console.log(`drain: the box ended after ${Date.now() - startedAt} ms`);
  await reportFrameGaps('drain: calls of browsers', pages, baseline.map((gap) => Math.max(gap, GAP_GOAL_MS / 2)));
  const gaps = await relayed.gaps();
  reportMeasurement('drain: relayed calls, longest gap', Math.max(...gaps), GAP_GOAL_MS);
  const connections = await Promise.all(pages.map((page) => page.evaluate('() => globalThis.__observed.connections.length')));
  console.log(`drain: connections that each page has made: ${connections.join(', ')} (1: the call went on over the same one)`);
  for (const page of pages) {
    assert.equal(await page.waitForState('connected'), 'connected');
    const hosts = await waitFor('TURN URLs of another box', async () => {
      const urls = (await page.evaluate('() => globalThis.__observed.connections.at(-1).getConfiguration().iceServers.flatMap((each) => each.urls)')).join();
      return urls.includes(drained.name) ? null : urls;
    });
    assert.match(hosts, /turn:b[23]\.box\.test/);
  }
  await relayed.expectMedia();
  assert.ok(!(await relayed.boxes()).includes(drained.address));
  await harness.expectMedia(pages);
  await relayed.leave();

  await drained.start();
  const clients = await harness.signalingClients('a2');
  await waitFor('a room on the box', async () => isByStore((await clients.ask(drained.name, { type: 'join', room: `again-${Date.now()}` })).answer, 'resp-join'));
}, 240_000);
