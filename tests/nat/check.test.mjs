// `webrtc-box check` on the box's own host and at home behind translators and firewalls: what gets through is found
// to get through, what is blocked is named with the port to open, and a home without UDP is not held for a box without.

import assert from 'node:assert/strict';
import { check, ways } from './check.mjs';
import { setWorldStage } from './world.mjs';

const stage = await setWorldStage('nat-check', [], { http: 80 });

const checkAt = (host, ...flags) => check(host, stage.authority.ca, ...flags);

stage.scene('on its own host all is well, and so it is behind a translator, over IPv4 and over IPv6', async () => {
  const { cert, key } = await stage.authority.issue('box.test');
  const here = await checkAt('box', '--cert', cert, '--key', key, '--state-dir', stage.box.state);
  for (const group of ['ports', 'certificate', 'addresses', 'page', 'signaling', 'relay']) {
    assert.deepEqual(here.of(group).filter(({ mark }) => mark !== 'ok'), [], group);
  }
  assert.match(here.of('addresses')[1].text, /box\.test leads to 45\.0\.0\.10, an address of this host/);
  for (const host of ['a1', 'c1']) {
    const there = await checkAt(host);
    assert.deepEqual(ways(there), ['UDP on 3478: ok', 'TCP on 3478: ok', 'TLS on 443: ok', 'TLS on 5349: ok']);
    for (const { text, round_trip_ms: took } of there.of('relay')) assert.ok(Number.isFinite(took) && took >= 0, text);
    assert.equal(there.code, 0, JSON.stringify(there.findings));
  }
});

stage.scene('a home without UDP is told what is blocked, and that TCP and TLS get through', async () => {
  const checked = await checkAt('b2');
  assert.deepEqual(ways(checked), ['UDP on 3478: fail', 'TCP on 3478: ok', 'TLS on 443: ok', 'TLS on 5349: ok']);
  const [udp] = checked.of('relay');
  assert.match(udp.text, /no answer/);
  assert.match(udp.cure, /open 3478\/udp .* where it answers from another network, this one blocks it/);
  assert.equal(checked.code, 2);
});

stage.scene('where only port 443 is open, TURN over TLS there is found, and the check ends all the same', async () => {
  const began = Date.now();
  const checked = await checkAt('b3', '--http-port', '0');
  assert.deepEqual(ways(checked), ['UDP on 3478: fail', 'TCP on 3478: fail', 'TLS on 443: ok', 'TLS on 5349: warn']);
  for (const group of ['page', 'signaling']) assert.ok(checked.of(group).every(({ mark }) => mark === 'ok'), group);
  assert.ok(Date.now() - began < 30_000);
});

stage.scene('the box is asked where it sees another host', async () => {
  const { cert, key } = await stage.authority.issue('box.test');
  const checked = await checkAt('a2', '--cert', cert, '--key', key, '--stun', '45.0.0.10');
  const text = checked.of('addresses').find((finding) => finding.text.includes('sees this host'));
  assert.match(text.text, /45\.0\.0\.10:3478 sees this host as 45\.0\.1\.2, which is neither/);
  assert.match(text.cure, /external-ip = "45\.0\.1\.2"/);
});
