// coturn's own clients as a second opinion on the relay: they find their address, and two of them exchange
// messages through it over every transport without losing one.

import assert from 'node:assert/strict';
import { setWorldStage } from './world.mjs';
import { exchange, reflexiveAddress } from './turnutils.mjs';

const stage = await setWorldStage('nat-turnutils');
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
    const { lost, sent, received, said } = await exchange(host, server, await stage.box.credentials(), '-y', ...flags);
    assert.equal(lost, 0, said);
    assert.ok(sent > 0 && received === sent, said);
  });
}
