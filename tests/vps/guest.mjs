// Somebody who sits in a room of the box and does nothing else: a WebSocket client of a few lines, to be
// settled on a host (see world.mjs).

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import tls from 'node:tls';
import { until } from '../browser/lib/work.mjs';

/** Asks for a seat; `ca` vouches for the box. */
export async function makeGuest({ ca, host = 'box.test', room = 'kitchen' }) {
  const socket = tls.connect({ host, port: 443, servername: host, ca: await readFile(ca), ALPNProtocols: ['http/1.1'] });
  const heard = [];
  let rest = Buffer.alloc(0);
  let open = false;
  let closed = false;

  socket.on('close', () => { closed = true; });
  socket.on('error', () => { closed = true; });
  socket.on('data', (data) => {
    rest = Buffer.concat([rest, data]);
    if (!open) {
      const end = rest.indexOf('\r\n\r\n');
      if (end < 0) return;
      open = true;
      rest = rest.subarray(end + 4);
    }
    for (let frame = next(rest); frame; frame = next(rest)) {
      rest = rest.subarray(frame.length);
      if (frame.opcode === 1) heard.push(JSON.parse(frame.text));
    }
  });
  await once(socket, 'secureConnect');
  socket.write(`GET /ws HTTP/1.1\r\nHost: ${host}\r\nOrigin: https://${host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n`
    + 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n');
  await until('an upgrade', () => open);

  const guest = {
    say(message) {
      const text = Buffer.from(JSON.stringify(message));
      // Masked with zeros, which changes nothing (RFC 6455 §5.3); all of ours are short.
      const head = text.length < 126 ? [0x81, 0x80 | text.length] : [0x81, 0xfe, text.length >> 8, text.length & 255];
      socket.write(Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), text]));
    },
    /** The first frame of this type, as soon as there is one. */
    hears: (type) => until(`a frame ${type}`, () => heard.find((frame) => frame.type === type)),
    /** `resp-join`, or the code of the refusal. */
    answer: () => heard[0].code ?? heard[0].type,
    isThere: () => !closed,
    /** Leaves, so that nothing waits for it. */
    async close() {
      if (!closed) guest.say({ type: 'leave' });
      socket.end();
      await until('the end', () => closed);
    },
  };
  guest.say({ type: 'join', room });
  await until('an answer', () => heard.length > 0);
  return guest;
}

/** The frame that `bytes` begin with, if it is whole; the server does not mask. */
function next(bytes) {
  if (bytes.length < 2) return undefined;
  const [first, second] = bytes;
  const start = second === 126 ? 4 : 2;
  if (bytes.length < start) return undefined;
  const size = second === 126 ? bytes.readUInt16BE(2) : second;
  if (bytes.length < start + size) return undefined;
  return { opcode: first & 15, length: start + size, text: bytes.toString('utf8', start, start + size) };
}
