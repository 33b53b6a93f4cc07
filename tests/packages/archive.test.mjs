// The archive of the release: what it has, what it needs, and its installation on a new Debian 12 without a package.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { run } from '../browser/lib/workspace.mjs';
import { ACME_DIRECTORY, bootAcmeHost } from '../vps/acme-host.mjs';
import { archive, debianPackage, dist, documentedCommands, program, releaseFile, system } from './release.mjs';

test('the checksums are those of the files', () => run('sha256sum', ['--check', '--strict', 'SHA256SUMS'], { cwd: dist }));

test('the program needs no more than glibc 2.28 and has no debug information', async () => {
  const { stdout } = await run('objdump', ['-T', program], { maxBuffer: 1 << 26 });
  const versions = [...stdout.matchAll(/GLIBC_(\d+)\.(\d+)/g)].map(([, major, minor]) => Number(major) * 1000 + Number(minor));
  assert.ok(versions.length > 50, 'it uses the C library of the system');
  assert.ok(Math.max(...versions) <= 2028, `${Math.max(...versions)}`);
  const sections = (await run('objdump', ['-h', program])).stdout;
  assert.doesNotMatch(sections, /\.debug_info|\.symtab/);
  assert.match(sections, /\.gnu_debuglink/);
});

test('the debug information names lines of the source, and no folder of this machine', async () => {
  const debug = await releaseFile('-linux.debug');
  const { stdout } = await run('objdump', ['--dwarf=decodedline', '-j', '.debug_line', debug], { maxBuffer: 1 << 30 }).catch((error) => error);
  assert.match(stdout, /main\.rs/);
  for (const file of [program, debug]) assert.ok(!(await readFile(file)).includes(path.resolve(dist, '..')), file);
});

test('the list of components names the crates that are built in', async () => {
  const { components } = JSON.parse(await readFile(await releaseFile('.cdx.json'), 'utf8'));
  const names = components.map(({ name }) => name);
  for (const name of ['rustls', 'tokio', 'webrtc-box-turn']) assert.ok(names.includes(name), name);
  assert.ok(!names.includes('proptest'), 'tests are not built in');
});

test('the Debian package has no faults that lintian knows', async (context) => {
  const { stdout } = await run('lintian', ['--allow-root', '--fail-on', 'error,warning', await debianPackage()])
    .catch((error) => { throw new Error(error.stdout || error.message); });
  context.diagnostic(stdout);
});

const { files, reason } = await system('bookworm');
if (reason) test('the documented commands install the archive', { skip: reason });
else {
  const { harness, vps, waitForPage } = await bootAcmeHost('packages-archive', { files });
  harness.scenario('the documented commands install the archive', async () => {
    const [unpack, install] = (await documentedCommands(/tar xf webrtc-box\S*\.tar\.gz/)).trim().split('\n');
    await vps.copy(await archive(), '/root/webrtc-box.tar.gz');
    await vps.run('sh', '-ec', `${unpack}\n${install} --acme-directory ${ACME_DIRECTORY}`);
    await waitForPage();
    const { stdout } = await vps.run('sh', '-ec', 'cd /root && ls webrtc-box-*/man webrtc-box-*/completions && webrtc-box --version');
    assert.match(stdout, /_webrtc-box\n[^]*webrtc-box\.1\n[^]*webrtc-box 0/);
    await assert.rejects(async () => {
      await vps.copy(await debianPackage(), '/root/webrtc-box.deb');
      await vps.run('apt-get', 'install', '-y', '/root/webrtc-box.deb');
    }, (error) => /install\.sh --remove/.test(error.stderr + error.stdout));
    assert.equal((await vps.run('systemctl', 'is-active', 'webrtc-box')).stdout, 'active\n');
  });
}
