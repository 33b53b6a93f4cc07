// A certificate authority that speaks ACME (Pebble) and a DNS of our own, on one host of the tests' internet.
//
// It looks at whoever asks for a certificate for real: by the DNS, over the network, by TLS-ALPN-01 on port 443.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { run, until } from '../browser/lib/work.mjs';

/**
 * Starts both on the host that `on` runs programs on, at `address`. `identity`: a certificate and its key for
 * the directory's own HTTPS; `box`: the addresses that the DNS gives for every name.
 */
export async function startPebble({ dir, on, address, identity, box: { v4, v6 } }) {
  const config = path.join(dir, 'pebble.json');
  await writeFile(config, JSON.stringify({ pebble: {
    listenAddress: `${address}:14000`, managementListenAddress: `${address}:15000`,
    certificate: identity.cert, privateKey: identity.key, httpPort: 80, tlsPort: 443,
    ocspResponderURL: '', externalAccountBindingRequired: false,
  } }));
  const programs = [
    ['pebble-challtestsrv', '-defaultIPv4', v4, '-defaultIPv6', v6, '-dns01', `${address}:53`, '-http01', '', '-https01', '',
      '-tlsalpn01', '', '-management', `${address}:8055`],
    ['pebble', '-config', config, '-dnsserver', `${address}:53`],
  ].map((words) => {
    const [program, ...args] = [...on, ...words];
    // It refuses one nonce in twenty by chance, and certbot comes only once more; the box is tried with that elsewhere.
    const env = { ...process.env, PEBBLE_VA_NOSLEEP: '1', PEBBLE_WFE_NONCEREJECT: '0' };
    return spawn(program, args, { stdio: 'ignore', env });
  });
  process.once('exit', () => programs.forEach((one) => one.kill('SIGKILL')));

  // The root changes with each start; who trusts it must ask for it.
  const root = path.join(dir, 'pebble-root.pem');
  const ask = [...on, 'curl', '-sfk', '-o', root, `https://${address}:15000/roots/0`];
  await until('Pebble to answer', () => run(ask[0], ask.slice(1)).then(() => true));
  return {
    root,
    async end() {
      for (const one of programs) {
        one.kill('SIGKILL');
        if (one.exitCode === null && one.signalCode === null) await once(one, 'exit');
      }
    },
  };
}
