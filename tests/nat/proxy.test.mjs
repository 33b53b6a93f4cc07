// Behind a reverse proxy: Debian's nginx with the very lines of docs/operations.md in front of the box, and two people who
// call each other through it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after } from 'node:test';
import { makeAuthority } from '../browser/lib/authority.mjs';
import { root, workDir } from '../browser/lib/work.mjs';
import { check, ways } from './check.mjs';
import { on, runOn, setWorldStage } from './world.mjs';

const dir = await workDir('nat-proxy-nginx');
const authority = await makeAuthority(path.join(dir, 'authority'));
const { cert, key } = await authority.issue('box.test');
const nginx = await startNginx();
after(async () => {
  nginx.kill();
  await once(nginx, 'exit');
});
const stage = await setWorldStage('nat-proxy', ['--trusted-proxy', '127.0.0.1', '--trusted-proxy', '::1'],
  { https: 0, http: 8080, page: 443 }, authority);

/** nginx on the box's host, with what docs/operations.md has for our name and our files. */
async function startNginx() {
  const [, told] = /```nginx\n([^]*?)```/.exec(await readFile(path.join(root, 'docs/operations.md'), 'utf8'));
  const server = told.replaceAll('/etc/letsencrypt/live/call.example.com/fullchain.pem', cert)
    .replaceAll('/etc/letsencrypt/live/call.example.com/privkey.pem', key).replaceAll('call.example.com', 'box.test');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${dir}/temp;`);
  await mkdir(path.join(dir, 'temp'), { recursive: true });
  await writeFile(path.join(dir, 'nginx.conf'), `daemon off; user root; worker_processes 1; pid ${dir}/nginx.pid;
    error_log ${dir}/error.log warn; events {} http { access_log ${dir}/access.log; ${temporary.join(' ')} ${server} }`);
  const [program, ...args] = [...on('box'), 'nginx', '-e', path.join(dir, 'error.log'), '-c', path.join(dir, 'nginx.conf')];
  const child = spawn(program, args, { stdio: 'inherit' });
  process.once('exit', () => child.kill());
  return child;
}

stage.scene('two people call each other through nginx, one of them without UDP', async () => {
  const two = await stage.pair([['chromium', { home: 'a1' }], ['firefox', { home: 'b2' }]], stage.room());
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
  const servers = '() => globalThis.__seen.connections.at(-1).getConfiguration().iceServers.flatMap((one) => one.urls)';
  for (const seat of two) {
    assert.deepEqual((await seat.look(servers)).filter((url) => url.startsWith('turns:')), ['turns:box.test:5349?transport=tcp']);
  }
  assert.match(await two[1].pathTaken(), /^relay-t(cp|ls)$/);
});

stage.scene('whoever comes to the port behind nginx by himself gets no page', async () => {
  const status = async (host, url) => (await runOn(host, 'curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', url)).stdout;
  assert.equal(await status('a1', 'http://box.test:8080/'), '403');
  assert.equal(await status('box', 'http://127.0.0.1:8080/'), '200');
  assert.equal(await status('a1', 'http://box.test:8080/ws'), '403');
});

stage.scene('a check finds the page and its WebSocket behind nginx, and the relay beside it', async () => {
  const ports = ['--https-port', '0', '--http-port', '8080'];
  const here = await check('box', authority.ca, '--cert', cert, '--key', key, '--state-dir', stage.box.state, ...ports);
  const there = await check('a1', authority.ca);
  for (const checked of [here, there]) {
    const ill = ['page', 'signaling', 'relay'].flatMap((group) => checked.of(group)).filter(({ mark }) => mark !== 'ok');
    // Nobody listens on port 80 here.
    assert.deepEqual(ill.filter(({ text }) => !text.startsWith('plain HTTP')), []);
    assert.deepEqual([...new Set(ways(checked))], ['UDP on 3478: ok', 'TCP on 3478: ok', 'TLS on 5349: ok']);
  }
});

stage.scene('nginx loses its workers, the call goes on, and the seats are taken back', async () => {
  const two = await stage.pair([['chromium', { home: 'a1' }], ['chromium', { home: 'b1' }]], stage.room());
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
  const began = Date.now();
  // Its workers go with all they carried, and it starts others.
  await runOn('box', 'pkill', '-P', `${nginx.pid}`);
  for (const seat of two) await seat.hasSaid('go on talking', 'Connected', began);
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
});
