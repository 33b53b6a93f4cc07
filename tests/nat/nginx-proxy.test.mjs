// The server behind a reverse proxy: Debian's nginx with exactly the configuration of the documentation.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after } from 'node:test';
import { createCertificateAuthority } from '../browser/lib/certificate-authority.mjs';
import { createWorkDir, findInDocs } from '../browser/lib/workspace.mjs';
import { relayTransports, runCheck } from './doctor.mjs';
import { createNetworkHarness, on, runOn } from './network.mjs';

const dir = await createWorkDir('nat-nginx');
const authority = await createCertificateAuthority(path.join(dir, 'authority'));
const { cert, key } = await authority.issue('box.test');
const nginx = await startNginx();
after(async () => {
  nginx.kill();
  await once(nginx, 'exit');
});
const harness = await createNetworkHarness('nat-nginx-proxy', {
  flags: ['--trusted-proxy', '127.0.0.1', '--trusted-proxy', '::1'], ports: { https: 0, http: 8080, page: 443 }, authority,
});

/** nginx on the server's host with the documented server block, for our name and certificate. */
async function startNginx() {
  const [, serverBlock] = await findInDocs(/```nginx\n([^]*?)```/);
  const server = serverBlock.replaceAll('/etc/letsencrypt/live/call.example.com/fullchain.pem', cert)
    .replaceAll('/etc/letsencrypt/live/call.example.com/privkey.pem', key).replaceAll('call.example.com', 'box.test');
  const tempPaths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${dir}/temp;`);
  await mkdir(path.join(dir, 'temp'), { recursive: true });
  await writeFile(path.join(dir, 'nginx.conf'), `daemon off; user root; worker_processes 1; pid ${dir}/nginx.pid;
    error_log ${dir}/error.log warn; events {} http { access_log ${dir}/access.log; ${tempPaths.join(' ')} ${server} }`);
  const [program, ...args] = [...on('server'), 'nginx', '-e', path.join(dir, 'error.log'), '-c', path.join(dir, 'nginx.conf')];
  const child = spawn(program, args, { stdio: 'inherit' });
  process.once('exit', () => child.kill());
  return child;
}

harness.scenario('two participants call through nginx, one of them without UDP', async () => {
  const pair = await harness.joinPair([['chromium', { host: 'a1' }], ['firefox', { host: 'b2' }]], harness.roomUrl());
  await harness.expectMedia(pair);
  const iceServerUrls = '() => globalThis.__observed.connections.at(-1).getConfiguration().iceServers.flatMap((each) => each.urls)';
  for (const participant of pair) {
    assert.deepEqual((await participant.evaluate(iceServerUrls)).filter((url) => url.startsWith('turns:')), ['turns:box.test:5349?transport=tcp']);
  }
  assert.match(await pair[1].displayedPath(), /^relay-t(cp|ls)$/);
});

harness.scenario('the port behind nginx serves only the proxy', async () => {
  const status = async (host, url) => (await runOn(host, 'curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', url)).stdout;
  assert.equal(await status('a1', 'http://box.test:8080/'), '403');
  assert.equal(await status('server', 'http://127.0.0.1:8080/'), '200');
  assert.equal(await status('a1', 'http://box.test:8080/ws'), '403');
});

harness.scenario('a check finds page and WebSocket behind nginx, and the relay beside it', async () => {
  const ports = ['--https-port', '0', '--http-port', '8080'];
  const local = await runCheck('server', authority.ca, '--cert', cert, '--key', key, '--state-dir', harness.server.state, ...ports);
  const remote = await runCheck('a1', authority.ca);
  for (const check of [local, remote]) {
    const bad = ['page', 'signaling', 'relay'].flatMap((group) => check.of(group)).filter(({ mark }) => mark !== 'ok');
    // No server listens on port 80 here.
    assert.deepEqual(bad.filter(({ text }) => !text.startsWith('plain HTTP')), []);
    assert.deepEqual([...new Set(relayTransports(check))], ['UDP on 3478: ok', 'TCP on 3478: ok', 'TLS on 5349: ok']);
  }
});

harness.scenario('a call continues and resumes its seats when nginx loses its workers', async () => {
  const pair = await harness.joinPair([['chromium', { host: 'a1' }], ['chromium', { host: 'b1' }]], harness.roomUrl());
  await harness.expectMedia(pair);
  const killedAt = Date.now();
  // nginx starts new workers for the killed ones, whose connections are lost.
  await runOn('server', 'pkill', '-P', `${nginx.pid}`);
  for (const participant of pair) await participant.waitForStatusSequence('go on talking', 'Connected', killedAt);
  await harness.expectMedia(pair);
});
