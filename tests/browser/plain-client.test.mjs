// The page in a call with a client that knows the eight messages of the protocol only, in both roles.

import assert from 'node:assert/strict';
import { plainClient } from './lib/plain-client.mjs';
import { AFTER, setStage } from './lib/stage.mjs';
import { until } from './lib/work.mjs';

const stage = await setStage('plain-client');

/** Frames of the page's picture keep arriving there. */
async function receives(client) {
  const before = await client.look('() => plain.frames()');
  await until('the client to receive the picture', async () => (await client.look('() => plain.frames()')) >= before + 10, 30_000);
}

for (const kind of ['chromium', 'firefox']) {
  for (const role of ['answers', 'offers']) {
    stage.scene(`${kind} is in a call with a client that never says \`call\` and ${role}`, async () => {
      const url = stage.room();
      const [page, client] = await Promise.all([stage.person(kind), stage.person('chromium')]);
      const enters = {
        async page() {
          await page.open(url);
          await page.join();
        },
        async client() {
          await client.open(`${stage.box.origin}/healthz`);
          await client.look(plainClient(url.split('/').at(-1)));
        },
      };
      if (role === 'answers') {
        await enters.client();
        await enters.page();
      } else {
        await enters.page();
        await page.sees('waiting');
        await enters.client();
      }
      await page.hearsAndSees();
      await receives(client);
      await client.look('() => plain.restart()');
      await until('another answer', () => client.look(`() => plain.connection.signalingState === 'stable'`));
      await page.look('() => globalThis.webrtcBox.call.connection().restartIce()');
      await page.hearsAndSees();
      await receives(client);
      assert.equal(await page.look('() => globalThis.__seen.connections.length'), 1);
      assert.equal(await client.look('() => plain.error ?? null'), null);
      await client.look('() => plain.leave()');
      await page.sees(AFTER);
    });
  }
}
