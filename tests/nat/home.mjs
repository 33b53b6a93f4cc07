// A program: one person's seat, driven by JSON lines. It is started inside the namespace of a home, so that
// the browser and whoever steers it are both there.
//
//   in:  {"id":1,"method":"make","args":["firefox",{…}]} and then any method of a seat
//   out: {"id":1,"result":…} or {"id":1,"error":"…"}

import { createInterface } from 'node:readline';
import { makeSeat } from '../browser/lib/seat.mjs';

let seat;
const answer = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

async function obey({ id, method, args }) {
  try {
    if (method === 'make') {
      seat = await makeSeat(...args);
      return answer({ id });
    }
    answer({ id, result: await seat[method](...args) });
  } catch (error) {
    answer({ id, error: error.message });
  }
}

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => obey(JSON.parse(line)));
lines.on('close', () => Promise.resolve(seat?.close()).finally(() => process.exit(0)));
