// From the built program to a call in two commands, as documented: on a fresh host with its own systemd, with a certificate
// from an ACME authority in the test network.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after } from 'node:test';
import { createCertificateAuthority } from '../browser/lib/certificate-authority.mjs';
import { createHarness, ENDED_STATES } from '../browser/lib/harness.mjs';
import { binary } from '../browser/lib/server.mjs';
import { waitFor } from '../browser/lib/wait.mjs';
import { createWorkDir, findInDocs } from '../browser/lib/workspace.mjs';
import { launchParticipantOn, on, runOn } from '../nat/network.mjs';
import { ACME_DIRECTORY } from './acme-host.mjs';
import { startPebble } from './pebble.mjs';
import { bootHost } from './systemd-host.mjs';

const ACME_ADDRESS = '45.0.0.1';
const dir = await createWorkDir('vps-install');
const authority = await createCertificateAuthority(path.join(dir, 'authority'));
const pebble = await startPebble({
  dir, on: on('pub'), address: ACME_ADDRESS, identity: await authority.issue('acme.test'), resolvesTo: { v4: '45.0.0.10', v6: '2a05:d000::10' },
});
const vps = await bootHost({
  dir: path.join(dir, 'host'), inNamespace: on('server'),
  hosts: `127.0.0.1 localhost\n::1 localhost\n${ACME_ADDRESS} acme.test\n`, resolver: `nameserver ${ACME_ADDRESS}\noptions timeout:1 attempts:2\n`,
});
after(() => Promise.all([vps.shutDown(), pebble.stop()]));

// The host trusts these authorities as it trusts those of the internet.
await vps.copy(authority.ca, '/usr/local/share/ca-certificates/directory.crt');
await vps.copy(pebble.root, '/usr/local/share/ca-certificates/pebble.crt');
await vps.run('update-ca-certificates');

// The first command copies the program and the files of config/ to the host.
await vps.copy(binary, '/root/webrtc-box');
await vps.copyConfig();

const harness = await createHarness('vps-install-call', {
  launch: launchParticipantOn, defaults: {}, authority: { ca: pebble.root }, start: async () => ({ origin: 'https://box.test', stop() {} }),
});
const httpStatus = async () => (await runOn('a1', 'curl', '-s', '-o', '/dev/null', '-m', '5', '-w', '%{http_code}', '--cacert', pebble.root, 'https://box.test/')
  .catch((error) => error)).stdout;

harness.scenario('invalid arguments are rejected before anything changes', async () => {
  for (const args of [[], ['box.test'], ['box.test', 'nobody'], ['box test', 'admin@box.test'], ['--purge'], ['a..b', 'admin@box.test'], ['box.test', 'admin@box.test', '--turn-prot', '1']]) {
    await assert.rejects(vps.run('sh', '/root/install.sh', ...args), /install\.sh: [^\n]+\n$/);
  }
  await vps.run('sh', '-c', 'test ! -e /etc/webrtc-box/webrtc-box.toml && test -z "$(ls /usr/local/bin | grep webrtc-box)"');
});

harness.scenario('the second command installs certificate, page and relay; a call works', async (context) => {
  const startedAt = Date.now();
  const { stdout } = await vps.run('sh', '/root/install.sh', 'box.test', 'admin@box.test', '--acme-directory', ACME_DIRECTORY).catch(async (error) => {
    throw new Error(`${error.message}${error.stdout}\n${await vps.journal('webrtc-box.service')}`);
  });
  context.diagnostic(stdout);
  assert.doesNotMatch(stdout, /no certificate for \S+ .*yet/, 'it waits for the first certificate');
  assert.equal((await vps.run('stat', '-c', '%a %U %G', '/etc/webrtc-box/webrtc-box.toml')).stdout, '640 root webrtc-box\n');
  await waitFor('the page with a trusted certificate', async () => (await httpStatus()) === '200');
  context.diagnostic(`measurement: from the second command to the page with a trusted certificate: ${Date.now() - startedAt} ms`);
  const pair = await harness.joinPair([['chromium', { host: 'a1' }], ['firefox', { host: 'b1' }]], `${harness.roomUrl()}?relay=1`);
  await harness.expectMedia(pair);
  // A participant who has left does not delay a restart.
  await pair[0].leave();
  await pair[1].waitForState(ENDED_STATES);
});

harness.scenario('a second run upgrades and keeps settings, keys and certificate', async () => {
  const contents = () => vps.run('sh', '-c', 'cat /etc/webrtc-box/webrtc-box.toml; cd /var/lib/webrtc-box && find . -type f | sort | xargs sha256sum').then(({ stdout }) => stdout);
  const before = await contents();
  await vps.run('sh', '/root/install.sh');
  assert.equal(await contents(), before);
  assert.equal(await httpStatus(), '200');
  await assert.rejects(vps.run('sh', '/root/install.sh', 'other.test', 'admin@box.test'), /already exists/);
});

