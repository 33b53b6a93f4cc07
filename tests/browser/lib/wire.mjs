// A wire: a TCP port in front of another one, that can be cut, fall silent, or let nobody new through.

import { once } from 'node:events';
import net from 'node:net';

/** Listens on a free port; where it leads is said by `lead`, for it must exist before the box can name it. */
export async function makeWire() {
  let target = 0;
  let closed = false;
  /** @type {Set<{ near: net.Socket, far: net.Socket, mute: boolean }>} */
  const strands = new Set();

  const server = net.createServer((near) => {
    if (closed) return near.resetAndDestroy();
    const strand = { near, far: net.connect(target, '127.0.0.1'), mute: false };
    strands.add(strand);
    for (const [from, to] of [[near, strand.far], [strand.far, near]]) {
      from.on('data', (data) => { if (!strand.mute) to.write(data); });
      from.on('end', () => { if (!strand.mute) to.end(); });
      from.on('error', () => {});
      from.on('close', () => {
        if (strand.mute) return;
        strands.delete(strand);
        to.destroy();
      });
    }
  });
  server.listen(0);
  await once(server, 'listening');

  return {
    port: server.address().port,
    lead: (port) => { target = port; },
    /** Ends what runs, with a reset. */
    cut() {
      for (const { near, far } of strands) [near, far].forEach((end) => end.resetAndDestroy());
    },
    /** What runs carries nothing more, and neither end is told. */
    mute() {
      for (const strand of strands) strand.mute = true;
    },
    /** Whether new connections are refused. */
    shut: (now) => { closed = now; },
    end() {
      for (const { near, far } of strands) [near, far].forEach((end) => end.destroy());
      server.close();
    },
  };
}
