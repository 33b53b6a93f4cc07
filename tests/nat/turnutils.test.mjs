// coturn's own clients as a second opinion on the relay: they find their address, and two of them exchange
// messages through it over every transport without losing one; what must be refused is, and for the right reason.

import assert from 'node:assert/strict';
import { setWorldStage } from './world.mjs';
import { asksForBothFamilies, attempt, exchangesEverywhere, exchangeWhole, reflexiveAddress } from './turnutils.mjs';

const stage = await setWorldStage('nat-turnutils');
const BOX = '45.0.0.10';
const tls = ['-t', '-S', '-E', stage.authority.ca];

stage.scene('a client behind a translator learns the address that the world sees', async () => {
  assert.match(await reflexiveAddress('a1', '45.0.0.10'), /^45\.0\.1\.2:\d+$/);
});

for (const [words, host, server, flags] of [
  ['over UDP', 'a1', '45.0.0.10', ['-p', '3478']],
  ['over UDP without an RTCP pair', 'a1', '45.0.0.10', ['-p', '3478', '-c']],
  ['over UDP with Send indications', 'a1', '45.0.0.10', ['-p', '3478', '-s']],
  ['over TCP', 'a1', '45.0.0.10', ['-p', '3478', '-t']],
  ['over TLS on 5349', 'a1', '45.0.0.10', ['-p', '5349', ...tls]],
  ['over TLS on 443, the port of the page', 'a1', '45.0.0.10', ['-p', '443', ...tls]],
  ['over UDP and IPv6', 'c1', '2a05:d000::10', ['-p', '3478']],
]) {
  stage.scene(`two clients exchange messages relay to relay ${words}`, async (context) => {
    if (flags.includes('-t') && !stage.box.streams) return context.skip('this box relays for UDP clients only');
    await exchangeWhole(host, server, stage.box.credentials, '-y', ...flags);
  });
}

for (const [words, ...flags] of [
  ['IPv4 addresses asked for by name', '-X'],
  ['IPv6 addresses, though they come by IPv4,', '-x'],
  ['the IPv4 addresses of double allocations', '-Z'],
  ['the IPv6 addresses of double allocations', '-Z', '-x'],
]) {
  stage.scene(`clients by UDP, TCP and TLS exchange messages between ${words}`, async (context) => {
    if (flags.includes('-Z') && !(await asksForBothFamilies('a1', BOX, await stage.box.credentials()))) {
      return context.skip('this turnutils_uclient asks for the second address in the words of a draft');
    }
    await exchangesEverywhere('a1', BOX, stage.box.credentials, stage.authority.ca, '-y', ...flags);
  });
}

for (const [words, flags, reason] of [
  ['a wrong password', ['-y', '-w', 'wrong'], /Cannot complete Allocation/],
  ['a user nobody has heard of', ['-y', '-u', '4102444800:nobody'], /Cannot complete Allocation/],
  ['a channel to a stranger', ['-e', '45.0.0.1'], /channel bind: error 403/],
  ['a permission for a stranger', ['-e', '45.0.0.1', '-s'], /create permission error 403/],
  ['a TCP connection to a peer', ['-y', '-T'], /error 442/],
]) {
  stage.scene(`${words} is refused`, async () => {
    const { code, said } = await attempt('a1', BOX, await stage.box.credentials(), '-p', '3478', ...flags);
    assert.equal(code, 255, said);
    assert.match(said, reason);
    assert.doesNotMatch(said, /tot_recv_msgs=[1-9]/);
  });
}

stage.scene('clients that spoil one message in ten harm nobody but themselves', async () => {
  const credentials = await stage.box.credentials();
  const spoilt = [['-t'], ['-s'], []].map((flags) => attempt('a2', BOX, credentials, '-p', '3478', '-y', '-R', ...flags));
  // Beside them, and again when they have gone.
  await exchangesEverywhere('a1', BOX, stage.box.credentials, stage.authority.ca, '-y');
  const ends = await Promise.all(spoilt);
  // Which messages is chance: now and then one of the three spoils none that matters.
  const suffered = ends.filter(({ code, said }) => code !== 0 || !/Total lost packets 0 /.test(said));
  assert.ok(suffered.length > 0, `nothing was spoilt: ${ends.map(({ said }) => said).join('\n')}`);
  await exchangesEverywhere('a1', BOX, stage.box.credentials, stage.authority.ca, '-y');
  assert.doesNotMatch(await stage.box.log(), /panic|ERROR/);
});
