// A WebSocket client (RFC 6455) over TLS that connects to a given address, whatever its server's name resolves to.

import { once } from 'node:events';
import tls from 'node:tls';

const CONTINUATION_BITS = 0x80;
const OPCODE = { text: 1, close: 8, ping: 9, pong: 10 };
/** The close code of a connection that broke without a close frame. */
export const ABNORMAL_CLOSE = 1006;

/**
 * Opens a WebSocket to `https://HOST:PORT/PATH`. `address`: where to connect, if not to the address of `host`; `ca`: the PEM text of
 * the authority that signed the server's certificate; `localAddress`: where from; `onText(text)`, `onClose(code)`.
 */
export async function openWebSocket({ host, address = host, port = 443, path = '/ws', origin = `https://${host}`, ca, localAddress, timeoutMs = 10_000, onText = () => {}, onClose = () => {} }) {
  const socket = tls.connect({ host: address, port, localAddress, servername: host, ca, ALPNProtocols: ['http/1.1'] });
  let buffer = Buffer.alloc(0);
  let [upgraded, closed, code] = [false, false, ABNORMAL_CLOSE];
  const timeout = setTimeout(() => socket.destroy(new Error(`no WebSocket to ${host} (${address}) within ${timeoutMs} ms`)), timeoutMs);

  function write(opcode, payload = Buffer.alloc(0)) {
    if (closed) return;
    // A masking key of zeros leaves the payload unchanged (§5.3); messages are shorter than 64 KiB.
    const size = payload.length < 126 ? [CONTINUATION_BITS | payload.length] : [CONTINUATION_BITS | 126, payload.length >> 8, payload.length & 255];
    socket.write(Buffer.concat([Buffer.from([CONTINUATION_BITS | opcode, ...size, 0, 0, 0, 0]), payload]));
  }

  function handleFrame({ opcode, payload }) {
    if (opcode === OPCODE.text) onText(payload.toString('utf8'));
    if (opcode === OPCODE.ping) write(OPCODE.pong, payload);
    if (opcode !== OPCODE.close) return;
    if (payload.length >= 2) code = payload.readUInt16BE(0);
    write(OPCODE.close, payload.subarray(0, 2));
    socket.end();
  }

  const opened = new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.on('close', () => {
      closed = true;
      clearTimeout(timeout);
      reject(new Error(`${host} (${address}) closed the connection`));
      if (upgraded) onClose(code);
    });
    socket.on('data', (data) => {
      buffer = Buffer.concat([buffer, data]);
      if (!upgraded) {
        const end = buffer.indexOf('\r\n\r\n');
        if (end < 0) return;
        const head = buffer.toString('latin1', 0, end);
        if (!head.startsWith('HTTP/1.1 101')) return socket.destroy(new Error(`${host} answered ${head.split('\r\n')[0]}`));
        upgraded = true;
        buffer = buffer.subarray(end + 4);
        clearTimeout(timeout);
        resolve();
      }
      for (let frame = decodeFrame(buffer); frame; frame = decodeFrame(buffer)) {
        buffer = buffer.subarray(frame.length);
        handleFrame(frame);
      }
    });
  });
  socket.once('secureConnect', () => socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nOrigin: ${origin}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n`
    + 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'));
  await opened;

  return {
    send: (text) => write(OPCODE.text, Buffer.from(text)),
    isOpen: () => !closed,
    /** Sends a close frame; resolves when the server has closed the connection. */
    async close(closeCode = 1000) {
      if (closed) return;
      write(OPCODE.close, Buffer.from([closeCode >> 8, closeCode & 255]));
      const kill = setTimeout(() => socket.destroy(), 2000);
      await once(socket, 'close');
      clearTimeout(kill);
    },
    /** Ends the connection without a close frame. */
    destroy: () => socket.destroy(),
  };
}

/** The frame at the start of `bytes`, if it is complete. Frames of a server are not masked, and ours are not fragmented. */
function decodeFrame(bytes) {
  if (bytes.length < 2) return undefined;
  const [first, second] = bytes;
  const start = second === 126 ? 4 : second === 127 ? 10 : 2;
  if (bytes.length < start) return undefined;
  const size = second === 126 ? bytes.readUInt16BE(2) : second === 127 ? Number(bytes.readBigUInt64BE(2)) : second;
  if (bytes.length < start + size) return undefined;
  return { opcode: first & 15, length: start + size, payload: bytes.subarray(start, start + size) };
}
