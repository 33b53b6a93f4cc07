// The relay with coturn's client programs: reflexive addresses, lossless exchanges over every transport,
// refusals with the right error, and corrupted messages.

import assert from 'node:assert/strict';
import { expectLosslessExchange, expectLosslessExchangeOnAllTransports, reflexiveAddress, runUclient, supportsAdditionalAddressFamily } from './coturn-client.mjs';
import { createNetworkHarness } from './network.mjs';

const harness = await createNetworkHarness('nat-coturn-interop');
const SERVER = '45.0.0.10';
const TLS_FLAGS = ['-t', '-S', '-E', harness.authority.ca];

harness.scenario('a client behind NAT learns its public address', async () => {
  assert.match(await reflexiveAddress('a1', SERVER), /^45\.0\.1\.2:\d+$/);
});

for (const [transport, host, server, flags] of [
  ['over UDP', 'a1', SERVER, ['-p', '3478']],
  ['over UDP without an RTCP pair', 'a1', SERVER, ['-p', '3478', '-c']],
  ['over UDP with Send indications', 'a1', SERVER, ['-p', '3478', '-s']],
  ['over TCP', 'a1', SERVER, ['-p', '3478', '-t']],
  ['over TLS on 5349', 'a1', SERVER, ['-p', '5349', ...TLS_FLAGS]],
  ['over TLS on 443, the port of the page', 'a1', SERVER, ['-p', '443', ...TLS_FLAGS]],
  ['over UDP and IPv6', 'c1', '2a05:d000::10', ['-p', '3478']],
]) {
  harness.scenario(`two clients exchange messages relay to relay ${transport}`, async () => {
    await expectLosslessExchange(host, server, harness.server.credentials, '-y', ...flags);
  });
}

for (const [addresses, ...flags] of [
  ['requested IPv4 addresses', '-X'],
  ['requested IPv6 addresses, connected over IPv4', '-x'],
  ['the IPv4 addresses of dual allocations', '-Z'],
  ['the IPv6 addresses of dual allocations', '-Z', '-x'],
]) {
  harness.scenario(`clients over UDP, TCP and TLS use ${addresses}`, async (context) => {
    if (flags.includes('-Z') && !(await supportsAdditionalAddressFamily('a1', SERVER, await harness.server.credentials()))) {
      return context.skip('this turnutils_uclient sends the attribute of a draft');
    }
    await expectLosslessExchangeOnAllTransports('a1', SERVER, harness.server.credentials, harness.authority.ca, '-y', ...flags);
  });
}

for (const [name, flags, reason] of [
  ['a wrong password', ['-y', '-w', 'wrong'], /Cannot complete Allocation/],
  ['an unknown user', ['-y', '-u', '4102444800:nobody'], /Cannot complete Allocation/],
  ['a channel to an address outside the relay', ['-e', '45.0.0.1'], /channel bind: error 403/],
  ['a permission for an address outside the relay', ['-e', '45.0.0.1', '-s'], /create permission error 403/],
  ['a TCP connection to a peer', ['-y', '-T'], /error 442/],
]) {
  harness.scenario(`${name} is refused`, async () => {
    const { code, output } = await runUclient('a1', SERVER, await harness.server.credentials(), '-p', '3478', ...flags);
    assert.equal(code, 255, output);
    assert.match(output, reason);
    assert.doesNotMatch(output, /tot_recv_msgs=[1-9]/);
  });
}

harness.scenario('clients that corrupt every tenth message harm only themselves', async () => {
  const credentials = await harness.server.credentials();
  const corrupting = [['-t'], ['-s'], []].map((flags) => runUclient('a2', SERVER, credentials, '-p', '3478', '-y', '-R', ...flags));
  // Beside them, and again after they have ended.
  await expectLosslessExchangeOnAllTransports('a1', SERVER, harness.server.credentials, harness.authority.ca, '-y');
  const results = await Promise.all(corrupting);
  // The corrupted messages are random: sometimes one of the three clients loses nothing.
  const failed = results.filter(({ code, output }) => code !== 0 || !/Total lost packets 0 /.test(output));
  assert.ok(failed.length > 0, `nothing was corrupted: ${results.map(({ output }) => output).join('\n')}`);
  await expectLosslessExchangeOnAllTransports('a1', SERVER, harness.server.credentials, harness.authority.ca, '-y');
  assert.doesNotMatch(await harness.server.log(), /panic|ERROR/);
});
