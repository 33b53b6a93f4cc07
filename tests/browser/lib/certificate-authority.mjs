// A certificate authority for the tests. Browsers trust it through their own certificate stores, as an administrator
// would configure it; no browser ignores certificate errors.

import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
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

/** Makes the authority trusted in Chromium for the user with this home folder. */
export function trustInChromium(home, ca) {
  return copyTrustStore(path.join(home, '.pki/nssdb'), ca);
}

/** Makes the authority trusted in a Firefox profile. */
export function trustInFirefox(profile, ca) {
  return copyTrustStore(profile, ca);
}

/** Creating a store is slow because it syncs the disk: it is created once, next to the authority's certificate. */
async function copyTrustStore(target, ca) {
  const template = path.join(path.dirname(ca), 'nssdb');
  if (!existsSync(template)) await createTrustStore(template, ca);
  await cp(template, target, { recursive: true });
}

async function createTrustStore(store, ca) {
  const temporary = await mkdtemp(`${store}-`);
  await run('certutil', ['-N', '-d', `sql:${temporary}`, '--empty-password']);
  await run('certutil', ['-A', '-d', `sql:${temporary}`, '-n', 'webrtc-box-test', '-t', 'C,,', '-i', ca]);
  // Another browser's start may have created it meanwhile.
  await rename(temporary, store).catch(() => rm(temporary, { recursive: true }));
}
