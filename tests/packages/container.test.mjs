// The container image, run by Podman with the command of docs/containers.md, on a host with its own systemd: no root, no
// writable root file system, one capability. Podman cannot set cgroups or raise limits in such a host, so it does neither.

import assert from 'node:assert/strict';
import { access, readFile } from 'node:fs/promises';
import path from 'node:path';
import { after, test } from 'node:test';
import { createCertificateAuthority } from '../browser/lib/certificate-authority.mjs';
import { createHarness } from '../browser/lib/harness.mjs';
import { waitFor } from '../browser/lib/wait.mjs';
import { createWorkDir, findInDocs, root, run } from '../browser/lib/workspace.mjs';
import { launchParticipantOn, on, runOn } from '../nat/network.mjs';
import { startPebble } from '../vps/pebble.mjs';
import { bootHost } from '../vps/systemd-host.mjs';
import { program } from './release.mjs';

const ACME_ADDRESS = '45.0.0.1';
const ACME = 'https://acme.test:14000/dir';
const CONTAINERS_CONF = '[containers]\ncgroups = "disabled"\ndefault_ulimits = ["nofile=10000:10000", "nproc=10000:10000"]\n';
/** What Kubernetes sets for Services named webrtc-box and webrtc-box-turn. */
const SERVICE_LINKS = {
  WEBRTC_BOX_SERVICE_HOST: '10.96.0.12', WEBRTC_BOX_SERVICE_PORT: '443', WEBRTC_BOX_SERVICE_PORT_HTTPS: '443',
  WEBRTC_BOX_PORT: 'tcp://10.96.0.12:443', WEBRTC_BOX_PORT_443_TCP: 'tcp://10.96.0.12:443', WEBRTC_BOX_PORT_443_TCP_ADDR: '10.96.0.12',
  WEBRTC_BOX_PORT_443_TCP_PORT: '443', WEBRTC_BOX_PORT_443_TCP_PROTO: 'tcp',
  WEBRTC_BOX_TURN_SERVICE_HOST: '10.96.0.13', WEBRTC_BOX_TURN_SERVICE_PORT: '3478', WEBRTC_BOX_TURN_PORT: 'udp://10.96.0.13:3478',
  WEBRTC_BOX_TURN_PORT_3478_UDP: 'udp://10.96.0.13:3478', WEBRTC_BOX_TURN_PORT_3478_UDP_ADDR: '10.96.0.13',
};

const dir = await createWorkDir('packages-container');
const authority = await createCertificateAuthority(path.join(dir, 'authority'));
const pebble = await startPebble({
  dir, on: on('pub'), address: ACME_ADDRESS, identity: await authority.issue('acme.test'), resolvesTo: { v4: '45.0.0.10', v6: '2a05:d000::10' },
});
const host = await bootHost({
  dir: path.join(dir, 'host'), inNamespace: on('server'),
  hosts: `127.0.0.1 localhost\n::1 localhost\n${ACME_ADDRESS} acme.test\n45.0.0.10 box.test\n`,
});
after(() => Promise.all([host.shutDown(), pebble.stop()]));
const shell = async (script, ...args) => (await host.run('sh', '-c', script, 'sh', ...args)).stdout;

// The image is built on the machine and loaded on the host.
const image = `localhost/webrtc-box-test-${process.pid}`;
const archive = path.join(dir, 'image.tar');
await run(path.join(root, 'packaging/container/build.sh'), [process.env.BOX_BIN ?? program, image]);
await run('buildah', ['push', '--quiet', image, `docker-archive:${archive}:localhost/webrtc-box:latest`]);
await run('buildah', ['rmi', image]);
// Layers can be stacked on a file system in memory, not on that of the host.
await shell(`mount -t tmpfs tmpfs /var/lib/containers && printf '${CONTAINERS_CONF}' >/etc/containers/containers.conf && ln -sf /usr/bin/podman /usr/local/bin/docker`);
await host.copy(archive, '/tmp/image.tar');
await shell('podman load -q -i /tmp/image.tar && rm /tmp/image.tar');
await host.copy(authority.ca, '/root/authority.pem');
await host.copy(pebble.root, '/root/pebble.pem');

// The documented command, with the names of the test network and with an authority that is not a public one.
const [, documented] = await findInDocs(/```sh\n(docker run -d --name webrtc-box [^]*?)\n```/);
const links = Object.entries(SERVICE_LINKS).map(([name, value]) => `-e ${name}=${value}`).join(' ');
const runCommand = documented.replace('call.example.com', 'box.test').replace('you@example.com', 'admin@box.test')
  .replace(/--ulimit \S+/, '').replace(/\n  webrtc-box$/, `\n  ${links} -e WEBRTC_BOX_ACME_DIRECTORY=${ACME} -e SSL_CERT_FILE=/authority.pem -e WEBRTC_BOX_DRAIN_TIMEOUT=10 -v /root/authority.pem:/authority.pem:ro $EXTRA webrtc-box`);

