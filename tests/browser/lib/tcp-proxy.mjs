// A TCP proxy in front of a port that can reset its connections, stop forwarding without closing them, or reject new ones.

import { once } from 'node:events';
import net from 'node:net';

/** Listens on a free port. The target is set later, because the server needs the proxy's port at its start. */
export async function createTcpProxy() {
  let target = 0;
  let rejecting = false;
  /** @type {Set<{ client: net.Socket, upstream: net.Socket, silent: boolean }>} */
  const connections = new Set();

  const listener = net.createServer((client) => {
    if (rejecting) return client.resetAndDestroy();
    const connection = { client, upstream: net.connect(target, '127.0.0.1'), silent: false };
    connections.add(connection);
    for (const [from, to] of [[client, connection.upstream], [connection.upstream, client]]) {
      from.on('data', (data) => { if (!connection.silent) to.write(data); });
      from.on('end', () => { if (!connection.silent) to.end(); });
      from.on('error', () => {});
      from.on('close', () => {
        if (connection.silent) return;
        connections.delete(connection);
        to.destroy();
      });
    }
  });
  listener.listen(0);
  await once(listener, 'listening');

  return {
    port: listener.address().port,
    setTarget: (port) => { target = port; },
    /** Resets every open connection. */
    reset() {
      for (const { client, upstream } of connections) [client, upstream].forEach((socket) => socket.resetAndDestroy());
    },
    /** Stops forwarding on every open connection without closing it. */
    silence() {
      for (const connection of connections) connection.silent = true;
    },
    /** Whether new connections are reset. */
    rejectNew: (value) => { rejecting = value; },
    close() {
      for (const { client, upstream } of connections) [client, upstream].forEach((socket) => socket.destroy());
      listener.close();
    },
  };
}
