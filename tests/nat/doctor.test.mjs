// `webrtc-box check` on the server's own host and in LANs behind NATs and firewalls: it finds what works, names the port to
// open for what is blocked, and does not blame the server where a LAN blocks UDP.

import assert from 'node:assert/strict';
import { relayTransports, runCheck } from './doctor.mjs';
import { findInDocs } from '../browser/lib/workspace.mjs';
import { createNetworkHarness, runOn } from './network.mjs';

const harness = await createNetworkHarness('nat-doctor', { ports: { http: 80 } });

const checkOn = (host, ...flags) => runCheck(host, harness.authority.ca, ...flags);

harness.scenario('the check passes on the server\'s host and behind NAT, over IPv4 and IPv6', async () => {
  const { cert, key } = await harness.authority.issue('box.test');
  const local = await checkOn('server', '--cert', cert, '--key', key, '--state-dir', harness.server.state);
  for (const group of ['ports', 'certificate', 'addresses', 'page', 'signaling', 'relay']) {
    assert.deepEqual(local.of(group).filter(({ mark }) => mark !== 'ok'), [], group);
  }
  assert.match(local.of('addresses')[1].text, /box\.test leads to 45\.0\.0\.10, an address of this host/);
  for (const host of ['a1', 'c1']) {
    const remote = await checkOn(host);
    assert.deepEqual(relayTransports(remote), ['UDP on 3478: ok', 'TCP on 3478: ok', 'TLS on 443: ok', 'TLS on 5349: ok']);
    for (const { text, round_trip_ms: roundTripMs } of remote.of('relay')) assert.ok(Number.isFinite(roundTripMs) && roundTripMs >= 0, text);
    assert.equal(remote.code, 0, JSON.stringify(remote.findings));
  }
});

harness.scenario('a LAN without UDP: the check names the blocked port; TCP and TLS work', async () => {
  const check = await checkOn('b2');
  assert.deepEqual(relayTransports(check), ['UDP on 3478: fail', 'TCP on 3478: ok', 'TLS on 443: ok', 'TLS on 5349: ok']);
  const [udp] = check.of('relay');
  assert.match(udp.text, /no answer/);
  assert.match(udp.cure, /open 3478\/udp .* where it answers from another network, this one blocks it/);
  assert.equal(check.code, 2);
});

harness.scenario('with port 443 only, the check finds TURN over TLS and ends in time', async () => {
  const startedAt = Date.now();
  const check = await checkOn('b3', '--http-port', '0');
  assert.deepEqual(relayTransports(check), ['UDP on 3478: fail', 'TCP on 3478: fail', 'TLS on 443: ok', 'TLS on 5349: warn']);
  for (const group of ['page', 'signaling']) assert.ok(check.of(group).every(({ mark }) => mark === 'ok'), group);
  assert.ok(Date.now() - startedAt < 30_000);
});

harness.scenario('the check asks a STUN server for the address of another host', async () => {
  const { cert, key } = await harness.authority.issue('box.test');
  const check = await checkOn('a2', '--cert', cert, '--key', key, '--stun', '45.0.0.10');
  const finding = check.of('addresses').find(({ text }) => text.includes('sees this host'));
  assert.match(finding.text, /45\.0\.0\.10:3478 sees this host as 45\.0\.1\.2, which is neither/);
  assert.match(finding.cure, /external-ip = "45\.0\.1\.2"/);
});

harness.scenario('the documented firewall lets everything through that the box needs', async () => {
  const [, rules] = await findInDocs(/```nft\n([^]*?)\n```/);
  const [, untracked] = await findInDocs(/```sh\n(nft 'table inet box[^\n]*)\n```/);
  await runOn('server', 'nft', rules);
  await runOn('server', 'sh', '-c', untracked);
  try {
    for (const host of ['a1', 'c1']) {
      const check = await checkOn(host);
      assert.deepEqual(relayTransports(check), ['UDP on 3478: ok', 'TCP on 3478: ok', 'TLS on 443: ok', 'TLS on 5349: ok']);
      assert.equal(check.code, 0, JSON.stringify(check.findings));
    }
    const closed = runOn('a1', 'curl', '-s', '-m', '2', 'http://45.0.0.10:9641/metrics');
    await assert.rejects(closed, { code: 28 }, 'other ports do not answer');
  } finally {
    await runOn('server', 'nft', 'flush', 'ruleset');
  }
});
