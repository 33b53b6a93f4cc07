// Two TURN clients that exchange datagrams of one size at a constant rate in both directions, as media does, and count what
// arrives. For `spawnOn`.

import { setTimeout as delay } from 'node:timers/promises';
import { createTurnClient } from './turn-client.mjs';

const CHANNEL = 0x4000;
const PAYLOAD_BYTES = 1000;
/** A datagram that arrives later than this counts as lost. */
const LATE_MS = 1000;

/** Two clients of the server `{ address, port }`, with channels bound to each other. */
export async function createTurnCall(server, credentials) {
  const received = [new Set(), new Set()];
  const clients = await Promise.all(received.map((set) => createTurnClient(server, credentials, (_, payload) => set.add(payload.readUInt32BE(0)))));
  const relayed = await Promise.all(clients.map((client) => client.allocate()));
  await Promise.all(clients.map((client, index) => client.bindChannel(CHANNEL, relayed[1 - index])));

  return {
    /** Sends `rate` packets a second from each client for `ms`; returns how many were sent and lost in both directions. */
    async run(rate, ms) {
      received.forEach((set) => set.clear());
      const startedAt = performance.now();
      let sent = 0;
      for (let elapsed = 0; elapsed < ms; elapsed = performance.now() - startedAt) {
        for (const due = (elapsed / 1000) * rate; sent < due; sent += 1) {
          const payload = Buffer.alloc(PAYLOAD_BYTES);
          payload.writeUInt32BE(sent);
          for (const client of clients) client.send(CHANNEL, payload);
        }
        await delay(1);
      }
      await delay(LATE_MS);
      return { sent: 2 * sent, lost: 2 * sent - received[0].size - received[1].size };
    },
    close: () => clients.forEach((client) => client.close()),
  };
}
