// Two participants on one machine see and hear each other, in every pairing of browsers, directly and through the relay, and
// the page displays the media path.

import assert from 'node:assert/strict';
import path from 'node:path';
import { createHarness } from './lib/harness.mjs';
import { waitFor } from './lib/wait.mjs';

const harness = await createHarness('call');

// This call is the first one, so the log line found is its own.
harness.scenario('an ended call is logged in one line with its path and setup time', async () => {
  const [first, second] = await harness.joinPair(['chromium', 'chromium'], harness.roomUrl('?relay=1'));
  await harness.expectMedia([first, second]);
  await first.waitForPath('relay-udp');
  await first.leave();
  const line = await waitFor('the log line', async () => (await harness.server.log()).split('\n').find((each) => each.includes('call ended')));
  assert.match(line, / path="relay-\w+" bytes=\d+ /);
  const setupMs = Number(/ setup_ms=(\d+)/.exec(line)[1]);
  assert.ok(setupMs > 0 && setupMs < 30_000, line);
  assert.doesNotMatch(line, /room-|127\.0/);
});

for (const kinds of [['chromium', 'chromium'], ['firefox', 'chromium'], ['chromium', 'firefox'], ['firefox', 'firefox']]) {
  harness.scenario(`${kinds.join(' and ')} see and hear each other directly`, async () => {
    const pair = await harness.joinPair(kinds, harness.roomUrl());
    for (const participant of pair) {
      const { local, remote } = await participant.expectMedia();
      assert.notEqual(local.type, 'relay');
      assert.notEqual(remote.type, 'relay');
      await participant.waitForPath('direct');
    }
    await pair[0].screenshot(path.join(harness.dir, `${kinds.join('-')}.png`));
  });

  harness.scenario(`${kinds.join(' and ')} see and hear each other with ?relay=1`, async () => {
    const pair = await harness.joinPair(kinds, harness.roomUrl('?relay=1'));
    for (const participant of pair) {
      const { local, remote } = await participant.expectMedia();
      assert.equal(local.type, 'relay');
      // A packet that arrives before its candidate makes the relayed address a peer-reflexive candidate.
      assert.match(remote.type, /^(relay|prflx)$/);
      await (kinds.includes('firefox') ? participant.waitForRelayPath() : participant.waitForPath('relay-udp'));
    }
  });
}
