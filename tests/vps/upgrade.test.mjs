// An upgrade on a host under a real systemd: whatever is wrong with the new program, the box that runs stays.

import assert from 'node:assert/strict';
import { readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, test } from 'node:test';
import { binary } from '../browser/lib/box.mjs';
import { root, workDir } from '../browser/lib/work.mjs';
import { bootHost } from './host.mjs';

const dir = await workDir('vps-upgrade');
// A network of its own, in which nothing but the host is.
const host = await bootHost({ dir: path.join(dir, 'host'), inside: ['unshare', '--net', 'sh', '-c', 'ip link set lo up && exec "$0" "$@"'] });
after(() => host.end());

const sh = (text, ...words) => host.run('sh', '-c', text, 'sh', ...words);
await host.bring(binary, '/root/webrtc-box');
for (const each of await readdir(path.join(root, 'config'), { recursive: true, withFileTypes: true })) {
  const file = path.join(each.parentPath ?? each.path, each.name);
  if (each.isFile()) await host.bring(file, path.join('/root', path.relative(path.join(root, 'config'), file)));
}
await sh('cp /root/webrtc-box /root/good && chmod 755 /root/good');

/** All that an upgrade may replace, with its contents, and the process that serves. */
const state = async () => (await sh(`
  find /usr/local/bin /usr/lib/sysusers.d /etc/systemd/system /etc/webrtc-box -name '*webrtc-box*' -type f -exec sha256sum {} + | sort -k2
  systemctl show -p MainPID -p ActiveState webrtc-box`)).stdout;
const pid = async () => (await sh('systemctl show -P MainPID webrtc-box')).stdout.trim();
const serves = async () => (await sh('curl -sk -o /dev/null -w "%{http_code}" https://127.0.0.1:8443/')).stdout;
/** Runs install.sh with a program that is this shell script; what it said as it failed. */
const upgradeFails = async (script) => {
  await writeFile(path.join(dir, 'program'), script);
  await host.bring(path.join(dir, 'program'), '/root/webrtc-box');
  return host.run('sh', '/root/install.sh').then(() => assert.fail('the upgrade went well'), (error) => error.stderr ?? error.message);
};
const WORKS_BUT = (start) => `#!/bin/sh\ncase "$1" in --version | credentials | check) exec /root/good "$@" ;; esac\n${start}\n`;

// Settings of a box that is tried out: it needs no name and no authority.
await sh('mkdir -p /etc/webrtc-box && echo "https-port = 8443" >/etc/webrtc-box/webrtc-box.toml');
await sh('sh /root/install.sh').catch((error) => { if (!/webrtc-box is running/.test(error.stdout)) throw error; });

test('a program that cannot run replaces nothing', async () => {
  assert.equal(await serves(), '200');
  const before = await state();
  assert.match(await upgradeFails('\x7fELF is not all that it takes'), /does not run on this host/);
  assert.equal(await state(), before);
});

test('a program that refuses the settings replaces nothing', async () => {
  const before = await state();
  assert.match(await upgradeFails(WORKS_BUT('exit 3').replace('| credentials', '').replace('esac', 'credentials) echo "realm is no setting" >&2; exit 1 ;; esac')), /realm is no setting[^]*does not take the settings/);
  assert.equal(await state(), before);
});

test('a program that does not get ready gives way to the one before', async () => {
  const before = (await state()).replace(/MainPID=.*/, '');
  const process = await pid();
  assert.match(await upgradeFails(WORKS_BUT('exit 3')), /does not start[^]*previous webrtc-box is running again/);
  assert.equal((await state()).replace(/MainPID=.*/, ''), before);
  assert.notEqual(await pid(), process, 'it was started again');
  assert.equal(await serves(), '200');
});

test('a step that fails half-way is taken back', async () => {
  const before = await state();
  await sh('mv /bin/systemd-sysusers /bin/systemd-sysusers.away');
  assert.ok(await upgradeFails(WORKS_BUT('exec /root/good "$@"')));
  await sh('mv /bin/systemd-sysusers.away /bin/systemd-sysusers');
  assert.equal(await state(), before);
  assert.equal(await serves(), '200');
});

test('a program that works replaces the one before', async () => {
  // Another program by its bytes alone.
  const { stdout } = await sh('cp /root/good /root/webrtc-box && echo newer >>/root/webrtc-box && sha256sum </root/webrtc-box');
  await sh('sh /root/install.sh').catch((error) => { if (!/webrtc-box is running/.test(error.stdout)) throw error; });
  assert.equal((await sh('sha256sum </usr/local/bin/webrtc-box')).stdout, stdout);
  assert.equal((await sh('ls /usr/local/bin | grep webrtc-box; ls /etc/systemd/system | grep -E "old|new" || true')).stdout, 'webrtc-box\n');
  assert.equal(await serves(), '200');
});
