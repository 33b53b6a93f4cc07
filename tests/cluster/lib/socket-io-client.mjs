// A Socket.IO client that records the arguments of each event. For `spawnOn`.

import { readFile } from 'node:fs/promises';
import { io } from 'socket.io-client';
import { waitFor } from '../../browser/lib/wait.mjs';

const EVENTS = ['resp-join', 'new-peer', 'peer-leave', 'offer', 'ice-servers', 'error', 'disconnect', 'connect', 'connect_error'];

/** Connects to `https://HOST` by these transports; it does not reconnect. */
export async function createSocketIoClient({ host, ca, transports }) {
  const socket = io(`https://${host}`, { transports, ca: await readFile(ca), forceNew: true, reconnection: false });
  const events = [];
  for (const name of EVENTS) socket.on(name, (...args) => events.push([name, ...args.map((value) => (value instanceof Error ? value.message : value))]));
  return {
    emit: (...args) => void socket.emit(...args),
    /** Takes the oldest event `name`, as soon as there is one; returns its arguments. */
    next: (name) => waitFor(`the event ${name} among ${JSON.stringify(events)}`, () => {
      const at = events.findIndex(([kind]) => kind === name);
      return at >= 0 && events.splice(at, 1)[0].slice(1);
    }, 10_000),
    close: () => void socket.close(),
  };
}
