// The box as a service: a real systemd starts it from the files in config/, within its sandbox, and stops,
// reloads and watches it.

import assert from 'node:assert/strict';
import path from 'node:path';
import test, { after } from 'node:test';
import { makeAuthority } from '../browser/lib/authority.mjs';
import { binary } from '../browser/lib/box.mjs';
import { root, run, until, workDir } from '../browser/lib/work.mjs';
import { on, runOn } from '../nat/world.mjs';
import { bootHost } from './host.mjs';

const dir = await workDir('vps-service');
const authority = await makeAuthority(path.join(dir, 'authority'));
const { cert, key } = await authority.issue('box.test');
const vps = await bootHost({ dir: path.join(dir, 'host'), inside: on('box') });
after(() => vps.end());

/** Writes a text to a file of the host. */
const write = (file, text) => vps.run('sh', '-c', 'mkdir -p "$(dirname "$0")" && printf %s "$1" >"$0"', file, text);
const property = async (name) => (await vps.run('systemctl', 'show', '--value', '-p', name, 'webrtc-box.service')).stdout.trim();
/** What a visitor at home gets, as the status code; 000 where nobody answers. */
const visit = async (url = 'https://box.test/healthz') =>
  (await runOn('a1', 'curl', '-s', '-o', '/dev/null', '-m', '5', '-w', '%{http_code}', '--cacert', authority.ca, url).catch(({ stdout }) => ({ stdout }))).stdout;

await vps.bring(binary, '/usr/local/bin/webrtc-box');
await vps.bring(path.join(root, 'config/webrtc-box.service'), '/etc/systemd/system/webrtc-box.service');
await vps.bring(path.join(root, 'config/webrtc-box.sysusers'), '/usr/lib/sysusers.d/webrtc-box.conf');
await vps.bring(cert, '/etc/webrtc-box/cert.pem');
await vps.bring(key, '/etc/webrtc-box/key.pem');
await write('/etc/webrtc-box/webrtc-box.toml', 'domain = "box.test"\ncert = "/etc/webrtc-box/cert.pem"\nkey = "/etc/webrtc-box/key.pem"\n');
await vps.run('chmod', '755', '/usr/local/bin/webrtc-box');
await vps.run('systemd-sysusers', 'webrtc-box.conf');
await vps.run('chgrp', 'webrtc-box', '/etc/webrtc-box/key.pem');
await vps.run('chmod', '640', '/etc/webrtc-box/key.pem');
await vps.run('systemctl', 'daemon-reload');

test('the unit starts the box within its sandbox, and a visitor gets the page', async () => {
  await vps.run('systemctl', 'start', 'webrtc-box.service').catch(async (error) => {
    throw new Error(`${error.message}\n${await vps.journal('webrtc-box.service')}`);
  });
  // Type=notify: what has started serves.
  assert.equal(await visit(), '200');
  const { stdout } = await vps.run('cat', `/proc/${await property('MainPID')}/status`);
  const field = (name) => new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(stdout)[1];
  assert.notEqual(field('Uid'), '0');
  assert.equal(Number(`0x${field('CapEff')}`), 1 << 10, 'CAP_NET_BIND_SERVICE and no other');
  assert.deepEqual([field('NoNewPrivs'), field('Seccomp')], ['1', '2']);
});
