// Two people on one machine see and hear each other, in every pairing of browsers, directly and through
// the relay; and the page tells the truth about the way.

import assert from 'node:assert/strict';
import path from 'node:path';
import { setStage } from './lib/stage.mjs';
import { until } from './lib/work.mjs';

const stage = await setStage('call');

// The first of all calls, so that the line can be no other's.
stage.scene('of a call that has ended the box says in one line which way it went and how long it took to connect', async () => {
  const [one, other] = await stage.pair(['chromium', 'chromium'], stage.room('?relay=1'));
  await Promise.all([one, other].map((seat) => seat.hearsAndSees()));
  await one.settles('relay-udp');
  await one.leave();
  const line = await until('the line', async () => (await stage.box.log()).split('\n').find((each) => each.includes('call ended')));
  assert.match(line, / path="relay-\w+" bytes=\d+ /);
  const setup = Number(/ setup_ms=(\d+)/.exec(line)[1]);
  assert.ok(setup > 0 && setup < 30_000, line);
  assert.doesNotMatch(line, /room-|127\.0/);
});

for (const kinds of [['chromium', 'chromium'], ['firefox', 'chromium'], ['chromium', 'firefox'], ['firefox', 'firefox']]) {
  stage.scene(`${kinds.join(' and ')} see and hear each other directly`, async () => {
    const two = await stage.pair(kinds, stage.room());
    for (const seat of two) {
      const { local, remote } = await seat.hearsAndSees();
      assert.notEqual(local.type, 'relay');
      assert.notEqual(remote.type, 'relay');
      await seat.settles('direct');
    }
    await two[0].screenshot(path.join(stage.dir, `${kinds.join('-')}.png`));
  });

  stage.scene(`${kinds.join(' and ')} see and hear each other through the relay when asked to`, async () => {
    const two = await stage.pair(kinds, stage.room('?relay=1'));
    for (const seat of two) {
      const { local, remote } = await seat.hearsAndSees();
      assert.equal(local.type, 'relay');
      // A relayed address heard from before it was told of goes by the name of peer reflexive.
      assert.match(remote.type, /^(relay|prflx)$/);
      await (kinds.includes('firefox') ? seat.settlesOnItsRelay() : seat.settles('relay-udp'));
    }
  });
}
