// The server's network interface goes down, or loses its addresses, and comes back. UDP, TCP and the page must answer
// again over both address families, and an existing allocation must still work; also with `listen` set to addresses.

import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { reportMeasurement } from '../browser/lib/measurements.mjs';
import { waitFor } from '../browser/lib/wait.mjs';
import { createNetworkHarness, runOn, spawnOn } from './network.mjs';

const V4 = '45.0.0.10';
const V6 = '2a05:d000::10';
const PROBES = ['udp', 'tcp', 'page'];
const OUTAGE_MS = 4000;
const CHANNEL = 0x4000;

const runOnServer = (script) => runOn('server', 'sh', '-ec', script);
/** Restores route and IPv6 addresses as a network manager does: an interface that comes up has none. */
const RESTORE = `ip address replace ${V4}/24 dev wan; ip address replace ${V6}/64 dev wan nodad;
  ip route replace default via 45.0.0.1; ip -6 route replace default via 2a05:d000::1`;

const FAULTS = {
  'its interface': { begin: 'ip link set wan down', end: `ip link set wan up; ${RESTORE}` },
  'its addresses': { begin: `ip address del ${V4}/24 dev wan; ip address del ${V6}/64 dev wan`, end: RESTORE },
};

const onAllAddresses = await createNetworkHarness('nat-interface-loss');
const onGivenAddresses = await createNetworkHarness('nat-interface-loss-listen', {
  flags: ['--listen', V4, '--listen', V6], ports: { https: 8443, turn: 3479, turns: 5350 }, authority: onAllAddresses.authority,
});

for (const [listening, harness, ports] of [
  ['on all addresses', onAllAddresses, { https: 443, turn: 3478 }],
  ['on given addresses', onGivenAddresses, { https: 8443, turn: 3479 }],
]) {
  for (const [lost, fault] of Object.entries(FAULTS)) {
    harness.scenario(`a server ${listening} loses ${lost} and recovers`, () => checkRecovery(harness, ports, lost, fault));
  }
}

async function checkRecovery(harness, ports, lost, { begin, end }) {
  const ca = harness.authority.ca;
  const probes = await Promise.all([['a1', V4], ['c1', V6]].map(([host, address]) => spawnOn(host, './reachability-probe.mjs', 'createReachabilityProbe', { address, name: 'box.test', ports, ca })));
  const clients = await createEchoPair(harness, ports.turn);
  const answered = () => Promise.all(probes.map((probe) => probe.answeredProbes()));
  const allAnswered = async () => (await answered()).every((names) => names.length === PROBES.length);
  try {
    await waitFor('all probes to be answered', allAnswered);
    assert.equal(await clients[0].countEchoes(CHANNEL, { count: 40, timeoutMs: 3000 }), 40, 'before');
    const logLength = (await harness.server.log()).length;

    await runOnServer(begin);
    try {
      assert.deepEqual(await answered(), [[], []], 'during the outage');
      assert.equal(await clients[0].countEchoes(CHANNEL, { count: 40, timeoutMs: 300 }), 0, 'during the outage');
      await delay(OUTAGE_MS);
    } finally {
      await runOnServer(end);
    }

    const restoredAt = performance.now();
    await waitFor('all probes to be answered', allAnswered);
    reportMeasurement(`${lost} restored, all probes answered`, performance.now() - restoredAt, 2000);
    assert.equal(await clients[0].countEchoes(CHANNEL, { count: 40, timeoutMs: 3000 }), 40, 'the existing allocation');
    for (const client of clients) await client.refresh();
    assert.ok((await harness.server.log()).length - logLength < 2000, 'too much in the log');
  } finally {
    for (const each of [...probes, ...clients]) await each.close();
  }
}

/** Two TURN clients with channels bound to each other; the second one echoes. */
async function createEchoPair(harness, port) {
  const credentials = await harness.server.credentials();
  const clients = await Promise.all(['a1', 'b1'].map((host) => spawnOn(host, './turn-client.mjs', 'createTurnClient', { address: V4, port }, credentials)));
  const relayed = await Promise.all(clients.map((client) => client.allocate()));
  await Promise.all(clients.map((client, index) => client.bindChannel(CHANNEL, relayed[1 - index])));
  await clients[1].echo();
  return clients;
}
