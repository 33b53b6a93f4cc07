// The real program, started on free ports with a certificate of the tests' authority, killed and started
// again on the same state. Its output goes to box.log in the work folder.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import dgram from 'node:dgram';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { root, run } from './work.mjs';

/** The program under test; BOX_BIN names another one. */
export const binary = process.env.BOX_BIN ?? path.join(process.env.CARGO_TARGET_DIR ?? path.join(root, 'target'), 'release/webrtc-box');

const HEALTHY = fileURLToPath(new URL('./healthy.mjs', import.meta.url));

/**
 * Starts a box and waits until it answers.
 * `ports`: those of its own (0: none), and `page`, where a proxy in front of it serves the page.
 * `inside`: the words that run a program in another network namespace, e.g. `['ip', 'netns', 'exec', NAME]`.
 */
export async function startBox({ dir, authority, domain = 'localhost', ports, inside = [], flags = [] }) {
  await mkdir(dir, { recursive: true });
  const { cert, key } = await authority.issue(domain);
  const { https, http = 0, turn, turns, page = https } = ports ?? { https: await freePort(), turn: await freePort(), turns: 0 };
  const help = (await run(binary, ['--help'])).stdout;
  // Settings that came later than the tests: passed to a program that has them.
  const later = Object.entries({ '--turns-port': `${turns}`, '--metrics-listen': '' }).filter(([name]) => help.includes(`${name} `)).flat();
  const state = path.join(dir, 'state');
  const args = ['--domain', domain, '--cert', cert, '--key', key, '--state-dir', state, '--https-port', `${https}`,
    '--http-port', `${http}`, '--turn-port', `${turn}`, ...later, ...flags];
  const log = path.join(dir, 'box.log');
  const origin = `https://${domain}${page === 443 ? '' : `:${page}`}`;
  let child;

  async function start() {
    const out = createWriteStream(log, { flags: 'a' });
    child = spawn(inside[0] ?? binary, inside.length ? [...inside.slice(1), binary, ...args] : args,
      { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, STATE_DIRECTORY: state } });
    child.stdout.pipe(out, { end: false });
    child.stderr.pipe(out, { end: false });
    const exited = once(child, 'exit').then(([code, signal]) => {
      throw new Error(`the box ended at once (${code ?? signal}): ${binary} ${args.join(' ')}\n`);
    });
    const probe = [...inside, process.execPath, HEALTHY, `${origin}/healthz`, authority.ca, '15000'];
    try {
      await Promise.race([run(probe[0], probe.slice(1)), exited]);
    } catch (error) {
      child.kill('SIGKILL');
      throw new Error(`${error.message}${await readFile(log, 'utf8').catch(() => '')}`);
    }
    exited.catch(() => {});
  }

  async function end(signal) {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, 'exit');
  }

  await start();
  // A test that is interrupted takes its box along.
  process.once('exit', () => child.kill('SIGKILL'));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));
  return {
    origin,
    turn,
    state,
    /** Whether this program relays for TCP and TLS clients too. */
    streams: help.includes('--turns-port '),
    log: () => readFile(log, 'utf8'),
    /** Gone without a word, as in a power cut. */
    crash: () => end('SIGKILL'),
    start,
    stop: () => end('SIGKILL'),
    /** `webrtc-box credentials`, of this box. */
    async credentials() {
      const line = [...inside, binary, 'credentials', '--state-dir', state, '--domain', domain, '--cert', cert, '--key', key, ...flags];
      return JSON.parse((await run(line[0], line.slice(1))).stdout);
    },
  };
}

/** A port free for TCP and UDP, below the range that outgoing sockets are given, so that a restart finds it free. */
async function freePort() {
  for (let tries = 0; tries < 100; tries += 1) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if ((await bindsTcp(port)) && (await bindsUdp(port))) return port;
  }
  throw new Error('no free port between 20000 and 32000');
}

function bindsTcp(port) {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', () => resolve(false));
    server.listen(port, () => server.close(() => resolve(true)));
  });
}

function bindsUdp(port) {
  return new Promise((resolve) => {
    const socket = dgram.createSocket('udp4');
    socket.once('error', () => resolve(false));
    socket.bind(port, () => socket.close(() => resolve(true)));
  });
}
