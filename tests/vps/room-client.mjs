// A signaling client that joins a room over its own WebSocket implementation and does nothing else. For `spawnOn` of
// tests/nat/network.mjs.

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import tls from 'node:tls';
import { waitFor } from '../browser/lib/wait.mjs';

/** Connects to the server, whose certificate `ca` has signed, and requests a seat. */
export async function createRoomClient({ ca, host = 'box.test', room = 'kitchen' }) {
  const socket = tls.connect({ host, port: 443, servername: host, ca: await readFile(ca), ALPNProtocols: ['http/1.1'] });
  const received = [];
  let buffer = Buffer.alloc(0);
  let upgraded = false;
  let closed = false;

  socket.on('close', () => { closed = true; });
  socket.on('error', () => { closed = true; });
  socket.on('data', (data) => {
    buffer = Buffer.concat([buffer, data]);
    if (!upgraded) {
      const end = buffer.indexOf('\r\n\r\n');
      if (end < 0) return;
      upgraded = true;
      buffer = buffer.subarray(end + 4);
    }
    for (let frame = decodeFrame(buffer); frame; frame = decodeFrame(buffer)) {
      buffer = buffer.subarray(frame.length);
      if (frame.opcode === 1) received.push(JSON.parse(frame.text));
    }
  });
  await once(socket, 'secureConnect');
  socket.write(`GET /ws HTTP/1.1\r\nHost: ${host}\r\nOrigin: https://${host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n`
    + 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n');
  await waitFor('the upgrade', () => upgraded);

  const client = {
    send(message) {
      const text = Buffer.from(JSON.stringify(message));
      // A masking key of zeros leaves the payload unchanged (RFC 6455 §5.3); messages are shorter than 64 KiB.
      const header = text.length < 126 ? [0x81, 0x80 | text.length] : [0x81, 0xfe, text.length >> 8, text.length & 255];
      socket.write(Buffer.concat([Buffer.from([...header, 0, 0, 0, 0]), text]));
    },
    /** The first message of this type, as soon as there is one. */
    waitForMessage: (type) => waitFor(`a message ${type}`, () => received.find((message) => message.type === type)),
    /** `resp-join`, or the code of the error. */
    joinResult: () => received[0].code ?? received[0].type,
    isConnected: () => !closed,
    /** Leaves the room, which lets a restart of the server proceed. */
    async close() {
      if (!closed) client.send({ type: 'leave' });
      socket.end();
      await waitFor('the end of the connection', () => closed);
    },
  };
  client.send({ type: 'join', room });
  await waitFor('an answer', () => received.length > 0);
  return client;
}

/** The frame at the start of `bytes`, if it is complete; frames of a server are not masked. */
function decodeFrame(bytes) {
  if (bytes.length < 2) return undefined;
  const [first, second] = bytes;
  const start = second === 126 ? 4 : 2;
  if (bytes.length < start) return undefined;
  const size = second === 126 ? bytes.readUInt16BE(2) : second;
  if (bytes.length < start + size) return undefined;
  return { opcode: first & 15, length: start + size, text: bytes.toString('utf8', start, start + size) };
}
