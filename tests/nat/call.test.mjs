// Two people in two homes, each behind a translator of its own that gives a new port for every destination,
// see and hear each other through the relay, in every pairing of browsers; in one home they talk directly.

import assert from 'node:assert/strict';
import { setWorldStage } from './world.mjs';

const stage = await setWorldStage('nat-call');

for (const kinds of [['chromium', 'chromium'], ['firefox', 'chromium'], ['chromium', 'firefox'], ['firefox', 'firefox']]) {
  stage.scene(`${kinds.join(' and ')} in two homes talk through the relay`, async () => {
    const two = await stage.pair([[kinds[0], { home: 'a1' }], [kinds[1], { home: 'b1' }]], stage.room());
    for (const seat of two) {
      const { local, remote } = await seat.hearsAndSees();
      assert.ok(local.type === 'relay' || remote.type === 'relay', 'the pair goes through the relay');
      await (kinds.includes('firefox') ? seat.settlesOnItsRelay() : seat.settles('relay-udp'));
    }
  });
}

for (const kinds of [['chromium', 'chromium'], ['firefox', 'firefox']]) {
  stage.scene(`${kinds.join(' and ')} in one home talk directly`, async () => {
    const two = await stage.pair([[kinds[0], { home: 'a1' }], [kinds[1], { home: 'a2' }]], stage.room());
    for (const seat of two) {
      const { local, remote } = await seat.hearsAndSees();
      assert.notEqual(local.type, 'relay');
      assert.notEqual(remote.type, 'relay');
      await seat.settles('direct');
    }
  });
}
