// The picture of the first seconds of a call, beside that of a bare page with the same camera over the same path: pixels and
// freezes are printed with their goals. The first frames are saved in tests/.work/nat-picture.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { connectBarePages, RECORD_PICTURE, sampleAt, writeCameraFile } from '../browser/lib/picture.mjs';
import { waitFor } from '../browser/lib/wait.mjs';
import { createNetworkHarness } from './network.mjs';

const harness = await createNetworkHarness('nat-picture');
/** Two encoders in software share the machine: at 30 frames a second they would measure the processor. */
const FPS = 20;
const MOMENTS_MS = [2000, 3000, 5000];
const MIN_PIXELS = 960 * 540;
const cameraVideo = await writeCameraFile(path.join(harness.dir, 'camera.y4m'), { fps: FPS });

/** What each participant receives in the first seconds; `name` of the saved frames. */
async function record(name, pair) {
  return Promise.all(pair.map(async (participant, index) => {
    const { samples, shots } = await waitFor('the first seconds', async () => {
      const picture = await participant.evaluate('() => __picture');
      return picture.samples.at(-1)?.at >= MOMENTS_MS.at(-1) + 200 && picture;
    });
    for (const [ms, shot] of Object.entries(shots)) await writeFile(path.join(harness.dir, `${name}-${index + 1}-${ms}.jpg`), Buffer.from(shot.split(',')[1], 'base64'));
    return samples;
  }));
}

harness.scenario('the picture is large within the first seconds', async () => {
  const pair = await harness.joinPair(['a1', 'a2'].map((host) => ['chromium', { host, cameraVideo, initScript: RECORD_PICTURE }]), harness.roomUrl());
  const ours = await record('page', pair);
  const { iceServers } = await pair[0].evaluate('() => webrtcBox.call.connection().getConfiguration()');
  for (const each of pair) await each.open(`${harness.server.origin}/no-such-page`);
  await connectBarePages(pair, iceServers);
  const bare = await record('bare', pair);
  for (const [index, samples] of ours.entries()) {
    for (const ms of MOMENTS_MS) {
      const [own, plain] = [sampleAt(samples, ms), sampleAt(bare[index], ms)];
      const goal = Math.max(2 * plain.width * plain.height, ms === 3000 ? MIN_PIXELS : 0);
      console.log(`measurement: picture at participant ${index + 1} after ${ms} ms: ${own.width}×${own.height}, `
        + `bare page ${plain.width}×${plain.height} (goal ${goal} pixels: ${own.width * own.height}); freezes ${own.freezes}, bare page ${plain.freezes}`);
      assert.ok(own.width * own.height >= Math.min(goal, 1280 * 720) / 3, `${own.width}×${own.height}`);
    }
  }
});
