// Starts an ACME certificate authority (Pebble) on a host of the test network, with a DNS server of its own if there is no other.
//
// It validates over the network: it resolves names by DNS and connects to port 443 for TLS-ALPN-01.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { waitFor } from '../browser/lib/wait.mjs';
import { run } from '../browser/lib/workspace.mjs';

/**
 * Starts it with the command prefix `on`, at `address`. `identity`: certificate and key of the ACME directory's HTTPS;
 * `resolvesTo`: the addresses that its DNS server returns for every name; without them, another one must listen at `address`.
 */
export async function startPebble({ dir, on, address, identity, resolvesTo }) {
  const config = path.join(dir, 'pebble.json');
  await writeFile(config, JSON.stringify({ pebble: {
    listenAddress: `${address}:14000`, managementListenAddress: `${address}:15000`,
    certificate: identity.cert, privateKey: identity.key, httpPort: 80, tlsPort: 443,
    ocspResponderURL: '', externalAccountBindingRequired: false,
  } }));
  const dnsServer = resolvesTo && ['pebble-challtestsrv', '-defaultIPv4', resolvesTo.v4, '-defaultIPv6', resolvesTo.v6, '-dns01', `${address}:53`, '-http01', '',
    '-https01', '', '-tlsalpn01', '', '-management', `${address}:8055`];
  const children = [dnsServer, ['pebble', '-config', config, '-dnsserver', `${address}:53`]].filter(Boolean).map((command) => {
    const [program, ...args] = [...on, ...command];
    // By default Pebble rejects one nonce in twenty, and certbot retries only once. The server's own client is tested with
    // rejected nonces in tests/acme.
    const env = { ...process.env, PEBBLE_VA_NOSLEEP: '1', PEBBLE_WFE_NONCEREJECT: '0' };
    return spawn(program, args, { stdio: 'ignore', env });
  });
  process.once('exit', () => children.forEach((child) => child.kill('SIGKILL')));

  // The root certificate is new with each start.
  const rootFile = path.join(dir, 'pebble-root.pem');
  const download = [...on, 'curl', '-sfk', '-o', rootFile, `https://${address}:15000/roots/0`];
  await waitFor('Pebble to answer', () => run(download[0], download.slice(1)).then(() => true));
  return {
    root: rootFile,
    async stop() {
      for (const child of children) {
        child.kill('SIGKILL');
        if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      }
    },
  };
}
