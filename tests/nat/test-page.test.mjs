// The connection test at home: what it finds of homes that let less through, and what it tells there.

import assert from 'node:assert/strict';
import { tested, told } from '../browser/lib/test-page.mjs';
import { setWorldStage } from './world.mjs';

const stage = await setWorldStage('nat-test-page');

const HOMES = {
  a1: { words: 'with IPv4 only', open: /^turn-\S+ \d+ (ipv4|any)$/, path: /^relay-udp$/, says: /IPv6 got no answer/ },
  b2: { words: 'without UDP', open: /^turn-(tcp \d+ ipv4|tls \d+ (ipv4|any))$/, path: /^relay-tcp$/, says: /calls go over TCP/ },
  b3: { words: 'with the web port only', open: /^turn-tls 443 (ipv4|any)$/, path: /^relay-tls$/, says: /calls go over the web port/ },
  c1: { words: 'with IPv6 only', open: /^turn-\S+ \d+ (ipv6|any)$/, path: /^relay-udp$/, says: /IPv4 got no answer/ },
};

for (const kind of ['chromium', 'firefox']) {
  stage.scene(`the connection test of ${kind} tells the truth of homes with IPv4 only, with IPv6 only, without UDP, and with the web port only`, async () => {
    // Two at a time: more would measure this machine.
    for (const homes of [['a1', 'b2'], ['b3', 'c1']]) await Promise.all(homes.map((home) => look(kind, home)));
  });
}

async function look(kind, home) {
  const { words, open, path, says } = HOMES[home];
  const seat = await stage.person(kind, { home });
  const shown = await tested(seat, stage.box);
  told(`${kind} in a home ${words}`, shown);
  const rows = Object.entries(shown.rows);
  assert.ok(rows.some(([, is]) => is === 'open'), home);
  for (const [probe, is] of rows) assert.equal(is, open.test(probe) ? 'open' : 'shut', `${home}: ${probe}\n${shown.report}`);
  assert.match(shown.figures.path, path, home);
  // On a busy machine the line may be poor besides; then the way is a note.
  assert.match([shown.sentence, ...shown.notes].join(' '), says, home);
  assert.match(shown.report, says, home);
  await seat.close();
}
