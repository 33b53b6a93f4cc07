// Measures the time from the second participant's click on join to the first decoded remote frame, on one machine, with the
// relay forced.

import { createHarness, matrix } from './lib/harness.mjs';
import { measureJoinTime } from './lib/measurements.mjs';

const harness = await createHarness('join-time');

for (const kinds of matrix([['chromium', 'chromium']], [['chromium', 'firefox'], ['firefox', 'chromium']])) {
  harness.scenario(`the first remote frame arrives soon after joining (${kinds.join(' and ')})`, async () => {
    const pair = await Promise.all(kinds.map((kind) => harness.participant(kind)));
    await measureJoinTime(`${kinds.join(' and ')}, relay forced`, pair, harness.roomUrl('?relay=1'));
  });
}
