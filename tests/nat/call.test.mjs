// Calls between two LANs behind symmetric NATs use the relay, in every pairing of browsers and in LANs that block UDP, all
// ports but 443, or have no IPv4; calls within a LAN are direct. The page displays the path.

import assert from 'node:assert/strict';
import { matrix } from '../browser/lib/harness.mjs';
import { createNetworkHarness } from './network.mjs';

const harness = await createNetworkHarness('nat-call');

for (const kinds of matrix([['chromium', 'chromium'], ['firefox', 'chromium']], [['chromium', 'firefox'], ['firefox', 'firefox']])) {
  harness.scenario(`${kinds.join(' and ')} in two LANs use the relay`, async () => {
    const pair = await harness.joinPair([[kinds[0], { host: 'a1' }], [kinds[1], { host: 'b1' }]], harness.roomUrl());
    for (const participant of pair) {
      const { local, remote } = await participant.expectMedia();
      assert.ok(local.type === 'relay' || remote.type === 'relay', 'the candidate pair is relayed');
      await (kinds.includes('firefox') ? participant.waitForRelayPath() : participant.waitForPath('relay-udp'));
    }
  });
}

for (const kinds of matrix([['chromium', 'chromium']], [['firefox', 'firefox']])) {
  harness.scenario(`${kinds.join(' and ')} in one LAN use a direct path`, async () => {
    const pair = await harness.joinPair([[kinds[0], { host: 'a1' }], [kinds[1], { host: 'a2' }]], harness.roomUrl());
    for (const participant of pair) {
      const { local, remote } = await participant.expectMedia();
      assert.notEqual(local.type, 'relay');
      assert.notEqual(remote.type, 'relay');
      await participant.waitForPath('direct');
    }
  });
}

for (const [host, network, path] of [
  ['b2', 'without UDP', /^relay-(tcp|tls)$/],
  ['b3', 'with port 443 only', /^relay-tls$/],
  // UDP works here too, but Firefox uses the candidate pair that answers first.
  ['c1', 'without IPv4', /^relay-(udp|tcp|tls)$/],
]) {
  for (const kind of matrix(['firefox'], ['chromium'])) {
    harness.scenario(`${kind} in a LAN ${network} calls an unrestricted LAN`, async () => {
      const pair = await harness.joinPair([['chromium', { host: 'a1' }], [kind, { host }]], harness.roomUrl());
      for (const participant of pair) await participant.expectMedia(60_000);
      const { local } = await pair[1].stats();
      assert.equal(local.type, 'relay');
      assert.match(await pair[1].displayedPath(), path);
    });
  }
}
