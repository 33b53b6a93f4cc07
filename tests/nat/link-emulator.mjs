// Runs link-emulator.py, a slow link between host a1 and its router, and changes its limits.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { namespaceOf, on, runOn } from './network.mjs';

const LINK_EMULATOR = fileURLToPath(new URL('./link-emulator.py', import.meta.url));
const UNLIMITED = { rate: 0, queue: 0.3, delay: 0, loss: 0 };

/** Inserts link-emulator.py between host a1 and its router; unlimited at first. */
export async function createLinkEmulator() {
  await runOn('ra', 'nft', 'insert', 'rule', 'inet', 'nat', 'forward', 'iifname', 'emulator', 'accept');
  const [program, ...args] = [...on('ra'), 'python3', LINK_EMULATOR, namespaceOf('a1'), '10.1.0.2', '10.1.0.1'];
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const nextLine = async () => (await lines.next()).value ?? Promise.reject(new Error('the link emulator has exited'));
  await nextLine();

  /** Limits both directions, or each one on its own; returns the traffic since the previous change. */
  async function limit(up, down = up) {
    child.stdin.write(`${JSON.stringify({ up: { ...UNLIMITED, ...up }, down: { ...UNLIMITED, ...down } })}\n`);
    return JSON.parse(await nextLine());
  }

  return {
    limit,
    unlimit: () => limit({}),
    async close() {
      child.stdin.end();
      if (child.exitCode === null) await once(child, 'exit');
    },
  };
}
