// Access to the network of network.sh from tests: runs programs on its hosts, starts the server on host `server`, and
// launches participants on the other hosts.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { createHarness } from '../browser/lib/harness.mjs';
import { run } from '../browser/lib/workspace.mjs';

const NETWORK = process.env.TEST_NETWORK ?? (() => { throw new Error('TEST_NETWORK is not set: start these tests with tests/nat/run.sh'); })();
const RPC_SERVER = fileURLToPath(new URL('./rpc-server.mjs', import.meta.url));

/** The name of a host's network namespace. */
export const namespaceOf = (host) => `${NETWORK}-${host}`;

/** The command prefix that runs a program on this host. */
export const on = (host) => ['ip', 'netns', 'exec', namespaceOf(host)];

/** Runs a program on this host to its end. */
export function runOn(host, ...command) {
  const [program, ...args] = [...on(host), ...command];
  return run(program, args);
}

/** A harness whose server is box.test. Options of a participant name its host: `['firefox', { host: 'a1' }]`. */
export function createNetworkHarness(name, { flags = [], ports = {}, authority } = {}) {
  const server = { domain: 'box.test', ports: { https: 443, turn: 3478, turns: 5349, ...ports }, inNamespace: on('server'), flags };
  return createHarness(name, { server, launch: launchParticipantOn, defaults: {}, authority });
}

/** A participant as `launchParticipant` creates it, on `options.host`. */
export const launchParticipantOn = (kind, { host, ...options }) => spawnOn(host, '../browser/lib/participant.mjs', 'launchParticipant', kind, options);

/**
 * Calls `factory` of `module` (relative to this folder) with `args` in a process on `host`, and returns a proxy for the
 * object that it creates. Every method takes and returns plain JSON and is asynchronous; `close` ends the process.
 */
export async function spawnOn(host, module, factory, ...args) {
  const modulePath = fileURLToPath(new URL(module, import.meta.url));
  const [program, ...rest] = [...on(host), process.execPath, RPC_SERVER, modulePath, factory];
  const child = spawn(program, rest, { stdio: ['pipe', 'pipe', 'inherit'] });
  const pending = new Map();
  let lastId = 0;

  createInterface({ input: child.stdout }).on('line', (line) => {
    const { id, result, error } = JSON.parse(line);
    const { resolve, reject } = pending.get(id);
    pending.delete(id);
    if (error === undefined) resolve(result);
    else reject(new Error(`on ${host}: ${error}`));
  });
  child.on('exit', () => {
    for (const { reject } of pending.values()) reject(new Error(`the process on ${host} has exited`));
  });

  function call(method, ...parameters) {
    return new Promise((resolve, reject) => {
      if (child.exitCode !== null) return reject(new Error(`the process on ${host} has exited`));
      pending.set((lastId += 1), { resolve, reject });
      child.stdin.write(`${JSON.stringify({ id: lastId, method, args: parameters })}\n`);
    });
  }

  async function close() {
    if (child.exitCode !== null) return;
    child.stdin.end();
    await once(child, 'exit');
  }

  await call('create', ...args);
  return new Proxy({ close }, { get: (own, name) => own[name] ?? (name === 'then' ? undefined : (...parameters) => call(name, ...parameters)) });
}
