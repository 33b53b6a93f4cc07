// A program: something that lives on one host and is driven by JSON lines. It is started inside the
// namespace of that host, so that the thing (a person's browser, a TURN client) and whoever steers it are
// both there. `node home.mjs MODULE MAKER`:
//
//   in:  {"id":1,"method":"make","args":[…]} and then any method of what MAKER of MODULE made
//   out: {"id":1,"result":…} or {"id":1,"error":"…"}

import { createInterface } from 'node:readline';

const [module, maker] = process.argv.slice(2);
const make = (await import(module))[maker];
let inmate;
const answer = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

async function obey({ id, method, args }) {
  try {
    if (method === 'make') {
      inmate = await make(...args);
      return answer({ id });
    }
    answer({ id, result: await inmate[method](...args) });
  } catch (error) {
    answer({ id, error: error.message });
  }
}

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => obey(JSON.parse(line)));
lines.on('close', () => Promise.resolve(inmate?.close()).finally(() => process.exit(0)));
