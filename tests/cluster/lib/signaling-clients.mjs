// Signaling clients on one host, by a key that the test chooses. For `spawnOn`: every method takes and returns plain JSON.

import { readFile } from 'node:fs/promises';
import { waitFor } from '../../browser/lib/wait.mjs';
import { openWebSocket } from '../../nat/websocket.mjs';
import { SignalingClient } from './signaling-client.mjs';

const ANSWERS = ['resp-join', 'room', 'waiting', 'error', 'redirect'];
const ANSWER_TIMEOUT_MS = 5000;
/** How long the server may take to close after a redirect. */
const CLOSE_TIMEOUT_MS = 1000;

/** Clients of the service `domain`; `ca`: the file of the authority that signed its certificates. */
export async function createSignalingClients({ domain, ca: caFile }) {
  const ca = await readFile(caFile, 'utf8');
  /** @type {Map<string, SignalingClient>} */
  const clients = new Map();
  const of = (key) => clients.get(key) ?? (() => { throw new Error(`no client ${key}`); })();

  /** Sends `message` over a connection to one box, follows no redirect, and leaves: the first answer, the close code, and the
   *  milliseconds from the message to the answer. */
  async function ask(host, message, { address, origin = `https://${domain}` } = {}) {
    let code = null;
    const answered = withResolvers();
    const closed = withResolvers();
    const handle = (text) => { if (ANSWERS.includes(JSON.parse(text).type)) answered.resolve(JSON.parse(text)); };
    const end = (closeCode) => { code = closeCode; answered.resolve(null); closed.resolve(); };
    const socket = await openWebSocket({ host, address, origin, ca, timeoutMs: ANSWER_TIMEOUT_MS, onText: handle, onClose: end });
    const timeout = (ms, { resolve }) => setTimeout(() => resolve(null), ms);
    const startedAt = performance.now();
    socket.send(JSON.stringify(message));
    const timer = timeout(ANSWER_TIMEOUT_MS, answered);
    const answer = await answered.promise;
    const ms = performance.now() - startedAt;
    clearTimeout(timer);
    if (answer?.type === 'redirect') {
      const closing = timeout(CLOSE_TIMEOUT_MS, closed);
      await closed.promise;
      clearTimeout(closing);
    }
    if (answer?.type === 'resp-join') socket.send(JSON.stringify({ type: 'leave' }));
    await socket.close();
    return { answer, code, ms };
  }

  return {
    ask,
    /** A client that joins `room` by way of `host`, by default the common name; resolves with its event `joined`. */
    async join(key, { room, host, name, reconnects }) {
      clients.set(key, new SignalingClient({ domain, room, name, ca, reconnects }));
      return of(key).join(host);
    },
    /** The milliseconds that `count` joins take on this box, each in a room of its own, from the message to the answer. */
    async joinTimes(host, prefix, count) {
      const times = [];
      for (let index = 0; index < count; index += 1) {
        const { answer, ms } = await ask(host, { type: 'join', room: `${prefix}-${index}` });
        if (answer?.type !== 'resp-join') throw new Error(`${host} answered ${JSON.stringify(answer)}`);
        times.push(ms);
      }
      return times;
    },
    events: (key) => of(key).events,
    waitForEvent: (key, kind, since, timeoutMs) => of(key).waitForEvent(kind, since, timeoutMs),
    waitForMessage: (key, type, timeoutMs) => waitFor(`a message ${type} for ${key}`, () => of(key).messages.find((each) => each.type === type), timeoutMs),
    send: (key, message) => of(key).send(message),
    leave: (key) => of(key).leave(),
    destroy: (key) => of(key).destroy(),
    /** Ends every client, and forgets them. */
    async leaveAll() {
      await Promise.all([...clients.values()].map((client) => client.leave().catch(() => {})));
      clients.clear();
    },
    close: () => clients.forEach((client) => client.destroy()),
  };
}

/** Promise.withResolvers, which Node.js 20 lacks. */
function withResolvers() {
  let resolve;
  const promise = new Promise((settle) => { resolve = settle; });
  return { promise, resolve };
}
