// `relay-scope = public`: peers on public addresses are reachable through the relay, private addresses are refused, and
// calls still work.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after } from 'node:test';
import { waitFor } from '../browser/lib/wait.mjs';
import { expectLosslessExchange, expectLosslessExchangeOnAllTransports, runUclient, supportsAdditionalAddressFamily } from './coturn-client.mjs';
import { createNetworkHarness, on, runOn, spawnOn } from './network.mjs';

const SERVER = '45.0.0.10';
const harness = await createNetworkHarness('nat-public-relay', { flags: ['--relay-scope', 'public'] });

// coturn's echo peer, on the host that stands for the rest of the internet.
const [program, ...args] = [...on('pub'), 'turnutils_peer', '-L', '45.0.0.1', '-L', '2a05:d000::1', '-p', '3480'];
const peer = spawn(program, args, { stdio: 'ignore' });
after(() => peer.kill());

for (const [method, flags] of [['on channels', []], ['with Send indications', ['-s']]]) {
  harness.scenario(`a public peer's echo arrives without loss ${method}`, async () => {
    await expectLosslessExchange('a1', SERVER, harness.server.credentials, '-p', '3478', '-e', '45.0.0.1', '-r', '3480', ...flags);
  });
}

for (const [family, address, familyFlag] of [['IPv4', '45.0.0.1', '-X'], ['IPv6', '2a05:d000::1', '-x']]) {
  harness.scenario(`a public ${family} peer's echo reaches clients over UDP, TCP and TLS`, async () => {
    await expectLosslessExchangeOnAllTransports('a1', SERVER, harness.server.credentials, harness.authority.ca, '-e', address, familyFlag);
  });

  harness.scenario(`the ${family} half of a dual allocation reaches a public peer`, async (context) => {
    if (!(await supportsAdditionalAddressFamily('a1', SERVER, await harness.server.credentials()))) {
      return context.skip('this turnutils_uclient sends the attribute of a draft');
    }
    await expectLosslessExchangeOnAllTransports('a1', SERVER, harness.server.credentials, harness.authority.ca, '-e', address, '-Z');
  });
}

harness.scenario('public peers of both families echo on one dual allocation', async () => {
  const client = await spawnOn('a1', './turn-client.mjs', 'createTurnClient', { address: SERVER, port: 3478 }, await harness.server.credentials());
  try {
    await client.allocateBoth();
    await client.bindChannel(0x4004, { address: '45.0.0.1', port: 3480 });
    await client.bindChannel(0x4006, { address: '2a05:d000::1', port: 3480 });
    const echoes = [0x4004, 0x4006].map((channel) => client.countEchoes(channel, { count: 40, timeoutMs: 3000 }));
    assert.deepEqual(await Promise.all(echoes), [40, 40]);
  } finally {
    await client.close();
  }
});

for (const [name, address, flags, reason] of [
  ['a private address behind the relay', '10.2.0.2', [], /channel bind: error 403/],
  ['a permission for a private address', '10.2.0.2', ['-s'], /create permission error 403/],
  ['a private IPv6 address', 'fd00:c::2', [], /channel bind: error 403/],
  ['the relay\'s own address', SERVER, ['-r', '443'], /channel bind: error 403/],
  ['the relay\'s own loopback', '127.0.0.1', [], /channel bind: error 403/],
]) {
  harness.scenario(`${name} is refused`, async () => {
    const { code, output } = await runUclient('a1', SERVER, await harness.server.credentials(), '-p', '3478', '-e', address, ...flags);
    assert.equal(code, 255, output);
    assert.match(output, reason);
    assert.doesNotMatch(output, /tot_recv_msgs=[1-9]/);
  });
}

harness.scenario('an address that the host gets at run time is refused from then on', async () => {
  const credentials = await harness.server.credentials();
  const isRefused = async () => {
    const { output } = await runUclient('a1', SERVER, credentials, '-p', '3478', '-e', '45.0.0.77', '-c', '-n', '1', '-m', '1');
    return /error 403/.test(output);
  };
  assert.equal(await isRefused(), false, 'not yet an own address');
  await runOn('server', 'ip', 'address', 'add', '45.0.0.77/32', 'dev', 'wan');
  await waitFor('the new address to be refused', isRefused, 60_000);
});

harness.scenario('a call between two LANs works with a public relay', async () => {
  const pair = await harness.joinPair([['chromium', { host: 'a1' }], ['firefox', { host: 'b1' }]], harness.roomUrl());
  for (const participant of pair) await participant.expectMedia();
  await pair[0].waitForRelayPath();
});
