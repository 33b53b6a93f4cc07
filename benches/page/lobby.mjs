// Measures how soon the lobby is usable on slow links, on the first and on a second visit, next to a bare page from the same
// kind of server. (How to run it, and what it measures: README.md.)

import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { reportMeasurement } from '../../tests/browser/lib/measurements.mjs';
import { startServer } from '../../tests/browser/lib/server.mjs';
import { createLinkEmulator } from '../../tests/nat/link-emulator.mjs';
import { createNetworkHarness, on } from '../../tests/nat/network.mjs';

const ROUNDS = Number(process.env.ROUNDS ?? 5);
const PHONE = { width: 390, height: 844 };

/** What a page with a call needs at least; the server's content security policy refuses inline scripts. */
const BARE_PAGE = {
  'index.html': '<!doctype html><meta charset="utf-8"><title>Bare page</title><button>Join</button><script src="/bare.js"></script>',
  'bare.js': "new RTCPeerConnection(); performance.mark('lobby');",
};

const NETWORKS = {
  '4G (150 ms, 1.6 Mbit/s)': { link: { rate: 1_600_000, queue: 0.3, delay: 0.075 }, goalsMs: [1500, 700] },
  '3G (300 ms, 700 kbit/s, 1 % loss)': { link: { rate: 700_000, queue: 0.5, delay: 0.15, loss: 0.01 }, goalsMs: [3500, 1200] },
};

/** Runs in the page before its scripts: when it asks for the camera, and its tasks of more than 50 ms. */
const OBSERVE = `() => {
  globalThis.__longTasks = [];
  if (PerformanceObserver.supportedEntryTypes.includes('longtask')) {
    new PerformanceObserver((list) => __longTasks.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: 'longtask', buffered: true });
  }
  if (!navigator.mediaDevices) return;
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = (constraints) => {
    performance.mark('camera');
    return ask(constraints);
  };
}`;

/** Milliseconds since the navigation; null for what the page or the browser does not have. */
const READ = `() => {
  const at = (name) => performance.getEntriesByName(name)[0]?.startTime ?? null;
  return { lobby: at('lobby'), painted: at('first-contentful-paint'), camera: at('camera'), longest: Math.max(0, ...__longTasks) };
}`;

const harness = await createNetworkHarness('page-lobby');
const barePage = path.join(harness.dir, 'bare');
await mkdir(barePage, { recursive: true });
await Promise.all(Object.entries(BARE_PAGE).map(([name, text]) => writeFile(path.join(barePage, name), text)));
const bare = await startServer({
  dir: path.join(harness.dir, 'bare-server'), authority: harness.authority, domain: 'box.test',
  ports: { https: 8443, turn: 3479, turns: 0 }, inNamespace: on('server'), flags: ['--public', barePage],
});
process.once('beforeExit', () => bare.stop());

for (const [kind, cpuFactor] of [['chromium', 1], ['chromium', 4], ['firefox', 1]]) {
  for (const [network, { link, goalsMs }] of Object.entries(NETWORKS)) {
    harness.scenario(`${kind}, CPU /${cpuFactor}, ${network}`, async () => {
      const emulator = await createLinkEmulator();
      try {
        await emulator.limit(link);
        const visits = { ours: [], bare: [] };
        for (let round = 0; round < ROUNDS; round += 1) {
          visits.ours.push(await visitTwice(kind, harness.roomUrl(), cpuFactor));
          visits.bare.push(await visitTwice(kind, `${bare.origin}/`, cpuFactor));
        }
        for (const [visit, goalMs] of goalsMs.entries()) {
          const name = `${kind}, CPU /${cpuFactor}, ${network}, ${['first', 'second'][visit]} visit`;
          const all = (page, what) => visits[page].map((each) => each[visit][what]).filter((each) => each !== null);
          const show = (page, what) => `${Math.round(median(all(page, what)))} (${all(page, what).map(Math.round).join(', ')})`;
          console.log(`${name}: painted ${show('ours', 'painted')}, lobby ${show('ours', 'lobby')}, camera asked ${show('ours', 'camera')}, longest task ${show('ours', 'longest')}`);
          console.log(`${name}, bare page: painted ${show('bare', 'painted')}, script ${show('bare', 'lobby')}`);
          reportMeasurement(`lobby usable, ${name}`, median(all('ours', 'lobby')), goalMs);
        }
      } finally {
        await emulator.close();
      }
    }, 600_000);
  }
}

/** Two visits with a new profile. The browser restarts in between: its cache is kept, its connections are not. */
async function visitTwice(kind, url, cpuFactor) {
  const home = await mkdtemp(path.join(harness.dir, 'profile-'));
  const visits = [];
  for (let visit = 0; visit < 2; visit += 1) {
    const participant = await harness.participant(kind, { host: 'a1', size: PHONE, home, initScript: OBSERVE });
    if (cpuFactor > 1) await participant.throttle({ cpuFactor });
    // Another host, as the browser sees it: its first connection loads its certificate store.
    await participant.open(`${harness.server.origin}./healthz`);
    await participant.open(url);
    await participant.waitForCondition('the lobby', `performance.getEntriesByName('lobby').length > 0 && performance.getEntriesByName('first-contentful-paint').length > 0`);
    if (!url.startsWith(bare.origin)) {
      await participant.waitForState('preview');
      // The files that come after the lobby belong to the first visit.
      await participant.waitForCondition('the words of a call', `document.getElementById('btnAgain').textContent !== ''`);
    }
    visits.push(await participant.evaluate(READ));
    await participant.close();
  }
  return visits;
}

function median(values) {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
}