const harness = await createHarness('packages-container-call', {
  launch: launchParticipantOn, defaults: {}, authority: { ca: pebble.root }, start: async () => ({ origin: 'https://box.test', stop() {} }),
});
const inspect = async (format) => (await shell('podman inspect -f "$1" webrtc-box', format)).trim();
const logs = () => shell('podman logs webrtc-box 2>&1');
const processStatus = async () => {
  const text = await shell('cat /proc/$(podman inspect -f "{{.State.Pid}}" webrtc-box)/status');
  return (name) => new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(text)[1];
};
const hasCertificate = () => runOn('a1', 'curl', '-sf', '-m', '5', '-o', '/dev/null', '--cacert', pebble.root, 'https://box.test/').then(() => true, () => false);
const healthcheck = () => host.run('docker', 'exec', 'webrtc-box', 'webrtc-box', 'healthcheck');

harness.scenario('the documented command gets a certificate and starts a healthy box', async (context) => {
  const startedAt = Date.now();
  await shell(runCommand);
  await waitFor('the page with a trusted certificate', hasCertificate).catch(async (error) => { throw new Error(`${error.message}\n${await logs()}`); });
  context.diagnostic(`measurement: from docker run to the page with a trusted certificate: ${Date.now() - startedAt} ms`);
  context.diagnostic(`measurement: size of the image: ${await shell('podman image inspect -f "{{.Size}}" webrtc-box')}`);
  await healthcheck();
  // Podman runs the check of the image by a timer of systemd.
  await waitFor('podman to report a healthy container', async () => (await inspect('{{.State.Health.Status}}')) === 'healthy', 45_000);
});

harness.scenario('it has no root, one capability, no writable file but its state, and no zombie', async () => {
  const status = await processStatus();
  assert.equal(status('Uid'), '65532');
  assert.equal(status('Gid'), '65532');
  assert.equal(status('NSpid'), await inspect('{{.State.Pid}}'));
  assert.equal(BigInt(`0x${status('CapEff')}`), 1n << 10n, 'CAP_NET_BIND_SERVICE');
  assert.equal(BigInt(`0x${status('CapBnd')}`), 1n << 10n);
  const mounts = await shell('cat /proc/$(podman inspect -f "{{.State.Pid}}" webrtc-box)/mounts');
  const writable = mounts.split('\n').filter((line) => / rw,/.test(line)).map((line) => line.split(' ')[1]);
  assert.ok(!writable.includes('/') && writable.includes('/var/lib/webrtc-box'), writable.join(' '));
  // Each health check was a process of the container.
  assert.doesNotMatch(await shell('ps -e -o stat,comm'), /^Z/m);
});

harness.scenario('a call works through it, over the relay', async () => {
  const pair = await harness.joinPair([['chromium', { host: 'a1' }], ['chromium', { host: 'b1' }]], `${harness.roomUrl()}?relay=1`);
  await harness.expectMedia(pair);
});

harness.scenario('the settings can be reloaded by a signal', async () => {
  await shell('docker kill -s HUP webrtc-box');
  await waitFor('the log of the reload', async () => /reload/i.test(await logs()));
  assert.equal(await inspect('{{.State.Running}}'), 'true');
});

harness.scenario('stopping it drains, and a new container with the volume continues the calls', async () => {
  const keys = () => shell('cd "$(podman volume inspect -f "{{.Mountpoint}}" webrtc-box)" && find . -type f | sort | xargs sha256sum');
  const before = await keys();
  assert.match(before, /resume-token-key[^]*turn-secret/);
  const pair = await harness.joinPair([['chromium', { host: 'a1' }], ['chromium', { host: 'b1' }]], `${harness.roomUrl()}?relay=1`);
  await harness.expectMedia(pair);
  const stoppedAt = Date.now();
  await shell('docker stop webrtc-box');
  assert.ok(Date.now() - stoppedAt >= 9_000, 'it waits for the call up to drain-timeout');
  assert.equal(await inspect('{{.State.ExitCode}}'), '0');
  assert.match(await logs(), /stopping; calls may end/);
  await shell('docker rm webrtc-box');
  await shell(runCommand);
  await harness.expectMedia(pair);
  assert.equal(await keys(), before);
});

