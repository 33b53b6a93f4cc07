// Somebody on the internet who sends back whatever comes, can close the port and open it again, and
// remembers from whom it heard. Made for `settle`.

import dgram from 'node:dgram';
import { once } from 'node:events';
import { isIPv4 } from 'node:net';

export async function makePeer({ address, port }) {
  const callers = new Set();
  let socket;

  async function open() {
    socket = dgram.createSocket(isIPv4(address) ? 'udp4' : 'udp6');
    socket.on('message', (bytes, from) => {
      callers.add(`${from.address} ${from.port}`);
      socket.send(bytes, from.port, from.address);
    });
    socket.bind(port, address);
    await once(socket, 'listening');
  }

  async function shut() {
    socket.close();
    await once(socket, 'close');
  }

  await open();
  return { open, shut, callers: () => [...callers], close: () => socket.close() };
}
