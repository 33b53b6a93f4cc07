// Starts the real program on free ports with a certificate of the tests' authority, kills it, and restarts it on the
// same state folder. Its output goes to server.log in the work folder.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import dgram from 'node:dgram';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { root, run } from './workspace.mjs';

/** The program under test; BOX_BIN names another one. */
export const binary = process.env.BOX_BIN ?? path.join(process.env.CARGO_TARGET_DIR ?? path.join(root, 'target'), 'release/webrtc-box');

const HEALTH_CHECK = fileURLToPath(new URL('./health-check.mjs', import.meta.url));

/**
 * Starts a server and waits until it answers.
 * `ports`: its ports (0: none), and `page`, the port of a reverse proxy in front of it.
 * `inNamespace`: the command prefix that runs a program in another network namespace, e.g. `['ip', 'netns', 'exec', NAME]`.
 * `nodeName`: its name where it is one of several boxes of the domain.
 */
export async function startServer({ dir, authority, domain = 'localhost', nodeName, ports, inNamespace = [], metricsListen = '', env = {}, flags: moreFlags = [] }) {
  await mkdir(dir, { recursive: true });
  const { cert, key } = await authority.issue(...(nodeName ? [domain, `*.${domain}`] : [domain]));
  const flags = nodeName ? ['--node-name', nodeName, ...moreFlags] : moreFlags;
  const { https, http = 0, turn, turns, page = https } = ports ?? { https: await freePort(), turn: await freePort(), turns: 0 };
  const state = path.join(dir, 'state');
  const args = ['--domain', domain, '--cert', cert, '--key', key, '--state-dir', state, '--https-port', `${https}`,
    '--http-port', `${http}`, '--turn-port', `${turn}`, '--turns-port', `${turns}`, '--metrics-listen', metricsListen, ...flags];
  const log = path.join(dir, 'server.log');
  const originOf = (name) => `https://${name}${page === 443 ? '' : `:${page}`}`;
  const origin = originOf(domain);
  let child;

  async function start() {
    const out = createWriteStream(log, { flags: 'a' });
    child = spawn(inNamespace[0] ?? binary, inNamespace.length ? [...inNamespace.slice(1), binary, ...args] : args,
      { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, STATE_DIRECTORY: state, ...env } });
    child.stdout.pipe(out, { end: false });
    child.stderr.pipe(out, { end: false });
    const exited = once(child, 'exit').then(([code, signal]) => {
      throw new Error(`the server exited during start-up (${code ?? signal}): ${binary} ${args.join(' ')}\n`);
    });
    const probe = [...inNamespace, process.execPath, HEALTH_CHECK, `${originOf(nodeName ?? domain)}/healthz`, authority.ca, '15000'];
    try {
      await Promise.race([run(probe[0], probe.slice(1)), exited]);
    } catch (error) {
      child.kill('SIGKILL');
      throw new Error(`${error.message}${await readFile(log, 'utf8').catch(() => '')}`);
    }
    exited.catch(() => {});
  }

  const isRunning = () => child.exitCode === null && child.signalCode === null;

  async function kill() {
    if (!isRunning()) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  await start();
  // An interrupted test ends its server.
  process.once('exit', () => child.kill('SIGKILL'));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));
  return {
    origin,
    turn,
    state,
    log: () => readFile(log, 'utf8'),
    /** Ends it without a shutdown, as a power cut does. */
    crash: kill,
    start,
    stop: kill,
    /** Sends a signal, e.g. SIGSTOP; a stopped server can be killed. */
    signal: (name) => child.kill(name),
    pid: () => child.pid,
    isRunning,
    /** Asks it to stop, as systemd does; resolves when it has. */
    async terminate() {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    },
    /** Its resident memory in KiB. */
    residentKiB: async () => Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${child.pid}/status`, 'utf8'))[1]),
    /** TURN credentials of this server, by `webrtc-box credentials`. */
    async credentials() {
      const command = [...inNamespace, binary, 'credentials', '--state-dir', state, '--domain', domain, '--cert', cert, '--key', key, ...flags];
      return JSON.parse((await run(command[0], command.slice(1))).stdout);
    },
  };
}

/** A port that is free for TCP and UDP, below the ephemeral range, so that it is still free at a restart. */
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
