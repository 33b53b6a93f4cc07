// A new Debian or Ubuntu on which the documented commands install the Debian package, up to a call.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ENDED_STATES } from '../browser/lib/harness.mjs';
import { ACME_DIRECTORY, bootAcmeHost } from '../vps/acme-host.mjs';
import { debianPackage, documentedCommands, system } from './release.mjs';

const SETTINGS = '/etc/webrtc-box/webrtc-box.toml';

/** The documented commands of an installation, with the authority of the tests instead of Let's Encrypt. */
async function installCommands() {
  const commands = await documentedCommands(/apt install \.\/webrtc-box\S*\.deb\n/);
  return commands.replace(/^webrtc-box setup.*$/m, `$& --acme-directory ${ACME_DIRECTORY}`);
}

/**
 * Boots a new system of `suite`, and defines the test that installs the package on it and calls. Returns the host and
 * what the next tests need, or nothing if there is no such system: then the test is skipped.
 */
export async function testInstallation(suite, { deb = debianPackage } = {}) {
  const title = `on ${suite}, the package gets a certificate and a call works`;
  const { files, reason } = await system(suite);
  if (!files) return void test(title, { skip: reason });
  const host = await bootAcmeHost(`packages-${suite}`, { files });
  const { harness, vps } = host;
  await vps.copy(await deb(), '/root/webrtc-box.deb');
  host.shell = async (script) => (await vps.run('sh', '-ec', script)).stdout;

  harness.scenario(title, async (context) => {
    const commands = (await installCommands()).trim().split('\n');
    const startedAt = Date.now();
    const [install, ...rest] = commands;
    await host.shell(install.replace('apt install', 'DEBIAN_FRONTEND=noninteractive apt-get install -y'));
    assert.equal(await host.shell('systemctl is-enabled webrtc-box || true; systemctl is-active webrtc-box || true'), 'disabled\ninactive\n', 'no domain is set');
    assert.equal(await host.shell(`stat -c "%a %U %G" ${SETTINGS}`), '640 root webrtc-box\n');
    await host.shell(rest.join('\n'));
    await host.waitForPage();
    context.diagnostic(`measurement: from the first command to the page with a trusted certificate: ${Date.now() - startedAt} ms`);
    const pair = await harness.joinPair([['chromium', { host: 'a1' }], ['chromium', { host: 'b1' }]], `${harness.roomUrl()}?relay=1`);
    await harness.expectMedia(pair);
    // A participant who has left does not delay a restart.
    await pair[0].leave();
    await pair[1].waitForState(ENDED_STATES);
  });
  return host;
}
