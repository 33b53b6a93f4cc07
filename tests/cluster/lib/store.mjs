// Redis for the tests: own instances on the host `store`, which no service of the system shares: one server, or a primary with a replica
// and three Sentinels.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { waitFor } from '../../browser/lib/wait.mjs';
import { on, runOn } from '../../nat/network.mjs';

const HOST = 'store';
const PASSWORD = 'correct-horse-battery-staple';
const [PRIMARY_ADDRESS, REPLICA_ADDRESS, SENTINEL_ADDRESS] = ['45.0.20.10', '45.0.20.11', '45.0.20.12'];
const PORT = 6379;
const SENTINEL_PORTS = [26379, 26380, 26381];
const MASTER = 'calls';

/** Starts one server, or with `sentinels` two and their Sentinels, under `dir`. It lives as long as the test file. */
export async function startStore({ dir, sentinels = false }) {
  await rm(dir, { recursive: true, force: true });
  const primary = await startRedis({ dir: path.join(dir, 'primary'), address: PRIMARY_ADDRESS });
  if (!sentinels) return { ...primary, url: primary.urlAt() };

  const flags = ['--replicaof', PRIMARY_ADDRESS, `${PORT}`];
  const replica = await startRedis({ dir: path.join(dir, 'replica'), address: REPLICA_ADDRESS, flags });
  await waitFor('the replica to be in sync', async () => /master_link_status:up/.test(await replica.cli('INFO', 'replication')));
  const guards = await Promise.all(SENTINEL_PORTS.map((port) => startSentinel(dir, port)));
  await waitFor('the Sentinels to know each other', async () => /sentinels=3/.test(await sentinelInfo()) && /slaves=1/.test(await sentinelInfo()));
  return {
    primary,
    replica,
    url: `redis+sentinel://:${PASSWORD}@${SENTINEL_PORTS.map((port) => `${SENTINEL_ADDRESS}:${port}`).join(',')}/${MASTER}`,
    /** From now on nothing that is written reaches the replica. */
    stopReplication,
    waitForFailover: () => waitFor('the replica to be promoted', async () => /role:master/.test(await replica.cli('INFO', 'replication')), 30_000),
    stop: () => Promise.all([primary, replica, ...guards].map((each) => each.stop())),
  };
}

/** One instance. `cli` runs one command and returns its reply as text. */
async function startRedis({ dir, address, flags = [] }) {
  // The host has several addresses: without these, the replica would appear under that of the primary.
  const args = ['--bind-source-addr', address, '--replica-announce-ip', address, '--port', `${PORT}`, '--bind', address, '--protected-mode', 'no', '--dir', dir, '--requirepass', PASSWORD, '--masterauth', PASSWORD,
    '--save', '', '--appendonly', 'yes', '--appendfsync', 'everysec', '--repl-diskless-sync-delay', '0', '--enable-debug-command', 'yes', ...flags];
  let password = PASSWORD;
  const cli = async (...command) => {
    const { stdout } = await runOn(HOST, 'redis-cli', '--no-auth-warning', '-h', address, '-p', `${PORT}`, '-a', password, ...command);
    return stdout.trim();
  };
  const process = runProgram('redis-server', dir, args);
  const ready = () => waitFor('Redis to answer', async () => (await cli('PING')) === 'PONG');

  const redis = {
    address,
    port: PORT,
    password: PASSWORD,
    cli,
    /** Its URL as the boxes know it, at this port if a proxy listens there. */
    urlAt: (port = PORT) => `redis://:${PASSWORD}@${address}:${port}`,
    /** Without an argument: to the one that the boxes know. */
    async changePassword(changed = PASSWORD) {
      await cli('CONFIG', 'SET', 'requirepass', changed);
      password = changed;
    },
    pid: () => process.pid(),
    /** Ends it as a power cut does. */
    stop: () => process.stop(),
    /** Starts it again, with its data or empty. */
    async start({ empty = false } = {}) {
      if (empty) await rm(dir, { recursive: true, force: true });
      await process.start();
      await ready();
    },
    /** A field of INFO, as a number. */
    async info(field) {
      return Number(new RegExp(`^${field}:([\\d.]+)`, 'm').exec(await cli('INFO', 'all'))[1]);
    },
    config: (name, value) => cli('CONFIG', 'SET', name, value),
  };
  await redis.start();
  return redis;
}

async function startSentinel(dir, port) {
  const file = path.join(dir, `sentinel-${port}.conf`);
  await writeFile(file, `port ${port}\nbind ${SENTINEL_ADDRESS}\nprotected-mode no\ndir ${dir}\nsentinel announce-ip ${SENTINEL_ADDRESS}\nsentinel monitor ${MASTER} ${PRIMARY_ADDRESS} ${PORT} 2
sentinel auth-pass ${MASTER} ${PASSWORD}\nsentinel down-after-milliseconds ${MASTER} 1000\nsentinel failover-timeout ${MASTER} 5000\n`);
  const sentinel = runProgram('redis-sentinel', path.join(dir, `sentinel-${port}`), [file]);
  await sentinel.start();
  return sentinel;
}

const sentinelInfo = async () => (await runOn(HOST, 'redis-cli', '-h', SENTINEL_ADDRESS, '-p', `${SENTINEL_PORTS[0]}`, 'INFO', 'sentinel')).stdout;

/** The kernel goes on sending what a killed process has written: only a filter keeps it from the replica. */
async function stopReplication() {
  const rule = ['ip', 'saddr', PRIMARY_ADDRESS, 'ip', 'daddr', REPLICA_ADDRESS, 'tcp', 'sport', `${PORT}`, 'drop'];
  await runOn(HOST, 'nft', 'add', 'table', 'inet', 'replication');
  await runOn(HOST, 'nft', 'add', 'chain', 'inet', 'replication', 'input', '{ type filter hook input priority 0 ; }');
  await runOn(HOST, 'nft', 'add', 'rule', 'inet', 'replication', 'input', ...rule);
}

/** A program on the host of the store, with its output in `dir`. */
function runProgram(name, dir, args) {
  let child;
  globalThis.process.once('exit', () => child?.kill('SIGKILL'));
  return {
    async start() {
      await mkdir(dir, { recursive: true });
      const log = createWriteStream(path.join(dir, 'output.log'), { flags: 'a' });
      const [program, ...rest] = [...on(HOST), name, ...args];
      child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
      child.stdout.pipe(log, { end: false });
      child.stderr.pipe(log, { end: false });
    },
    pid: () => child.pid,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}
