// An unauthenticated client that sends as fast as requested: Allocate requests without credentials, Binding requests and
// random bytes, from one address and many ports. For `spawnOn`.

import { randomBytes } from 'node:crypto';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { ATTRIBUTE, encodeRequest, METHOD, randomTransactionId } from './stun-codec.mjs';

/** Source ports, used in turn: the kernel spreads them over all workers of the server. */
const PORTS = 256;
/** Different messages of each kind, because the server may cache answers to repeated transactions. */
const VARIETY = 64;

export async function createUdpFlood({ address, port }) {
  const sockets = await Promise.all(Array.from({ length: PORTS }, openSocket));
  const messages = Array.from({ length: VARIETY }, unauthenticatedMessages).flat();

  async function openSocket() {
    const socket = dgram.createSocket('udp4');
    socket.connect(port, address);
    await once(socket, 'connect');
    socket.on('error', () => {});
    return socket;
  }

  return {
    /** Sends `rate` packets a second for `ms`; returns the rate that was reached. */
    async run(rate, ms) {
      const startedAt = performance.now();
      let sent = 0;
      for (let elapsed = 0; elapsed < ms; elapsed = performance.now() - startedAt) {
        for (const due = (elapsed / 1000) * rate; sent < due; sent += 1) {
          sockets[sent % PORTS].send(messages[sent % messages.length]);
        }
        await delay(1);
      }
      return Math.round(sent / (performance.now() - startedAt) * 1000);
    },
    close: () => sockets.forEach((socket) => socket.close()),
  };
}

/** One message of each kind. The random one may start with any byte, also like STUN or ChannelData. */
function unauthenticatedMessages() {
  const udp = [[ATTRIBUTE.transport, Buffer.from([17, 0, 0, 0])]];
  return [encodeRequest(METHOD.allocate, randomTransactionId(), udp), encodeRequest(METHOD.binding, randomTransactionId(), []), randomBytes(40)];
}
