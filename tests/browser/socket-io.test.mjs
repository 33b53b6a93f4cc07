// Calls between the page and the page of an unchanged Socket.IO example, which another origin serves: every pairing of pages and
// browsers, direct and relayed; a third person, a reconnection, a stop of the server. Prints the matrix.

import { readFile } from 'node:fs/promises';
import https from 'node:https';
import path from 'node:path';
import { after } from 'node:test';
import { createCertificateAuthority } from './lib/certificate-authority.mjs';
import { createHarness, ENDED_STATES } from './lib/harness.mjs';
import { startServer } from './lib/server.mjs';
import { waitFor } from './lib/wait.mjs';
import { createWorkDir, root } from './lib/workspace.mjs';

const EXAMPLE = path.join(root, 'tests/fixtures/socket-io-example');

const authority = await createCertificateAuthority(path.join(await createWorkDir('socket-io-authority'), 'authority'));
const example = await serveExample();
const harness = await createHarness('socket-io', {
  authority,
  start: (dir) => startServer({ dir, authority, flags: ['--allowed-origin', example.origin] }),
});
example.server = harness.server.origin;

/** @type {string[]} */
const results = [];
after(() => console.log(['Pairings of pages and browsers:', ...results.sort()].join('\n  ')));

/** Serves the example's page from an origin of its own. */
async function serveExample() {
  const { cert, key } = await authority.issue('localhost');
  const state = { origin: '', server: '' };
  const listener = https.createServer({ cert: await readFile(cert), key: await readFile(key) }, async (request, response) => {
    const name = request.url?.split('?')[0] === '/example.js' ? 'example.js' : 'index.html';
    const text = await readFile(path.join(EXAMPLE, name), 'utf8');
    response.setHeader('content-type', name.endsWith('.js') ? 'text/javascript' : 'text/html');
    response.end(text.replaceAll('SERVER', state.server));
  });
  await new Promise((resolve) => { listener.listen(0, () => resolve(undefined)); });
  after(() => listener.close());
  state.origin = `https://localhost:${listener.address().port}`;
  return state;
}

/** The two kinds of pages, with the same methods. */
const PAGES = {
  ours: {
    async join(participant, room, relayed) {
      await participant.open(`${harness.server.origin}/r/${room}${relayed ? '?relay=1' : ''}`);
      await participant.join();
    },
    isAlone: (participant) => participant.waitForState('waiting'),
    expectMedia: (participant) => participant.expectMedia(),
    hasEnded: (participant) => participant.waitForState(ENDED_STATES),
  },
  example: {
    async join(participant, room, relayed) {
      await participant.open(`${example.origin}/${relayed ? '?relay' : ''}`);
      await participant.waitForCondition('a connected socket', 'socket.connected');
      await participant.evaluate(`() => { byId('room').value = '${room}'; byId('join').click(); }`);
    },
    isAlone: (participant) => participant.waitForCondition('the camera', 'Boolean(room)'),
    async expectMedia(participant) {
      const count = async () => JSON.parse(await participant.evaluate(`async () => {
        const stats = [...(await connection.getStats()).values()].filter(({ type }) => type === 'inbound-rtp');
        return JSON.stringify(stats.map(({ kind, framesDecoded, packetsReceived }) => [kind, framesDecoded ?? packetsReceived]));
      }`));
      const before = Object.fromEntries(await waitFor('statistics', async () => {
        const now = await count();
        return now.length >= 2 && now;
      }));
      await waitFor('audio and video that keep arriving', async () => {
        const now = Object.fromEntries(await count());
        return now.video >= before.video + 10 && now.audio >= before.audio + 10;
      });
    },
    hasEnded: (participant) => participant.waitForCondition('the end of the call', '!connection'),
  },
};

const BROWSERS = ['chromium', 'firefox'];
const PAIRS = [['ours', 'example'], ['example', 'ours'], ['example', 'example']];

for (const pages of PAIRS) {
  for (const relayed of [false, true]) {
    for (const [first, second] of BROWSERS.flatMap((one) => BROWSERS.map((other) => [one, other]))) {
      // Without one of our pages nothing makes the browsers prefer the relay.
      if (relayed && !pages.includes('ours')) continue;
      const title = `${pages[0]} in ${first}, then ${pages[1]} in ${second}, ${relayed ? 'relayed' : 'direct'}`;
      harness.scenario(title, async () => {
        const room = harness.roomUrl().split('/').at(-1);
        const pair = await Promise.all([first, second].map((kind) => harness.participant(kind)));
        const [one, other] = pages.map((page) => PAGES[page]);
        try {
          await one.join(pair[0], room, relayed);
          await one.isAlone(pair[0]);
          await other.join(pair[1], room, relayed);
          await Promise.all([one.expectMedia(pair[0]), other.expectMedia(pair[1])]);
          if (relayed) await pair[pages.indexOf('ours')].waitForRelayPath();
          await (pages[1] === 'ours' ? pair[1].leave() : pair[1].evaluate("() => byId('leave').click()"));
          await one.hasEnded(pair[0]);
          results.push(`ok      ${title}`);
        } catch (error) {
          results.push(`FAILED  ${title}`);
          throw error;
        }
      });
    }
  }
}

harness.scenario('a third person sees the reason in the example', async () => {
  const room = harness.roomUrl().split('/').at(-1);
  const three = await Promise.all(['chromium', 'chromium', 'chromium'].map((kind) => harness.participant(kind)));
  for (const each of three.slice(0, 2)) {
    await PAGES.example.join(each, room);
    await PAGES.example.isAlone(each);
  }
  await PAGES.example.expectMedia(three[0]);
  await PAGES.example.join(three[2], room);
  await three[2].waitForCondition('the reason', "byId('message').textContent.includes('Two people')");
  await PAGES.example.expectMedia(three[0]);
});

harness.scenario('the example is in a call again after its connection broke', async () => {
  const room = harness.roomUrl().split('/').at(-1);
  const page = await harness.participant('chromium');
  const other = await harness.participant('chromium');
  await PAGES.ours.join(page, room);
  await PAGES.ours.isAlone(page);
  await PAGES.example.join(other, room);
  await Promise.all([PAGES.ours.expectMedia(page), PAGES.example.expectMedia(other)]);
  await other.evaluate('() => { globalThis.before = connection; socket.io.engine.close(); }');
  await other.waitForCondition('a new connection', 'connection && connection !== before');
  await Promise.all([PAGES.ours.expectMedia(page), PAGES.example.expectMedia(other)]);
});
