// An upgrade on a host with its own systemd: a faulty new program never replaces the one that runs.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, test } from 'node:test';
import { binary } from '../browser/lib/server.mjs';
import { createWorkDir } from '../browser/lib/workspace.mjs';
import { bootHost } from './systemd-host.mjs';

const dir = await createWorkDir('vps-upgrade');
// The host is alone in its network.
const host = await bootHost({ dir: path.join(dir, 'host'), inNamespace: ['unshare', '--net', 'sh', '-c', 'ip link set lo up && exec "$0" "$@"'] });
after(() => host.shutDown());

const shell = (script, ...args) => host.run('sh', '-c', script, 'sh', ...args);
await host.copy(binary, '/root/webrtc-box');
await host.copyConfig();
await shell('cp /root/webrtc-box /root/working && chmod 755 /root/working');

/** All files that an upgrade may replace, with their checksums, and the state of the service. */
const installation = async () => (await shell(`
  find /usr/local/bin /usr/lib/sysusers.d /etc/systemd/system /etc/webrtc-box -name '*webrtc-box*' -type f -exec sha256sum {} + | sort -k2
  systemctl show -p MainPID -p ActiveState webrtc-box`)).stdout;
const mainPid = async () => (await shell('systemctl show -P MainPID webrtc-box')).stdout.trim();
const httpStatus = async () => (await shell('curl -sk -o /dev/null -w "%{http_code}" https://127.0.0.1:8443/')).stdout;
/** Runs install.sh, whose last check may complain about this host: it has no domain. */
const install = () => shell('sh /root/install.sh').catch((error) => { if (!/webrtc-box is running/.test(error.stdout)) throw error; });
/** Runs install.sh with this shell script as the new program; returns the error text of the failure. */
const failUpgrade = async (script) => {
  await writeFile(path.join(dir, 'program'), script);
  await host.copy(path.join(dir, 'program'), '/root/webrtc-box');
  return host.run('sh', '/root/install.sh').then(() => assert.fail('the upgrade succeeded'), (error) => error.stderr ?? error.message);
};
/** A program that works until it is started as the service; then it runs `start`. */
const worksUntilStarted = (start) => `#!/bin/sh\ncase "$1" in --version | credentials | check) exec /root/working "$@" ;; esac\n${start}\n`;

// Settings for a trial: they need neither a domain nor a certificate authority.
await shell('mkdir -p /etc/webrtc-box && echo "https-port = 8443" >/etc/webrtc-box/webrtc-box.toml');
await install();

test('a program that cannot be executed replaces nothing', async () => {
  assert.equal(await httpStatus(), '200');
  const before = await installation();
  assert.match(await failUpgrade('\x7fELF is not all that it takes'), /does not run on this host/);
  assert.equal(await installation(), before);
});

test('a program that rejects the settings replaces nothing', async () => {
  const before = await installation();
  const script = worksUntilStarted('exit 3').replace('| credentials', '').replace('esac', 'credentials) echo "realm is no setting" >&2; exit 1 ;; esac');
  assert.match(await failUpgrade(script), /realm is no setting[^]*rejects the settings/);
  assert.equal(await installation(), before);
});

test('a program that does not become ready is replaced by the previous one', async () => {
  const before = (await installation()).replace(/MainPID=.*/, '');
  const pid = await mainPid();
  assert.match(await failUpgrade(worksUntilStarted('exit 3')), /does not start[^]*previous webrtc-box is running again/);
  assert.equal((await installation()).replace(/MainPID=.*/, ''), before);
  assert.notEqual(await mainPid(), pid, 'it was restarted');
  assert.equal(await httpStatus(), '200');
});

test('an upgrade that fails half-way is rolled back', async () => {
  const before = await installation();
  await shell('mv /bin/systemd-sysusers /bin/systemd-sysusers.away');
  assert.ok(await failUpgrade(worksUntilStarted('exec /root/working "$@"')));
  await shell('mv /bin/systemd-sysusers.away /bin/systemd-sysusers');
  assert.equal(await installation(), before);
  assert.equal(await httpStatus(), '200');
});

test('a working program replaces the previous one', async () => {
  // The appended bytes make it a different program.
  const { stdout } = await shell('cp /root/working /root/webrtc-box && echo newer >>/root/webrtc-box && sha256sum </root/webrtc-box');
  await install();
  assert.equal((await shell('sha256sum </usr/local/bin/webrtc-box')).stdout, stdout);
  assert.equal((await shell('ls /usr/local/bin | grep webrtc-box; ls /etc/systemd/system | grep -E "old|new" || true')).stdout, 'webrtc-box\n');
  assert.equal(await httpStatus(), '200');
});
