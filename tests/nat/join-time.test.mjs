// Measures the time from the second participant's click on join to the first decoded remote frame, between two LANs and
// within one. (On one machine: tests/browser/join-time.test.mjs.)

import { JOIN_TIME_CAMERA, measureJoinTime } from '../browser/lib/measurements.mjs';
import { createNetworkHarness } from './network.mjs';

const harness = await createNetworkHarness('nat-join-time');

for (const [network, kinds, host, selectedPath] of [
  ['through the relay', ['chromium', 'chromium'], 'b1', 'relay-udp'],
  ['through the relay', ['chromium', 'firefox'], 'b1'],
  ['directly', ['chromium', 'chromium'], 'a2', 'direct'],
]) {
  harness.scenario(`the first remote frame arrives soon, ${network} (${kinds.join(' and ')})`, async () => {
    const pair = await Promise.all(kinds.map((kind, index) => harness.participant(kind, { host: ['a1', host][index], ...JOIN_TIME_CAMERA })));
    await measureJoinTime(`${kinds.join(' and ')}, ${network}`, pair, harness.roomUrl(), selectedPath);
  });
}
