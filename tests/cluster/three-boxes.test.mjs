// Three boxes in ten commands, run as docs/scaling.md has them: by ssh, on fresh hosts with their own systemd and one for the store, with
// certificates from an ACME authority in the test network. Then two people who reach different boxes have a call.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { appendFile, chmod, copyFile, cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after } from 'node:test';
import { createCertificateAuthority } from '../browser/lib/certificate-authority.mjs';
import { createHarness } from '../browser/lib/harness.mjs';
import { binary } from '../browser/lib/server.mjs';
import { waitFor } from '../browser/lib/wait.mjs';
import { createWorkDir, findInDocs, root, run } from '../browser/lib/workspace.mjs';
import { launchParticipantOn, on, runOn, spawnOn } from '../nat/network.mjs';
import { startPebble } from '../vps/pebble.mjs';
import { bootHost } from '../vps/systemd-host.mjs';

const DOMAIN = 'call.example.com';
const BOXES = [1, 2, 3].map((number) => ({ host: `box${number}`, name: `b${number}.${DOMAIN}`, address: `45.0.1${number}.10` }));
/** Browsers of the other tests ask for names below `.test` only. */
const RESOLVED_NAMES = `--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE ${DOMAIN}, EXCLUDE *.${DOMAIN}`;
const NAME_SERVER = '45.0.0.1';
const [, COMMANDS] = await findInDocs(/## Three boxes in ten commands\n[^]*?```sh\n([^]*?)\n```/);
const [, STORE] = /ssh root@([\d.]+) apt-get/.exec(COMMANDS);

const dir = await createWorkDir('cluster-three-boxes');
const authority = await createCertificateAuthority(path.join(dir, 'authority'));
const names = { 'acme.test': [NAME_SERVER], [DOMAIN]: [BOXES[0].address], ...Object.fromEntries(BOXES.map(({ name, address }) => [name, [address]])) };
const dns = await spawnOn('pub', '../cluster/lib/dns-server.mjs', 'createDnsServer', NAME_SERVER, names);
after(() => dns.close());
const pebble = await startPebble({ dir, on: on('pub'), address: NAME_SERVER, identity: await authority.issue('acme.test') });
after(() => pebble.stop());
await runOn('store', 'ip', 'address', 'add', `${STORE}/32`, 'dev', 'wan');
await runOn('pub', 'ip', 'route', 'add', STORE, 'via', '45.0.20.10');

const sshKey = path.join(dir, 'ssh-key');
await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', sshKey]);
const [boxes, storeHost] = await Promise.all([Promise.all(BOXES.map(({ host }) => bootBox(host))), bootSshHost('store')]);
// The package made this folder; hosts have a log folder of their own.
await storeHost.run('install', '-d', '-o', 'redis', '-g', 'adm', '/var/log/redis');
after(() => Promise.all([...boxes, storeHost].map((host) => host.shutDown())));
const checkout = await createCheckout();

/** A host that its operator reaches by ssh. */
async function bootSshHost(name) {
  const host = await bootHost({ dir: path.join(dir, name), inNamespace: on(name), resolver: `nameserver ${NAME_SERVER}\noptions timeout:1 attempts:2\n` });
  await host.copy(`${sshKey}.pub`, '/root/.ssh/authorized_keys');
  await host.run('mkdir', '-p', '/etc/dropbear');
  await host.run('systemd-run', '--quiet', '--unit=ssh-server', 'dropbear', '-F', '-R');
  return host;
}

/** Trusts the authorities of the test network as it trusts those of the internet. */
async function bootBox(name) {
  const host = await bootSshHost(name);
  await host.copy(authority.ca, '/usr/local/share/ca-certificates/directory.crt');
  await host.copy(pebble.root, '/usr/local/share/ca-certificates/pebble.crt');
  await host.run('update-ca-certificates');
  return host;
}

/** A folder with what the commands use of a checkout, and the operator's ssh. */
async function createCheckout() {
  const folder = path.join(dir, 'checkout');
  await cp(path.join(root, 'config'), path.join(folder, 'config'), { recursive: true });
  await mkdir(path.join(folder, 'target/release'), { recursive: true });
  await copyFile(binary, path.join(folder, 'target/release/webrtc-box'));
  const passwords = ['PASSWORD', 'ADMIN-PASSWORD'].map((name) => [name, randomBytes(32).toString('hex')]);
  const storeSettings = path.join(folder, 'config/redis.conf');
  const text = passwords.reduce((edited, [name, password]) => edited.replace(`>${name} `, `>${password} `), await readFile(storeSettings, 'utf8'));
  assert.match(text, new RegExp(`^bind 127\\.0\\.0\\.1 ${STORE.replaceAll('.', '\\.')}$`, 'm'), 'the example names the address of the commands');
  await writeFile(storeSettings, text);

  const sshConfig = path.join(dir, 'ssh-config');
  await writeFile(sshConfig, `IdentityFile ${sshKey}\nStrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\n`);
  const bin = path.join(dir, 'bin');
  await mkdir(bin);
  for (const program of ['ssh', 'scp']) {
    await writeFile(path.join(bin, program), `#!/bin/sh\nexec /usr/bin/${program} -F ${sshConfig} "$@"\n`);
    await chmod(path.join(bin, program), 0o755);
  }
  const environment = ['env', `PATH=${bin}:${process.env.PATH}`, `PASSWORD=${passwords[0][1]}`];
  return {
    /** Runs a command of the docs on a host of another network. */
    run: (command) => runOn('a2', ...environment, 'bash', '-ec', `cd "$0" && ${command}`, folder),
    /** The ACME directory is the only setting that the test changes. */
    useTestAuthority: () => appendFile(path.join(folder, 'deploy/cluster-flags'), '--acme-directory https://acme.test:14000/dir\n'),
  };
}

const harness = await createHarness('cluster-three-boxes-call', {
  launch: launchParticipantOn, defaults: {}, authority: { ca: pebble.root }, start: async () => ({ origin: `https://${DOMAIN}`, stop() {} }),
});

/** What `webrtc-box nodes` on the first box says. */
async function listNodes() {
  const { stdout } = await boxes[0].run('webrtc-box', 'nodes', '--json');
  return JSON.parse(stdout).nodes;
}

harness.scenario('ten commands make three boxes one service', async (context) => {
  const commands = COMMANDS.split('\n');
  assert.equal(commands.length, 10);
  const startedAt = Date.now();
  let output;
  for (const command of commands) {
    // The program is built already.
    output = await checkout.run(command.replace('cargo build --release && ', '')).catch(async (error) => {
      const journals = await Promise.all([storeHost.journal('redis-server.service'), ...boxes.map((box) => box.journal('webrtc-box.service'))]);
      throw new Error(`${command}: ${error.message}${error.stdout}\n${journals.join('\n')}`);
    });
    context.diagnostic(`${Date.now() - startedAt} ms: ${command.slice(0, 60)}`);
    if (command.startsWith('printf')) await checkout.useTestAuthority();
  }
  context.diagnostic(output.stdout);
  for (const { name } of BOXES) assert.match(output.stdout, new RegExp(`^${name} +\\S+ +\\d+ +\\d+% +serving +`, 'm'));
  await waitFor('each box to serve both names', async () => {
    for (const { name, address } of BOXES) {
      for (const served of [DOMAIN, name]) {
        await runOn('a1', 'curl', '-sf', '-o', '/dev/null', '-m', '5', '--cacert', pebble.root, '--connect-to', `${served}:443:${address}:443`, `https://${served}/healthz`);
      }
    }
    return true;
  });
}, 300_000);

harness.scenario('two people who reach different boxes have one call', async () => {
  await dns.set(DOMAIN, BOXES.map(({ address }) => address));
  const url = harness.roomUrl('?relay=1');
  const pages = [];
  for (const [index, [kind, options]] of [['chromium', { host: 'a1', flags: [RESOLVED_NAMES] }], ['firefox', { host: 'b1' }]].entries()) {
    await dns.putFirst(BOXES[index].address);
    const page = await harness.participant(kind, options);
    await page.open(url);
    await page.join();
    if (index === 0) await page.waitForState('waiting');
    pages.push(page);
  }
  await harness.expectMedia(pages);
  await waitFor('the first box to have the room', async () => {
    const rooms = (await listNodes()).map(({ name, rooms: count }) => [name, count]);
    assert.deepEqual(Object.fromEntries(rooms), { [BOXES[0].name]: 1, [BOXES[1].name]: 0, [BOXES[2].name]: 0 });
    return true;
  });
  await pages[0].leave();
});
