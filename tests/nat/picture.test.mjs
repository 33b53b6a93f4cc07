// The picture of the first seconds of a call, beside that of a bare page with the same camera over the same path: pixels and
// freezes are printed with their goals. The first frames are saved in tests/.work/nat-picture.

import assert from 'node:assert/strict';
import path from 'node:path';
import { CAMERA_FPS, comparePictures, RECORD_PICTURE, writeCameraFile } from '../browser/lib/picture.mjs';
import { createNetworkHarness } from './network.mjs';

const harness = await createNetworkHarness('nat-picture');
const cameraVideo = await writeCameraFile(path.join(harness.dir, 'camera.y4m'), { fps: CAMERA_FPS });

harness.scenario('the picture is large within the first seconds', async () => {
  const pair = await harness.joinPair(['a1', 'a2'].map((host) => ['chromium', { host, cameraVideo, initScript: RECORD_PICTURE }]), harness.roomUrl());
  for (const { own, goal } of await comparePictures(harness, pair, 'open line, chromium')) {
    assert.ok(own.width * own.height >= Math.min(goal, 1280 * 720) / 3, `${own.width}×${own.height}`);
  }
});
