// The network goes away under the box and comes back: its interface is down for a while, or its addresses are
// taken from it and given back. UDP, TCP and the page answer again, of both families, and an allocation from
// before carries on. The same where the box listens on named addresses.

import assert from 'node:assert/strict';
import { setTimeout as after } from 'node:timers/promises';
import { figure } from '../browser/lib/figures.mjs';
import { until } from '../browser/lib/work.mjs';
import { runOn, settle, setWorldStage } from './world.mjs';

const V4 = '45.0.0.10';
const V6 = '2a05:d000::10';
const ALL = ['udp', 'tcp', 'page'];
const AWAY = 4000;
const CHANNEL = 0x4000;

const onBox = (script) => runOn('box', 'sh', '-ec', script);
/** What a network manager puts back: without it an interface has no route, and no IPv6 address. */
const RESTORE = `ip address replace ${V4}/24 dev wan; ip address replace ${V6}/64 dev wan nodad;
  ip route replace default via 45.0.0.1; ip -6 route replace default via 2a05:d000::1`;

const FAULTS = {
  'its interface': { go: 'ip link set wan down', come: `ip link set wan up; ${RESTORE}` },
  'its addresses': { go: `ip address del ${V4}/24 dev wan; ip address del ${V6}/64 dev wan`, come: RESTORE },
};

const everywhere = await setWorldStage('nat-link');
const named = await setWorldStage('nat-link-named', ['--listen', V4, '--listen', V6], { https: 8443, turn: 3479, turns: 5350 }, everywhere.authority);

for (const [words, stage, ports] of [
  ['on every address', everywhere, { https: 443, turn: 3478 }],
  ['on named addresses', named, { https: 8443, turn: 3479 }],
]) {
  for (const [what, fault] of Object.entries(FAULTS)) {
    stage.scene(`a box that listens ${words} loses ${what} and gets them back`, () => scene(stage, ports, what, fault));
  }
}

async function scene(stage, ports, what, { go, come }) {
  const ca = stage.authority.ca;
  const visitors = await Promise.all([['a1', V4], ['c1', V6]].map(([host, address]) => settle(host, './visitor.mjs', 'makeVisitor', { address, name: 'box.test', ports, ca })));
  const two = await pair(stage, ports.turn);
  const answered = () => Promise.all(visitors.map((visitor) => visitor.answered()));
  const allAnswer = async () => (await answered()).every((ways) => ways.length === ALL.length);
  try {
    await until('every way to answer', allAnswer);
    assert.equal(await two[0].round(CHANNEL, { count: 40, patience: 3000 }), 40, 'before');
    const logged = (await stage.box.log()).length;

    await onBox(go);
    try {
      assert.deepEqual(await answered(), [[], []], 'while it is away');
      assert.equal(await two[0].round(CHANNEL, { count: 40, patience: 300 }), 0, 'while it is away');
      await after(AWAY);
    } finally {
      await onBox(come);
    }

    const began = performance.now();
    await until('every way to answer', allAnswer);
    figure(`${what} back, every way answers`, performance.now() - began, 2000);
    assert.equal(await two[0].round(CHANNEL, { count: 40, patience: 3000 }), 40, 'the allocation from before');
    for (const client of two) await client.refresh();
    assert.ok((await stage.box.log()).length - logged < 2000, 'it writes too much about it');
  } finally {
    for (const one of [...visitors, ...two]) await one.close();
  }
}

/** Two clients in one room of the relay, of whom the second sends back what the first sends. */
async function pair(stage, port) {
  const credentials = await stage.box.credentials();
  const two = await Promise.all(['a1', 'b1'].map((host) => settle(host, './turn.mjs', 'makeTurnClient', { address: V4, port }, credentials)));
  const relayed = await Promise.all(two.map((client) => client.allocate()));
  await Promise.all(two.map((client, which) => client.bind(CHANNEL, relayed[1 - which])));
  await two[1].echo();
  return two;
}
