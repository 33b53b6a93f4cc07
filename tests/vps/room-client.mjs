// A signaling client that joins a room over a WebSocket and does nothing else. For `spawnOn` of tests/nat/network.mjs.

import { readFile } from 'node:fs/promises';
import { waitFor } from '../browser/lib/wait.mjs';
import { openWebSocket } from '../nat/websocket.mjs';

/** Connects to the server, whose certificate `ca` has signed, and requests a seat. */
export async function createRoomClient({ ca, host = 'box.test', room = 'kitchen' }) {
  const received = [];
  const socket = await openWebSocket({ host, ca: await readFile(ca), onText: (text) => received.push(JSON.parse(text)) });
  const client = {
    send: (message) => socket.send(JSON.stringify(message)),
    /** The first message of this type, as soon as there is one. */
    waitForMessage: (type) => waitFor(`a message ${type}`, () => received.find((message) => message.type === type)),
    /** `resp-join`, or the code of the error. */
    joinResult: () => received[0].code ?? received[0].type,
    isConnected: () => socket.isOpen(),
    /** Leaves the room, which lets a restart of the server proceed. */
    async close() {
      if (!socket.isOpen()) return;
      client.send({ type: 'leave' });
      await socket.close();
    },
  };
  client.send({ type: 'join', room });
  await waitFor('an answer', () => received.length > 0);
  return client;
}
