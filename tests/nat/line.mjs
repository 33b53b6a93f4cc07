// A thin line under a test's control: what line.py does, between one home and its router.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { on, runOn } from './world.mjs';

const PROGRAM = fileURLToPath(new URL('./line.py', import.meta.url));
const OPEN = { rate: 0, queue: 0.3, delay: 0, loss: 0 };

/** Lays the line to `home`, which has `address` behind `router` at `gateway`; open at first. */
export async function layLine({ home, address, router, gateway }) {
  await runOn(router, 'nft', 'insert', 'rule', 'inet', 'house', 'forward', 'iifname', 'line', 'accept');
  const [program, ...args] = [...on(router), 'python3', PROGRAM, on(home).at(-1), address, gateway];
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const said = async () => (await lines.next()).value ?? Promise.reject(new Error('the line is gone'));
  await said();

  /** Both ways become so, or each its own; gives what has passed each way since the change before. */
  async function become(up, down = up) {
    child.stdin.write(`${JSON.stringify({ up: { ...OPEN, ...up }, down: { ...OPEN, ...down } })}\n`);
    return JSON.parse(await said());
  }

  return {
    become,
    open: () => become({}),
    async close() {
      child.stdin.end();
      if (child.exitCode === null) await once(child, 'exit');
    },
  };
}
