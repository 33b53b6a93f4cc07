// Two TURN clients in a call through the relay, as media has it: datagrams of one size at an even pace, both
// ways, each counted. Made for `settle`.

import { setTimeout as after } from 'node:timers/promises';
import { makeTurnClient } from './turn.mjs';

const CHANNEL = 0x4000;
const SIZE = 1000;
/** Media waits for nobody this long; what comes later is counted as lost. */
const LATE = 1000;

/** Both clients of the server `{ address, port }`, their channels bound to each other. */
export async function makeTalk(server, credentials) {
  const heard = [new Set(), new Set()];
  const two = await Promise.all(heard.map((set) => makeTurnClient(server, credentials, (_, payload) => set.add(payload.readUInt32BE(0)))));
  const relayed = await Promise.all(two.map((client) => client.allocate()));
  await Promise.all(two.map((client, which) => client.bind(CHANNEL, relayed[1 - which])));

  return {
    /** `rate` packets a second from each for `ms`; gives how many were sent and lost, both ways together. */
    async run(rate, ms) {
      heard.forEach((set) => set.clear());
      const began = performance.now();
      let sent = 0;
      for (let passed = 0; passed < ms; passed = performance.now() - began) {
        for (const due = (passed / 1000) * rate; sent < due; sent += 1) {
          const payload = Buffer.alloc(SIZE);
          payload.writeUInt32BE(sent);
          for (const client of two) client.send(CHANNEL, payload);
        }
        await after(1);
      }
      await after(LATE);
      return { sent: 2 * sent, lost: 2 * sent - heard[0].size - heard[1].size };
    },
    close: () => two.forEach((client) => client.close()),
  };
}
