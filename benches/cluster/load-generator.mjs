// Signaling clients that hold one seat of many rooms, for `spawnOn`. They connect from many addresses, because a server limits how many
// rooms one source may open.

import { readFile } from 'node:fs/promises';
import { openWebSocket } from '../../tests/nat/websocket.mjs';

/** Connections of one source address. */
const CONNECTIONS_PER_SOURCE = 16;
const ANSWERS = ['resp-join', 'error', 'redirect'];
const MAX_REDIRECTS = 3;

/** Clients of the boxes `[{ name, address }, …]` of one service, in turn; `sources`: a prefix of two numbers, such as `45.1`, whose
 *  addresses this host has. */
export async function createLoadGenerator({ domain, ca: caFile, boxes, sources }) {
  const ca = await readFile(caFile, 'utf8');
  const held = [];
  let opened = 0;

  async function connect({ name, address }) {
    const source = Math.floor((opened += 1) / CONNECTIONS_PER_SOURCE);
    const client = { name, answered: null, socket: null };
    const onText = (text) => {
      const message = JSON.parse(text);
      if (message.type === 'ping') client.socket.send('{"type":"pong"}');
      if (ANSWERS.includes(message.type)) client.answered?.(message);
    };
    client.socket = await openWebSocket({
      host: name, address, ca, origin: `https://${domain}`, localAddress: `${sources}.${source >> 8}.${source & 255}`, onText, onClose: () => client.answered?.(null),
    });
    return client;
  }

  function join(client, room, fence) {
    return new Promise((resolve) => {
      client.answered = resolve;
      client.socket.send(JSON.stringify({ type: 'join', room, ...(fence !== undefined && { fence }) }));
    });
  }

  /** Calls `run(index)` for each index below `count`, `concurrency` at a time; milliseconds of each, and in all. */
  async function measure(count, concurrency, run) {
    const times = [];
    let next = 0;
    const startedAt = performance.now();
    await Promise.all(Array.from({ length: concurrency }, async () => {
      for (let index = (next += 1) - 1; index < count; index = (next += 1) - 1) {
        const before = performance.now();
        await run(index);
        times.push(performance.now() - before);
      }
    }));
    return { times, ms: performance.now() - startedAt };
  }

  /** Connects and joins as a page does, by way of any box. */
  async function visit(room, box) {
    let [client, fence] = [await connect(box), undefined];
    for (let redirects = 0; ; redirects += 1) {
      const answer = await join(client, room, fence);
      if (answer?.type === 'resp-join') break;
      if (answer?.type !== 'redirect' || redirects === MAX_REDIRECTS) throw new Error(`${room} at ${client.name}: ${JSON.stringify(answer)}`);
      client.socket.destroy();
      const target = boxes.find(({ name }) => name === new URL(answer.url).hostname);
      client = await connect(target);
      fence = answer.fence;
    }
    client.socket.send('{"type":"leave"}');
    client.socket.close().catch(() => {});
  }

  const boxOf = (index) => boxes[index % boxes.length];

  return {
    /** Opens `count` connections. */
    open: async (count, concurrency) => {
      await measure(count, concurrency, async (index) => { held.push(await connect(boxOf(index))); });
    },
    /** Each of the connections `from` to `to` joins a room of its own, and keeps the seat. */
    claim: (prefix, from, to, concurrency) => measure(to - from, concurrency, async (index) => {
      const answer = await join(held[from + index], `${prefix}-${from + index}`);
      if (answer?.type !== 'resp-join') throw new Error(`${prefix}-${from + index}: ${JSON.stringify(answer)}`);
    }),
    /** `count` second clients connect by way of the next box, join a room that is held, and leave. */
    visit: (prefix, count, concurrency) => measure(count, concurrency, (index) => visit(`${prefix}-${index}`, boxOf(index + Math.floor(index / boxes.length)))),
    close: () => held.forEach(({ socket }) => socket.destroy()),
  };
}
