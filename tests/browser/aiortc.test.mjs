// Calls with aiortc, a third-party implementation of WebRTC: with the page in each browser, and between two of its clients, over the
// WebSocket and the events of the Socket.IO example, direct and relayed. Prints the matrix.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { after } from 'node:test';
import { createHarness, ENDED_STATES } from './lib/harness.mjs';
import { waitFor } from './lib/wait.mjs';
import { root, run } from './lib/workspace.mjs';

const INTEROP = path.join(root, 'tests/interop');

const harness = await createHarness('aiortc');

/** The Python that has aiortc, or the reason why there is none. */
const { python, unavailable } = await run(path.join(INTEROP, 'python-packages.sh')).then(
  ({ stdout }) => ({ python: stdout.trim(), unavailable: '' }),
  ({ code, stderr, message }) => {
    if (code !== 77) throw new Error(message);
    return { python: '', unavailable: stderr.trim() };
  },
);

/** @type {string[]} */
const results = [];
after(() => console.log(['Pairings with aiortc:', ...results.sort()].join('\n  ')));

/** A participant with a page. */
async function joinWithPage(browser, room, relayed) {
  const page = await harness.participant(browser);
  await page.open(`${harness.server.origin}/r/${room}${relayed ? '?relay=1' : ''}`);
  await page.join();
  return {
    isAlone: () => page.waitForState('waiting'),
    async expectMedia() {
      await page.expectMedia();
      await (relayed ? page.waitForRelayPath() : page.waitForPath('direct'));
    },
    leave: () => page.leave(),
    hasEnded: () => page.waitForState(ENDED_STATES),
    close: async () => {},
  };
}

/** A participant with aiortc, a process that prints its events. `way`: websocket or socket.io. */
async function joinWithAiortc(way, room, relayed) {
  const args = [path.join(INTEROP, 'aiortc_client.py'), way, harness.server.origin, room, ...(relayed ? ['relay'] : [])];
  const client = spawn(python, args, { env: { ...process.env, SSL_CERT_FILE: harness.authority.ca } });
  const exited = once(client, 'exit');
  let output = '';
  client.stdout.on('data', (data) => { output += data; });
  client.stderr.on('data', (data) => { output += data; });
  const waitForLine = (line) => waitFor(`${line} of aiortc`, () => output.split('\n').includes(line) || Promise.reject(new Error(output)));
  await waitForLine('joined');
  return {
    isAlone: async () => {},
    expectMedia: () => waitForLine('received'),
    async leave() {
      client.kill('SIGTERM');
      assert.deepEqual(await exited, [0, null], output);
    },
    async hasEnded() {
      await waitForLine('peer-leave');
      assert.deepEqual(await exited, [0, null], output);
    },
    close: async () => { client.kill('SIGKILL'); },
  };
}

const KINDS = {
  'the page in chromium': (room, relayed) => joinWithPage('chromium', room, relayed),
  'the page in firefox': (room, relayed) => joinWithPage('firefox', room, relayed),
  'aiortc over the WebSocket': (room, relayed) => joinWithAiortc('websocket', room, relayed),
  'aiortc over Socket.IO': (room, relayed) => joinWithAiortc('socket.io', room, relayed),
};
const [CHROMIUM, FIREFOX, WEBSOCKET, SOCKET_IO] = Object.keys(KINDS);
// Who joins second makes the offer and leaves first.
const PAIRS = [
  [CHROMIUM, WEBSOCKET], [WEBSOCKET, CHROMIUM], [FIREFOX, WEBSOCKET], [WEBSOCKET, FIREFOX],
  [CHROMIUM, SOCKET_IO], [SOCKET_IO, FIREFOX], [WEBSOCKET, SOCKET_IO], [SOCKET_IO, WEBSOCKET],
];

for (const [first, second] of PAIRS) {
  for (const relayed of [false, true]) {
    const title = `${first}, then ${second}, ${relayed ? 'relayed' : 'direct'}`;
    harness.scenario(title, async (context) => {
      if (unavailable) {
        context.skip(unavailable);
        return;
      }
      const room = harness.roomUrl().split('/').at(-1);
      const joined = [];
      try {
        joined.push(await KINDS[first](room, relayed));
        await joined[0].isAlone();
        joined.push(await KINDS[second](room, relayed));
        await Promise.all(joined.map((each) => each.expectMedia()));
        await joined[1].leave();
        await joined[0].hasEnded();
        results.push(`ok      ${title}`);
      } catch (error) {
        results.push(`FAILED  ${title}`);
        throw error;
      } finally {
        await Promise.all(joined.map((each) => each.close()));
      }
    });
  }
}
