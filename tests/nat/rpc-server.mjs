// A program: creates one object and calls its methods by JSON lines. `spawnOn` of network.mjs starts it in a host's network
// namespace, to have a browser or a TURN client there. `node rpc-server.mjs MODULE FACTORY`:
//
//   in:  {"id":1,"method":"create","args":[…]}, which calls FACTORY of MODULE, then any method of the object
//   out: {"id":1,"result":…} or {"id":1,"error":"…"}

import { createInterface } from 'node:readline';

const [module, factory] = process.argv.slice(2);
const create = (await import(module))[factory];
let object;
const reply = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

async function handle({ id, method, args }) {
  try {
    if (method === 'create') {
      object = await create(...args);
      return reply({ id });
    }
    reply({ id, result: await object[method](...args) });
  } catch (error) {
    reply({ id, error: error.message });
  }
}

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => handle(JSON.parse(line)));
lines.on('close', () => Promise.resolve(object?.close()).finally(() => process.exit(0)));
