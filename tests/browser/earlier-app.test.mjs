// A service worker that an earlier app left on the same origin: whoever has it comes to the box all the same.

import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test, { after } from 'node:test';
import { makeAuthority } from './lib/authority.mjs';
import { startBox } from './lib/box.mjs';
import { launch } from './lib/browsers.mjs';
import { until, workDir } from './lib/work.mjs';

const dir = await workDir('earlier-app');
const authority = await makeAuthority(path.join(dir, 'authority'));

const EARLIER = '<!doctype html><title>earlier</title>';
const WORKER = `self.addEventListener('install', () => self.skipWaiting());
  self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
  self.addEventListener('fetch', (event) => event.respondWith(
    new Response('${EARLIER}kept', { headers: { 'content-type': 'text/html' } })));`;

/** The earlier app: a page in a folder of its own, on the port that the box gets later. */
async function earlierApp() {
  const folder = path.join(dir, 'earlier');
  await mkdir(path.join(folder, 'js'), { recursive: true });
  await writeFile(path.join(folder, 'index.html'), `${EARLIER}<script src="/main.js"></script>`);
  await writeFile(path.join(folder, 'main.js'), 'navigator.serviceWorker.register("/sw.js")');
  await writeFile(path.join(folder, 'sw.js'), WORKER);
  return startBox({ dir: path.join(dir, 'box'), authority, flags: ['--public', folder] });
}

for (const kind of ['chromium', 'firefox']) {
  test(`${kind} with a service worker of an earlier app comes to the box`, { timeout: 120_000 }, async () => {
    const earlier = await earlierApp();
    const browser = await launch(kind, { dir, ca: authority.ca });
    after(() => browser.close());
    const page = await browser.newPage();
    await page.goto(earlier.origin);
    await until('the worker of the earlier app', () => page.evaluate('navigator.serviceWorker.controller?.state === "activated"'));
    await earlier.stop();
    const ports = { https: Number(new URL(earlier.origin).port), turn: earlier.turn, turns: 0 };
    const box = await startBox({ dir: path.join(dir, 'box'), authority, ports });
    after(() => box.stop());
    await page.goto(box.origin);
    assert.equal(await page.title(), 'earlier', 'the worker answers in our place');
    await until('the page of the box', async () => (await page.title()) !== 'earlier' && page.evaluate('!!document.querySelector("video, form, button")'));
    assert.equal(await page.evaluate('navigator.serviceWorker.getRegistrations().then((all) => all.length)'), 0);
    await box.stop();
  });
}
