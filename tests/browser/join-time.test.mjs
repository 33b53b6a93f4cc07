// Measures the time from the second participant's click on join to the first decoded remote frame, on one machine, directly
// and with the relay forced.

import { createHarness, LOOPBACK_ICE, matrix } from './lib/harness.mjs';
import { JOIN_TIME_CAMERA, measureJoinTime } from './lib/measurements.mjs';

const harness = await createHarness('join-time', {
  defaults: { ...JOIN_TIME_CAMERA, prefs: { ...JOIN_TIME_CAMERA.prefs, ...LOOPBACK_ICE } },
});

for (const kinds of matrix([['chromium', 'chromium'], ['firefox', 'chromium']], [['chromium', 'firefox'], ['firefox', 'firefox']])) {
  for (const [path, query] of [['directly', ''], ['relay forced', '?relay=1']]) {
    harness.scenario(`the first remote frame arrives soon after joining (${kinds.join(' and ')}, ${path})`, async () => {
      const pair = await Promise.all(kinds.map((kind) => harness.participant(kind)));
      await measureJoinTime(`${kinds.join(' and ')}, ${path}`, pair, harness.roomUrl(query));
    });
  }
}
