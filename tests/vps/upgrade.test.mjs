// An upgrade on a host with its own systemd: a faulty new program never replaces the one that runs.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, test } from 'node:test';
import { binary } from '../browser/lib/server.mjs';
import { waitFor } from '../browser/lib/wait.mjs';
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

/** Runs install.sh, as `failUpgrade` does, with `script` in place of the program `name`; it finds the real one in $real. */
const failWith = async (name, script, program = worksUntilStarted('exec /root/working "$@"')) => {
  await shell('mkdir -p /root/faults && printf "%s" "$2" >"/root/faults/$1" && chmod 755 "/root/faults/$1"', name, `#!/bin/sh\nreal=/bin/${name}\n${script}\n`);
  await writeFile(path.join(dir, 'program'), program);
  await host.copy(path.join(dir, 'program'), '/root/webrtc-box');
  const failed = await shell('PATH=/root/faults:$PATH sh /root/install.sh').then(() => assert.fail('the upgrade succeeded'), (error) => error.stderr ?? error.message);
  await shell('rm -r /root/faults');
  return failed;
};
/** Copies left by install.sh. */
const leftovers = async () => (await shell('find /usr/local/bin /usr/lib/sysusers.d /etc/systemd/system -name "*webrtc-box*.old" -o -name "*webrtc-box*.new"')).stdout;

// Settings for a trial: they need neither a domain nor a certificate authority.
await shell('mkdir -p /etc/webrtc-box && echo "https-port = 8443" >/etc/webrtc-box/webrtc-box.toml');
// A distribution without systemd-sysusers.
await shell('id -u webrtc-box >/dev/null 2>&1 && userdel webrtc-box; mv /bin/systemd-sysusers /bin/systemd-sysusers.away');
await install();
await shell('mv /bin/systemd-sysusers.away /bin/systemd-sysusers');

test('a host without systemd-sysusers gets the user of the service as well', async () => {
  assert.match((await shell('getent passwd webrtc-box')).stdout, /^webrtc-box:x:\d+:\d+:[^:]*:\/var\/lib\/webrtc-box:\S*nologin$/m);
});

test('a package on the host is left alone', async () => {
  const before = await installation();
  await shell('touch /usr/lib/systemd/system/webrtc-box.service');
  assert.match(await failUpgrade(worksUntilStarted('exec /root/working "$@"')), /installed as a package; upgrade it with/);
  await shell('rm /usr/lib/systemd/system/webrtc-box.service');
  assert.equal(await installation(), before);
});

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

for (const [step, name, script] of [
  ['the user', 'systemd-sysusers', 'exit 1'],
  ['the group of the settings', 'chgrp', 'exit 1'],
  ['the start with the host', 'systemctl', '[ "$1" != enable ] && exec $real "$@"; exit 1'],
  ['systemd, which does not reload', 'systemctl', '[ "$1" != daemon-reload ] && exec $real "$@"; exit 1'],
  ['the second file, which cannot be renamed', 'mv', 'case "$*" in *.new*sysusers*) exit 1 ;; esac; exec $real "$@"'],
]) {
  test(`an upgrade that fails at ${step} leaves the running box as it was`, async () => {
    const before = await installation();
    await failWith(name, script);
    assert.equal(await installation(), before);
    assert.equal(await leftovers(), '');
    assert.equal(await httpStatus(), '200');
  });
}

test('a full disk leaves the running box as it was', async () => {
  // One copy of the program fits, not a second one.
  await shell(`cp -p /usr/local/bin/webrtc-box /root/installed
    mount -t tmpfs -o mode=755,size=$(($(stat -c %s /root/working) * 3 / 2)) tmpfs /usr/local/bin
    cp -p /root/installed /usr/local/bin/webrtc-box && systemctl restart webrtc-box`);
  const before = await installation();
  await shell('cp /root/working /root/webrtc-box');
  await assert.rejects(shell('sh /root/install.sh'), /No space left on device/);
  assert.equal(await installation(), before);
  assert.equal(await leftovers(), '');
  assert.equal(await httpStatus(), '200');
  await shell('systemctl stop webrtc-box && umount /usr/local/bin && systemctl start webrtc-box');
});

test('Ctrl-C while the new program starts brings the previous one back', async () => {
  const before = (await installation()).replace(/MainPID=.*/, '');
  // It never says that it is ready.
  const failing = failUpgrade(worksUntilStarted('exec sleep 1000'));
  await waitFor('the new program to start', async () => (await shell('cat /proc/$(systemctl show -P MainPID webrtc-box)/comm')).stdout === 'sleep\n');
  await shell('kill -INT $(pgrep -x -f "sh /root/install.sh") $(pgrep -x -f "systemctl restart webrtc-box.service")');
  assert.match(await failing, /previous webrtc-box is running again/);
  assert.equal((await installation()).replace(/MainPID=.*/, ''), before);
  assert.equal(await httpStatus(), '200');
});

test('an upgrade that was killed between two files can be rolled back, and repeated', async () => {
  const before = await installation();
  const program = (await shell('sha256sum </usr/local/bin/webrtc-box')).stdout;
  await failWith('mv', '$real "$@"; kill -9 $PPID');
  assert.equal(await mainPid(), /MainPID=(\d+)/.exec(before)[1]);
  assert.equal(await httpStatus(), '200');
  assert.notEqual((await shell('sha256sum </usr/local/bin/webrtc-box')).stdout, program);
  // Without a working program of its own, the next run restores the one from before the first.
  assert.match(await failUpgrade(worksUntilStarted('exit 3')), /previous webrtc-box is running again/);
  assert.equal((await installation()).replace(/MainPID=.*/, ''), before.replace(/MainPID=.*/, ''));
  assert.equal(await leftovers(), '');
});

test('a working program replaces the previous one', async () => {
  // The appended bytes make it a different program.
  const { stdout } = await shell('cp /root/working /root/webrtc-box && echo newer >>/root/webrtc-box && sha256sum </root/webrtc-box');
  await install();
  assert.equal((await shell('sha256sum </usr/local/bin/webrtc-box')).stdout, stdout);
  assert.equal((await shell('ls /usr/local/bin | grep webrtc-box; ls /etc/systemd/system | grep -E "old|new" || true')).stdout, 'webrtc-box\n');
  assert.equal(await httpStatus(), '200');
});