harness.scenario('it starts without new privileges and without the capability where low ports are free', async () => {
  await shell('docker rm -f -t 0 webrtc-box; install -d -o 65532 -g 65532 /tmp/state');
  const mount = (await shell('podman image mount webrtc-box')).trim();
  // Docker passes the capability on in the bounding set alone, as setpriv does here.
  const start = (privileges, flags) => shell(`
    program=${mount}/usr/bin/webrtc-box
    setpriv --reuid 65532 --regid 65532 --clear-groups --inh-caps -all ${privileges} $program --state-dir /tmp/state ${flags} >/tmp/log 2>&1 &
    until $program healthcheck 2>/dev/null || ! kill -0 $!; do sleep 0.1; done
    kill $!; wait $!; echo "exit code $?"; cat /tmp/log`);
  const low = '--https-port 443 --http-port 80';
  assert.match(await start('--bounding-set -all,+net_bind_service', low), /exit code 0[^]*listening/);
  assert.match(await start('--bounding-set -all', low), /exit code 1[^]*CAP_NET_BIND_SERVICE/);
  assert.match(await start('--bounding-set -all --no-new-privs', '--https-port 8443 --http-port 8080'), /exit code 0[^]*listening/);
});

test('the Containerfile and build.sh describe the same image', async () => {
  const text = await readFile(path.join(root, 'packaging/container/Containerfile'), 'utf8');
  const last = text.slice(text.lastIndexOf('\nFROM '));
  const instruction = (name) => new RegExp(`^${name} (.*)$`, 'm').exec(last)[1];
  const { Config: config, Healthcheck: healthCheck } = JSON.parse(await shell('podman image inspect webrtc-box'))[0];
  assert.equal(config.User, instruction('USER'));
  assert.ok(config.Env.includes(instruction('ENV')));
  assert.deepEqual(Object.keys(config.Volumes), [instruction('VOLUME')]);
  assert.deepEqual(Object.keys(config.ExposedPorts).sort(), instruction('EXPOSE').split(' ').sort());
  assert.deepEqual(config.Entrypoint, JSON.parse(instruction('ENTRYPOINT')));
  assert.equal(config.StopSignal, instruction('STOPSIGNAL'));
  const { Test: [, ...command], ...times } = healthCheck;
  const [, interval, timeout, startPeriod, check] = /--interval=(\d+)s --timeout=(\d+)s --start-period=(\d+)s CMD (.*)/.exec(instruction('HEALTHCHECK'));
  assert.deepEqual(command, JSON.parse(check));
  assert.deepEqual([times.Interval, times.Timeout, times.StartPeriod], [interval, timeout, startPeriod].map((seconds) => seconds * 1e9));
});

test('the Compose file is valid', async () => {
  const { stdout } = await run('docker-compose', ['-f', path.join(root, 'packaging/container/compose.yaml'), 'config']);
  assert.match(stdout, /read_only: true/);
});

test('the Kubernetes manifest makes a container with the limits it describes', async () => {
  await shell('podman rm -f webrtc-box; podman volume rm -f webrtc-box');
  const manifest = (await readFile(path.join(root, 'packaging/container/kubernetes.yaml'), 'utf8')).replace(/image: .*/, 'image: localhost/webrtc-box');
  await shell('printf %s "$1" >/root/kubernetes.yaml', manifest);
  // A pod needs cgroups, so it is created and not started.
  await shell('podman play kube --start=false /root/kubernetes.yaml');
  const [created] = JSON.parse(await shell('podman inspect webrtc-box-pod-0-webrtc-box'));
  assert.equal(created.Config.User, '65532:65532');
  assert.deepEqual(created.BoundingCaps, ['CAP_NET_BIND_SERVICE']);
  assert.equal(created.HostConfig.ReadonlyRootfs, true);
  assert.ok(created.Config.Env.includes('WEBRTC_BOX_DOMAIN=call.example.com'));
  assert.deepEqual(created.Mounts.map(({ Name, Destination }) => [Name, Destination]), [['webrtc-box', '/var/lib/webrtc-box']]);
  assert.match(created.Config.Healthcheck.Test.join(' '), /\/usr\/bin\/webrtc-box healthcheck/);
});

const QUADLET = '/usr/libexec/podman/quadlet';
const hasQuadlet = await access(QUADLET).then(() => true, () => false);
test('the Quadlet file becomes a service with the documented options', { skip: !hasQuadlet && 'this Podman has no quadlet: 4.4 or later has' }, async () => {
  const { stdout } = await run('env', [`QUADLET_UNIT_DIRS=${path.join(root, 'packaging/container')}`, QUADLET, '-dryrun']);
  const [, command] = /^ExecStart=(.*)$/m.exec(stdout);
  for (const option of ['--network host', '--read-only', '--cap-drop all', '--cap-add net_bind_service', '--stop-timeout=75', '-v webrtc-box:/var/lib/webrtc-box']) {
    assert.ok(command.includes(option), `${option} in ${command}`);
  }
});
