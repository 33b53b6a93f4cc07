// A host with its own systemd as box.test, and an ACME authority that it trusts, in the test network.

import path from 'node:path';
import { after } from 'node:test';
import { createCertificateAuthority } from '../browser/lib/certificate-authority.mjs';
import { createHarness } from '../browser/lib/harness.mjs';
import { waitFor } from '../browser/lib/wait.mjs';
import { createWorkDir } from '../browser/lib/workspace.mjs';
import { launchParticipantOn, on, runOn } from '../nat/network.mjs';
import { startPebble } from './pebble.mjs';
import { bootHost } from './systemd-host.mjs';

const ADDRESS = '45.0.0.1';

/** The directory of this authority, for the setting acme-directory. */
export const ACME_DIRECTORY = 'https://acme.test:14000/dir';

/** Starts both for one test file, with a harness whose server is box.test. `files`: as for `bootHost`. */
export async function bootAcmeHost(name, { files } = {}) {
  const dir = await createWorkDir(name);
  const authority = await createCertificateAuthority(path.join(dir, 'authority'));
  const pebble = await startPebble({
    dir, on: on('pub'), address: ADDRESS, identity: await authority.issue('acme.test'), resolvesTo: { v4: '45.0.0.10', v6: '2a05:d000::10' },
  });
  after(() => pebble.stop());
  const vps = await bootHost({
    dir: path.join(dir, 'host'), files, inNamespace: on('server'),
    hosts: `127.0.0.1 localhost\n::1 localhost\n${ADDRESS} acme.test\n`, resolver: `nameserver ${ADDRESS}\noptions timeout:1 attempts:2\n`,
  });
  after(() => vps.shutDown());
  // The host trusts these authorities as it trusts those of the internet.
  await vps.copy(authority.ca, '/usr/local/share/ca-certificates/directory.crt');
  await vps.copy(pebble.root, '/usr/local/share/ca-certificates/pebble.crt');
  await vps.run('update-ca-certificates');
  const harness = await createHarness(`${name}-call`, {
    launch: launchParticipantOn, defaults: {}, authority: { ca: pebble.root }, start: async () => ({ origin: 'https://box.test', stop() {} }),
  });
  /** The HTTP status of the page for a client on host a1 that trusts the authority; 000 without an answer. */
  const httpStatus = async () => (await runOn('a1', 'curl', '-s', '-o', '/dev/null', '-m', '5', '-w', '%{http_code}', '--cacert', pebble.root, 'https://box.test/')
    .catch((error) => error)).stdout;
  const waitForPage = () => waitFor('the page with a trusted certificate', async () => (await httpStatus()) === '200', 90_000);
  return { dir, vps, pebble, harness, httpStatus, waitForPage };
}
