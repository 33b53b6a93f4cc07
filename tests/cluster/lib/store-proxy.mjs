// A TCP proxy between the boxes and Redis that delays answers or changes what the server says about its version. For `spawnOn`.

import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** Listens on `listen` and connects to `target`, both `{ address, port }`. */
export async function createStoreProxy(listen, target) {
  const sockets = new Set();
  let delayMs = 0;
  /** Replacements of equal length, so that lengths in the protocol stay true. @type {[string, string] | null} */
  let replacement = null;

  const server = net.createServer((client) => {
    const upstream = net.connect(target.port, target.address);
    for (const [from, to] of [[client, upstream], [upstream, client]]) {
      sockets.add(from);
      from.on('error', () => {});
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
    }
    client.on('data', (bytes) => upstream.write(bytes));
    let previous = Promise.resolve();
    upstream.on('data', (bytes) => {
      const due = Date.now() + delayMs;
      previous = previous.then(() => delay(Math.max(0, due - Date.now()))).then(() => client.destroyed || client.write(change(bytes)));
    });
  });
  server.listen(listen.port, listen.address);
  await once(server, 'listening');

  function change(bytes) {
    return replacement ? Buffer.from(bytes.toString('latin1').replaceAll(...replacement), 'latin1') : bytes;
  }
  function reset() {
    for (const each of sockets) each.destroy();
  }

  return {
    setDelay: (ms) => { delayMs = ms; },
    /** Changes `from` to `to`, of the same length, in all answers, and breaks the connections so that the boxes ask again. */
    replace(from, to) {
      replacement = from === to ? null : [from, to];
      reset();
    },
    reset,
    close() {
      reset();
      server.close();
    },
  };
}
