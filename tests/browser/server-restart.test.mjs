// The server is killed and restarted on the same state folder: both participants rejoin without user action, and a direct
// call is not interrupted.

import assert from 'node:assert/strict';
import { createHarness, ENDED_STATES } from './lib/harness.mjs';
import { measureBaselineGaps, reportFrameGaps, reportMeasurement, waitForNewFrames } from './lib/measurements.mjs';
import { delay } from './lib/wait.mjs';

const harness = await createHarness('server-restart');

harness.scenario('a direct call continues without the server; leaving works afterwards', async () => {
  const [first, second] = await harness.joinPair(['chromium', 'firefox'], harness.roomUrl());
  await harness.expectMedia([first, second]);
  const baseline = await measureBaselineGaps([first, second]);
  const crashedAt = Date.now();
  await harness.server.crash();
  const [before, after] = [await first.stats(), await first.expectMedia()];
  assert.equal(after.connection, 'connected');
  assert.ok(after.frames > before.frames, 'video continues without the server');
  await harness.server.start();
  await Promise.all([first, second].map((participant) => participant.waitForStatusSequence('go on talking', 'Connected', crashedAt)));
  await reportFrameGaps('server killed, direct call', [first, second], baseline);
  await harness.expectMedia([first, second]);
  await second.leave();
  await first.waitForState(ENDED_STATES, 60_000);
});

harness.scenario('a relayed call recovers after a restart of the server', async () => {
  const pair = await harness.joinPair(['chromium', 'firefox'], harness.roomUrl('?relay=1'));
  await harness.expectMedia(pair);
  const crashedAt = performance.now();
  await harness.server.crash();
  // The outage lasts about a second, which the measurement below covers.
  await delay(1000);
  await harness.server.start();
  await Promise.all(pair.map((participant) => waitForNewFrames(participant)));
  reportMeasurement('server away for a second, relayed call: both recovered', performance.now() - crashedAt, 8000);
  await harness.expectMedia(pair);
});