harness.scenario('an IP address in place of the name gets a certificate, and a call works', async (context) => {
  // Without the time of the next attempt, which a restart respects for a minute.
  const setDomain = (domain) => vps.run('sh', '-ec', `sed -i 's|^domain = .*|domain = "${domain}"|' /etc/webrtc-box/webrtc-box.toml
    systemctl stop webrtc-box && rm /var/lib/webrtc-box/acme/*/next-attempt && systemctl start webrtc-box`);
  await setDomain('45.0.0.10');
  const status = async () => (await runOn('a1', 'curl', '-s', '-o', '/dev/null', '-m', '5', '-w', '%{http_code}', '--cacert', pebble.root, 'https://45.0.0.10/').catch((error) => error)).stdout;
  await waitFor('the page at the address with a trusted certificate', async () => (await status()) === '200', 90_000);
  const { stdout } = await vps.run('webrtc-box', 'check').catch((error) => error);
  context.diagnostic(stdout);
  assert.match(stdout, /ok .*domain is 45\.0\.0\.10, an address of this host/);
  assert.doesNotMatch(stdout, /^ {2}fail/m);
  const pair = await harness.joinPair([['chromium', { host: 'a1' }], ['firefox', { host: 'b1' }]], `${harness.roomUrl().replace('box.test', '45.0.0.10')}?relay=1`);
  await harness.expectMedia(pair);
  await pair[0].leave();
  await pair[1].waitForState(ENDED_STATES);
  await setDomain('box.test');
  await waitFor('the page with a trusted certificate', async () => (await httpStatus()) === '200', 90_000);
});

harness.scenario('certbot can get and renew the certificate with the documented hook', async () => {
  const certbot = (...args) => vps.run('certbot', ...args, '--non-interactive', '--server', 'https://acme.test:14000/dir');
  const editSettings = (...expressions) => vps.run('sed', '-i', ...expressions.flatMap((expression) => ['-e', expression]), '/etc/webrtc-box/webrtc-box.toml');
  const servedCertificates = async () => (await runOn('a1', 'curl', '-s', '-o', '/dev/null', '-w', '%{certs}', '--cacert', pebble.root, 'https://box.test/')).stdout;
  const certbotCertificate = async () => (await vps.run('cat', '/etc/letsencrypt/live/box.test/cert.pem')).stdout.trim();
  const [, hook] = await findInDocs(/```sh\n(install [^\n]*renewal-hooks[^]*?\nEND\n)```/);
  await vps.run('sh', '-c', hook);
  await editSettings('s|^#http-port = .*|http-port = 0|');
  await vps.run('systemctl', 'restart', 'webrtc-box');
  await certbot('certonly', '--standalone', '--agree-tos', '-m', 'admin@box.test', '-d', 'box.test');
  await vps.run('/etc/letsencrypt/renewal-hooks/deploy/webrtc-box');
  await editSettings('s|^acme-email|#&|',
    's|^#e.g. cert = .*|cert = "/etc/letsencrypt/live/box.test/fullchain.pem"|', 's|^#e.g. key = .*|key = "/etc/letsencrypt/live/box.test/privkey.pem"|');
  await vps.run('systemctl', 'restart', 'webrtc-box');
  const initial = await servedCertificates();
  assert.ok(initial.includes(await certbotCertificate()));
  await certbot('renew', '--force-renewal', '--no-random-sleep-on-renew');
  await waitFor('the renewed certificate', async () => (await servedCertificates()) !== initial);
  assert.ok((await servedCertificates()).includes(await certbotCertificate()));
  await vps.run('rm', '-r', '/etc/letsencrypt');
});

harness.scenario('--remove uninstalls it and keeps settings and keys', async () => {
  await vps.run('sh', '/root/install.sh', '--remove');
  assert.equal(await httpStatus(), '000');
  const { stdout } = await vps.run('sh', '-c', 'find / -xdev -name "*webrtc-box*" -not -path "/root/*" -not -path "/proc/*" -not -path "/work/*" -not -path "/var/lib/containers/*" -not -path "/tmp/*" 2>/dev/null | sort');
  assert.deepEqual(stdout.trim().split('\n').filter((file) => /^\/(etc|usr|var\/lib)\//.test(file)), ['/etc/webrtc-box', '/etc/webrtc-box/webrtc-box.toml', '/var/lib/webrtc-box']);
});
