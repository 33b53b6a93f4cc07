// A certificate authority for the tests. Browsers trust it through their own certificate stores, as an administrator
// would configure it; no browser ignores certificate errors.

import { mkdir, writeFile, readFile } from 'node:fs/promises';
import path from 'node:path';
import { run } from './workspace.mjs';

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '7', '-batch'];

/** Creates an authority under `dir`. `issue(name, …)` creates a certificate for these names or addresses once and then
 *  returns the same files, because a server may be reading them. */
export async function createCertificateAuthority(dir) {
  await mkdir(dir, { recursive: true });
  const ca = path.join(dir, 'ca.pem');
  const caKey = path.join(dir, 'ca.key');
  await run('openssl', ['req', '-x509', ...KEY, '-keyout', caKey, '-out', ca, '-subj', '/CN=webrtc-box test authority',
    '-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign,cRLSign']);

  /** @type {Map<string, Promise<{cert: string, key: string}>>} */
  const issued = new Map();

  function issue(...names) {
    const [name] = names;
    if (!issued.has(name)) issued.set(name, create(names));
    return issued.get(name);
  }

  async function create(names) {
    const cert = path.join(dir, `${names[0]}.pem`);
    const key = path.join(dir, `${names[0]}.key`);
    const san = names.map((name) => (/^[\d.]+$|:/.test(name) ? `IP:${name}` : `DNS:${name}`)).join(',');
    await run('openssl', ['req', '-x509', '-CA', ca, '-CAkey', caKey, ...KEY, '-keyout', key, '-out', cert,
      '-subj', `/CN=${names[0]}`, '-addext', `subjectAltName=${san}`, '-addext', 'basicConstraints=critical,CA:FALSE',
      '-addext', 'keyUsage=critical,digitalSignature', '-addext', 'extendedKeyUsage=serverAuth']);
    await writeFile(cert, (await readFile(cert, 'utf8')) + (await readFile(ca, 'utf8')));
    return { cert, key };
  }

  return { ca, issue };
}

/** Adds the authority to the store that Chromium reads for the user with this home folder. */
export function trustInChromium(home, ca) {
  return trust(path.join(home, '.pki/nssdb'), ca);
}

/** Adds the authority to a Firefox profile. */
export function trustInFirefox(profile, ca) {
  return trust(profile, ca);
}

async function trust(store, ca) {
  await mkdir(store, { recursive: true });
  await run('certutil', ['-N', '-d', `sql:${store}`, '--empty-password']);
  await run('certutil', ['-A', '-d', `sql:${store}`, '-n', 'webrtc-box-test', '-t', 'C,,', '-i', ca]);
}
