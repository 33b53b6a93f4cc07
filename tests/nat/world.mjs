// The test's side of the small internet that world.sh made: how to run something on one of its hosts, the
// box in its place, and people at home.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { setStage } from '../browser/lib/stage.mjs';
import { run } from '../browser/lib/work.mjs';

const WORLD = process.env.BOX_WORLD ?? (() => { throw new Error('start these tests with tests/nat/run.sh'); })();
const HOME = fileURLToPath(new URL('./home.mjs', import.meta.url));

/** The words that run a program on this host. */
export const on = (host) => ['ip', 'netns', 'exec', `${WORLD}-${host}`];

/** Runs a program on this host to its end. */
export function runOn(host, ...words) {
  const [program, ...args] = [...on(host), ...words];
  return run(program, args);
}

/** A stage whose box is box.test, and whose people say where they live: `['firefox', { home: 'a1' }]`. */
export function setWorldStage(name, flags = [], ports = {}, authority = undefined) {
  const box = { domain: 'box.test', ports: { https: 443, turn: 3478, turns: 5349, ...ports }, inside: on('box'), flags };
  return setStage(name, { box, make: makeSeatAtHome, theirs: {}, authority });
}

/** A seat as `makeSeat` makes it, but on the host `home`. */
export const makeSeatAtHome = (kind, { home, ...options }) => settle(home, '../browser/lib/seat.mjs', 'makeSeat', kind, options);

/**
 * What `maker` of `module` (as this folder names it) makes, living on `host` in a process of its own. Every
 * method takes and gives plain JSON and is a promise here; `close` ends it, as the end of the test file does.
 */
export async function settle(host, module, maker, ...makings) {
  const where = fileURLToPath(new URL(module, import.meta.url));
  const [program, ...args] = [...on(host), process.execPath, HOME, where, maker];
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const waiting = new Map();
  let last = 0;

  createInterface({ input: child.stdout }).on('line', (line) => {
    const { id, result, error } = JSON.parse(line);
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) resolve(result);
    else reject(new Error(`at ${host}: ${error}`));
  });
  child.on('exit', () => {
    for (const { reject } of waiting.values()) reject(new Error(`${host} is gone`));
  });

  function call(method, ...args) {
    return new Promise((resolve, reject) => {
      waiting.set((last += 1), { resolve, reject });
      child.stdin.write(`${JSON.stringify({ id: last, method, args })}\n`);
    });
  }

  async function close() {
    if (child.exitCode !== null) return;
    child.stdin.end();
    await once(child, 'exit');
  }

  await call('make', ...makings);
  return new Proxy({ close }, { get: (own, name) => own[name] ?? (name === 'then' ? undefined : (...args) => call(name, ...args)) });
}
