// Measures the picture of the first seconds of a call in both browsers, on an open line and on a slow one, next to a bare page
// over the same path. The first frames are saved. (How to run it, and what it measures: README.md.)

import path from 'node:path';
import { CAMERA_FPS, comparePictures, RECORD_PICTURE, writeCameraFile } from '../../tests/browser/lib/picture.mjs';
import { createLinkEmulator } from '../../tests/nat/link-emulator.mjs';
import { createNetworkHarness } from '../../tests/nat/network.mjs';

const harness = await createNetworkHarness('page-picture');
const cameraVideo = await writeCameraFile(path.join(harness.dir, 'camera.y4m'), { fps: CAMERA_FPS });
const LINES = {
  'open line': { hosts: ['a1', 'a2'] },
  '10 Mbit/s, 40 ms': { hosts: ['a1', 'b1'], link: { rate: 10_000_000, delay: 0.02 } },
};

for (const kinds of [['chromium', 'chromium'], ['firefox', 'firefox'], ['chromium', 'firefox']]) {
  for (const [line, { hosts, link }] of Object.entries(LINES)) {
    const name = `${line}, ${[...new Set(kinds)].join(' and ')}`;
    harness.scenario(`picture: ${name}`, async () => {
      const emulator = link && await createLinkEmulator();
      try {
        await emulator?.limit(link);
        // Firefox has its own test pattern: it takes no file as a camera.
        const options = (kind, host) => ({ host, initScript: RECORD_PICTURE, ...(kind === 'chromium' && { cameraVideo }) });
        const pair = await harness.joinPair(kinds.map((kind, index) => [kind, options(kind, hosts[index])]), harness.roomUrl());
        await comparePictures(harness, pair, name);
      } finally {
        await emulator?.close();
      }
    });
  }
}
