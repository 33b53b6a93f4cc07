// An HTTPS proxy in front of the server, as some networks have one: it may refuse WebSockets, never answer them, or hold back
// each response until it is complete.

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import https from 'node:https';
import { buffer } from 'node:stream/consumers';
import tls from 'node:tls';

/** Listens on a free port. The target is set later, because the server needs the proxy's port at its start. */
export async function createHttpProxy(authority) {
  const { cert, key } = await authority.issue('localhost');
  const ca = await readFile(authority.ca);
  const agent = new https.Agent({ ca, keepAlive: true });
  let target = 0;
  /** @type {'pass' | 'refuse' | 'drop'} */
  let upgrades = 'pass';
  /** Under way now. */
  const open = { webSockets: 0, polls: 0 };
  /** Sockets of the clients, and of WebSockets to the server. @type {Set<import('node:net').Socket>} */
  const sockets = new Set();
  const keep = (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
  };

  const listener = https.createServer({ cert: await readFile(cert), key: await readFile(key) }, async (request, response) => {
    if (request.url === '/poll') {
      open.polls += 1;
      response.on('close', () => { open.polls -= 1; });
    }
    const upstream = https.request({ host: 'localhost', port: target, agent, method: request.method, path: request.url, headers: request.headers });
    request.pipe(upstream);
    upstream.on('error', () => response.destroy());
    response.on('close', () => upstream.destroy());
    try {
      const [reply] = await once(upstream, 'response');
      const body = await buffer(reply);
      response.writeHead(reply.statusCode, reply.headers).end(body);
    } catch {
      response.destroy();
    }
  });
  listener.on('secureConnection', keep);
  listener.on('upgrade', (request, client, head) => {
    if (upgrades === 'drop') return;
    if (upgrades === 'refuse') return client.end('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    const server = tls.connect({ host: 'localhost', port: target, ca, ALPNProtocols: ['http/1.1'] }, () => {
      const headers = request.rawHeaders.map((text, index) => (index % 2 ? `${text}\r\n` : `${text}: `)).join('');
      server.write(`GET ${request.url} HTTP/1.1\r\n${headers}\r\n`);
      server.write(head);
      server.pipe(client).pipe(server);
    });
    open.webSockets += 1;
    keep(server);
    server.on('close', () => {
      open.webSockets -= 1;
      client.destroy();
    });
    client.on('close', () => server.destroy());
  });
  listener.listen(0);
  await once(listener, 'listening');

  return {
    port: listener.address().port,
    origin: `https://localhost:${listener.address().port}`,
    open,
    setTarget: (port) => { target = port; },
    /** `pass`: WebSockets work; `refuse`: each is answered with 400; `drop`: none is answered. */
    setUpgrades(value) {
      upgrades = value;
    },
    /** Cuts every open connection. */
    reset() {
      for (const socket of sockets) socket.destroy();
    },
    close() {
      for (const socket of sockets) socket.destroy();
      listener.close();
      agent.destroy();
    },
  };
}
