// A stranger who sends as fast as told: Allocates without a credential, Bindings and plain garbage, from one
// address and ever other ports. Made for `settle`.

import { randomBytes } from 'node:crypto';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as after } from 'node:timers/promises';
import { ATTRIBUTE, METHOD, request, transaction } from './stun.mjs';

/** Ports it sends from, in turn, so that the kernel spreads the flood over every worker of the box. */
const PORTS = 256;
/** Different messages of each kind; the box must not have seen the transaction just before. */
const VARIETY = 64;

export async function makeFlood({ address, port }) {
  const sockets = await Promise.all(Array.from({ length: PORTS }, opened));
  const messages = Array.from({ length: VARIETY }, strangers).flat();

  async function opened() {
    const socket = dgram.createSocket('udp4');
    socket.connect(port, address);
    await once(socket, 'connect');
    socket.on('error', () => {});
    return socket;
  }

  return {
    /** `rate` packets a second for `ms`; gives how many really left in a second. */
    async pour(rate, ms) {
      const began = performance.now();
      let sent = 0;
      for (let passed = 0; passed < ms; passed = performance.now() - began) {
        for (const due = (passed / 1000) * rate; sent < due; sent += 1) {
          sockets[sent % PORTS].send(messages[sent % messages.length]);
        }
        await after(1);
      }
      return Math.round(sent / (performance.now() - began) * 1000);
    },
    close: () => sockets.forEach((socket) => socket.close()),
  };
}

/** One of each kind; the garbage begins like a request, ChannelData and nothing in turn. */
function strangers() {
  const udp = [[ATTRIBUTE.transport, Buffer.from([17, 0, 0, 0])]];
  return [request(METHOD.allocate, transaction(), udp), request(METHOD.binding, transaction(), []), randomBytes(40)];
}
