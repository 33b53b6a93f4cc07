// A certificate authority of the tests' own, and how browsers come to trust it: through their own
// certificate stores, as an administrator would do it. No browser is told to ignore a bad certificate.

import { mkdir, writeFile, readFile } from 'node:fs/promises';
import path from 'node:path';
import { run } from './work.mjs';

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '7', '-batch'];

/** Makes an authority under `dir`; `issue(name, …)` then makes a certificate for these names or addresses, and gives
 *  the same one to whoever asks for it again: files that a server may just be reading are not written anew. */
export async function makeAuthority(dir) {
  await mkdir(dir, { recursive: true });
  const ca = path.join(dir, 'ca.pem');
  const caKey = path.join(dir, 'ca.key');
  await run('openssl', ['req', '-x509', ...KEY, '-keyout', caKey, '-out', ca, '-subj', '/CN=webrtc-box test authority',
    '-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign,cRLSign']);

  /** @type {Map<string, Promise<{cert: string, key: string}>>} */
  const issued = new Map();

  function issue(...names) {
    const [name] = names;
    if (!issued.has(name)) issued.set(name, make(names));
    return issued.get(name);
  }

  async function make(names) {
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

/** Puts the authority into the store that Chromium reads for the user whose home this is. */
export function trustInChromium(home, ca) {
  return trust(path.join(home, '.pki/nssdb'), ca);
}

/** Puts the authority into a Firefox profile. */
export function trustInFirefox(profile, ca) {
  return trust(profile, ca);
}

async function trust(store, ca) {
  await mkdir(store, { recursive: true });
  await run('certutil', ['-N', '-d', `sql:${store}`, '--empty-password']);
  await run('certutil', ['-A', '-d', `sql:${store}`, '-n', 'webrtc-box-test', '-t', 'C,,', '-i', ca]);
}
