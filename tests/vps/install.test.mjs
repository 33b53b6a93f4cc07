// From the built program to a call in two commands, as docs/operations.md has them: on a fresh host under a real systemd,
// with a certificate that the box gets by itself from an authority in the tests' own internet.

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { after } from 'node:test';
import { makeAuthority } from '../browser/lib/authority.mjs';
import { binary } from '../browser/lib/box.mjs';
import { AFTER, setStage } from '../browser/lib/stage.mjs';
import { root, until, workDir } from '../browser/lib/work.mjs';
import { makeSeatAtHome, on, runOn } from '../nat/world.mjs';
import { bootHost } from './host.mjs';
import { startPebble } from './pebble.mjs';

const AUTHORITY = '45.0.0.1';
const dir = await workDir('vps-install');
const authority = await makeAuthority(path.join(dir, 'authority'));
const pebble = await startPebble({ dir, on: on('pub'), address: AUTHORITY, identity: await authority.issue('acme.test'), box: { v4: '45.0.0.10', v6: '2a05:d000::10' } });
const vps = await bootHost({ dir: path.join(dir, 'host'), inside: on('box'),
  hosts: `127.0.0.1 localhost\n::1 localhost\n${AUTHORITY} acme.test\n`, resolver: `nameserver ${AUTHORITY}\noptions timeout:1 attempts:2\n` });
after(() => Promise.all([vps.end(), pebble.end()]));

// What the authorities of the real internet are to a fresh host.
await vps.bring(authority.ca, '/usr/local/share/ca-certificates/directory.crt');
await vps.bring(pebble.root, '/usr/local/share/ca-certificates/pebble.crt');
await vps.run('update-ca-certificates');

// The first command: the program and what lies in config/ go to the host.
await vps.bring(binary, '/root/webrtc-box');
for (const each of await readdir(path.join(root, 'config'), { recursive: true, withFileTypes: true })) {
  const file = path.join(each.parentPath ?? each.path, each.name);
  if (each.isFile()) await vps.bring(file, path.join('/root', path.relative(path.join(root, 'config'), file)));
}
// Another authority than the usual one is the one thing that a test has to set.
await vps.run('sed', '-i', 's|^#acme-directory = .*|acme-directory = "https://acme.test:14000/dir"|', '/root/webrtc-box.toml');

const stage = await setStage('vps-install-call', { make: makeSeatAtHome, theirs: {}, authority: { ca: pebble.root },
  start: async () => ({ origin: 'https://box.test', stop() {} }) });
const visit = async () => (await runOn('a1', 'curl', '-s', '-o', '/dev/null', '-m', '5', '-w', '%{http_code}', '--cacert', pebble.root, 'https://box.test/')
  .catch((error) => error)).stdout;

stage.scene('the second command installs it: certificate, page and relay are there, and two people call each other', async (context) => {
  const began = Date.now();
  const { stdout } = await vps.run('sh', '/root/install.sh', 'box.test', 'admin@box.test').catch(async (error) => {
    throw new Error(`${error.message}${error.stdout}\n${await vps.journal('webrtc-box.service')}`);
  });
  context.diagnostic(stdout);
  assert.doesNotMatch(stdout, /no certificate for \S+ .*yet/, 'the first certificate was waited for');
  assert.equal((await vps.run('stat', '-c', '%a %U %G', '/etc/webrtc-box/webrtc-box.toml')).stdout, '640 root webrtc-box\n');
  await until('the page with a certificate that is trusted', async () => (await visit()) === '200');
  context.diagnostic(`figure: from the second command to the page with a trusted certificate: ${Date.now() - began} ms`);
  const two = await stage.pair([['chromium', { home: 'a1' }], ['firefox', { home: 'b1' }]], `${stage.room()}?relay=1`);
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
  // Who has left holds up no restart.
  await two[0].leave();
  await two[1].sees(AFTER);
});

stage.scene('run again it upgrades, with settings, keys and certificate as they were', async () => {
  const kept = () => vps.run('sh', '-c', 'cat /etc/webrtc-box/webrtc-box.toml; cd /var/lib/webrtc-box && find . -type f | sort | xargs sha256sum').then(({ stdout }) => stdout);
  const before = await kept();
  await vps.run('sh', '/root/install.sh');
  assert.equal(await kept(), before);
  assert.equal(await visit(), '200');
  await assert.rejects(vps.run('sh', '/root/install.sh', 'other.test', 'admin@box.test'), /already exists/);
});

stage.scene('what is no name or address is told before anything is touched', async () => {
  for (const words of [['box.test'], ['box.test', 'nobody'], ['box test', 'admin@box.test'], ['--purge'], ['a..b', 'admin@box.test']]) {
    await assert.rejects(vps.run('sh', '/root/install.sh', ...words), /install\.sh: [^\n]+\n$/);
  }
});

stage.scene('certbot may get and renew the certificate instead, with the hook in docs/operations.md', async () => {
  const certbot = (...words) => vps.run('certbot', ...words, '--non-interactive', '--server', 'https://acme.test:14000/dir');
  const set = (...lines) => vps.run('sed', '-i', ...lines.flatMap((line) => ['-e', line]), '/etc/webrtc-box/webrtc-box.toml');
  const served = async () => (await runOn('a1', 'curl', '-s', '-o', '/dev/null', '-w', '%{certs}', '--cacert', pebble.root, 'https://box.test/')).stdout;
  const [, hook] = /```sh\n(install [^\n]*renewal-hooks[^]*?\nEND\n)```/.exec(await readFile(path.join(root, 'docs/operations.md'), 'utf8'));
  await vps.run('sh', '-c', hook);
  await set('s|^#http-port = .*|http-port = 0|');
  await vps.run('systemctl', 'restart', 'webrtc-box');
  await certbot('certonly', '--standalone', '--agree-tos', '-m', 'admin@box.test', '-d', 'box.test');
  await vps.run('/etc/letsencrypt/renewal-hooks/deploy/webrtc-box');
  await set('s|^acme-email|#&|',
    's|^#e.g. cert = .*|cert = "/etc/letsencrypt/live/box.test/fullchain.pem"|', 's|^#e.g. key = .*|key = "/etc/letsencrypt/live/box.test/privkey.pem"|');
  await vps.run('systemctl', 'restart', 'webrtc-box');
  const first = await served();
  assert.ok(first.includes((await vps.run('cat', '/etc/letsencrypt/live/box.test/cert.pem')).stdout.trim()));
  await certbot('renew', '--force-renewal', '--no-random-sleep-on-renew');
  await until('the renewed certificate to be served', async () => (await served()) !== first);
  assert.ok((await served()).includes((await vps.run('cat', '/etc/letsencrypt/live/box.test/cert.pem')).stdout.trim()));
  await vps.run('rm', '-r', '/etc/letsencrypt');
});

stage.scene('it can be taken away again, and leaves the settings and keys', async () => {
  await vps.run('sh', '/root/install.sh', '--remove');
  assert.equal(await visit(), '000');
  const left = (await vps.run('sh', '-c', 'find / -xdev -name "*webrtc-box*" -not -path "/root/*" -not -path "/proc/*" -not -path "/work/*" -not -path "/tmp/*" 2>/dev/null | sort')).stdout;
  assert.deepEqual(left.trim().split('\n').filter((file) => /^\/(etc|usr|var\/lib)\//.test(file)), ['/etc/webrtc-box', '/etc/webrtc-box/webrtc-box.toml', '/var/lib/webrtc-box']);
});
