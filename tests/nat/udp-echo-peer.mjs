// A UDP peer on the internet that echoes every datagram, records the senders, and can close and reopen its port. For
// `spawnOn`.

import dgram from 'node:dgram';
import { once } from 'node:events';
import { isIPv4 } from 'node:net';

export async function createUdpEchoPeer({ address, port }) {
  const senders = new Set();
  let socket;

  async function openPort() {
    socket = dgram.createSocket(isIPv4(address) ? 'udp4' : 'udp6');
    socket.on('message', (bytes, from) => {
      senders.add(`${from.address} ${from.port}`);
      socket.send(bytes, from.port, from.address);
    });
    socket.bind(port, address);
    await once(socket, 'listening');
  }

  async function closePort() {
    socket.close();
    await once(socket, 'close');
  }

  await openPort();
  return { openPort, closePort, senders: () => [...senders], close: () => socket.close() };
}
