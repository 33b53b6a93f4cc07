// An unauthenticated client floods the server while a call is relayed: the call must not lose more than one packet in a
// hundred. The rate of the flood depends on the machine; the kernel's UDP counters are printed.

import assert from 'node:assert/strict';
import { createNetworkHarness, runOn, spawnOn } from './network.mjs';

const harness = await createNetworkHarness('nat-udp-flood');

const SERVER = { address: '45.0.0.10', port: 3478 };
/** A call with audio and video: packets a second in each direction. */
const CALL_RATE = 300;
const FLOOD_RATE = 50_000;
const CALL_MS = 12_000;
/** Other programs may take the processor from the server for a moment: one more attempt. */
const MAX_ATTEMPTS = 2;

harness.scenario('a call loses under 1 % during a flood of 50,000 packets a second', async (context) => {
  const flood = await spawnOn('pub', './udp-flood.mjs', 'createUdpFlood', SERVER);
  const call = await spawnOn('a1', './turn-call.mjs', 'createTurnCall', SERVER, await harness.server.credentials());
  try {
    let loss = 1;
    for (let attempt = 0; attempt < MAX_ATTEMPTS && loss >= 0.01; attempt += 1) {
      loss = await lossDuringFlood(flood, call, context);
    }
    assert.ok(loss < 0.01, `${(100 * loss).toFixed(2)} % lost`);
  } finally {
    await flood.close();
    await call.close();
  }
});

/** The share of the call's packets that are lost during the flood. */
async function lossDuringFlood(flood, call, context) {
  const before = await udpCounters();
  // A second longer than the call, whose last packets count too.
  const flooding = flood.run(FLOOD_RATE, CALL_MS + 1000);
  const { sent, lost } = await call.run(CALL_RATE, CALL_MS);
  const rate = await flooding;
  const after = await udpCounters();
  const increases = Object.entries(after).map(([name, count]) => `${name} +${count - before[name]}`);
  context.diagnostic(`flood ${rate}/s; call ${lost} of ${sent} lost; on the server ${increases.join(', ')}`);
  assert.ok(rate > FLOOD_RATE / 2, `this machine sends only ${rate} packets/s`);
  return lost / sent;
}

/** The kernel's UDP counters on the server's host. */
async function udpCounters() {
  const names = ['UdpInDatagrams', 'UdpRcvbufErrors', 'UdpNoPorts', 'UdpOutDatagrams'];
  const { stdout } = await runOn('server', 'nstat', '-asz', ...names);
  return Object.fromEntries(names.map((name) => [name, Number(new RegExp(`${name} +(\\d+)`).exec(stdout)[1])]));
}
