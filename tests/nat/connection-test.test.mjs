// The connection test in LANs that block some transports or address families: it reports exactly what works there.

import assert from 'node:assert/strict';
import { printResults, runConnectionTest } from '../browser/lib/connection-test.mjs';
import { matrix } from '../browser/lib/harness.mjs';
import { createNetworkHarness } from './network.mjs';

const harness = await createNetworkHarness('nat-connection-test');

/** By host: the probes that must succeed, the path of the test call, and the sentence that the page must show. */
const EXPECTED = {
  a1: { network: 'with IPv4 only', open: /^turn-\S+ \d+ (ipv4|any)$/, path: /^relay-udp$/, sentence: /IPv6 got no answer/ },
  b2: { network: 'without UDP', open: /^turn-(tcp \d+ ipv4|tls \d+ (ipv4|any))$/, path: /^relay-tcp$/, sentence: /calls go over TCP/ },
  b3: { network: 'with port 443 only', open: /^turn-tls 443 (ipv4|any)$/, path: /^relay-tls$/, sentence: /calls go over the web port/ },
  c1: { network: 'with IPv6 only', open: /^turn-\S+ \d+ (ipv6|any)$/, path: /^relay-udp$/, sentence: /IPv4 got no answer/ },
};

for (const kind of matrix(['chromium'], ['firefox'])) {
  harness.scenario(`the connection test of ${kind} is right in four restricted LANs`, async () => {
    // Two at a time: more would overload this machine and distort the measured call.
    for (const hosts of [['a1', 'b2'], ['b3', 'c1']]) await Promise.all(hosts.map((host) => checkResults(kind, host)));
  });
}

async function checkResults(kind, host) {
  const { network, open, path, sentence } = EXPECTED[host];
  const participant = await harness.participant(kind, { host });
  const results = await runConnectionTest(participant, harness.server);
  printResults(`${kind} in a LAN ${network}`, results);
  const rows = Object.entries(results.rows);
  assert.ok(rows.some(([, result]) => result === 'open'), host);
  for (const [probe, result] of rows) assert.equal(result, open.test(probe) ? 'open' : 'shut', `${host}: ${probe}\n${results.report}`);
  assert.match(results.figures.path, path, host);
  // On a busy machine the call may be poor as well; then the sentence is among the notes.
  assert.match([results.sentence, ...results.notes].join(' '), sentence, host);
  assert.match(results.report, sentence, host);
  await participant.close();
}
