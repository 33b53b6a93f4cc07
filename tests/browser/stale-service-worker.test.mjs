// A service worker of another app on the same origin does not keep the page from loading.

import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test, { after } from 'node:test';
import { launch } from './lib/browsers.mjs';
import { createCertificateAuthority } from './lib/certificate-authority.mjs';
import { startServer } from './lib/server.mjs';
import { waitFor } from './lib/wait.mjs';
import { createWorkDir } from './lib/workspace.mjs';

const dir = await createWorkDir('stale-service-worker');
const authority = await createCertificateAuthority(path.join(dir, 'authority'));

const OTHER_APP = '<!doctype html><title>other app</title>';
const SERVICE_WORKER = `self.addEventListener('install', () => self.skipWaiting());
  self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
  self.addEventListener('fetch', (event) => event.respondWith(
    new Response('${OTHER_APP}cached', { headers: { 'content-type': 'text/html' } })));`;

/** Serves another app, with a service worker, on the port that the page gets later. */
async function startOtherApp() {
  const folder = path.join(dir, 'other-app');
  await mkdir(path.join(folder, 'js'), { recursive: true });
  await writeFile(path.join(folder, 'index.html'), `${OTHER_APP}<script src="/main.js"></script>`);
  await writeFile(path.join(folder, 'main.js'), 'navigator.serviceWorker.register("/sw.js")');
  await writeFile(path.join(folder, 'sw.js'), SERVICE_WORKER);
  return startServer({ dir: path.join(dir, 'server'), authority, flags: ['--public', folder] });
}

for (const kind of ['chromium', 'firefox']) {
  test(`${kind} with another app's service worker loads the page`, { timeout: 120_000 }, async () => {
    const otherApp = await startOtherApp();
    const browser = await launch(kind, { dir, ca: authority.ca });
    after(() => browser.close());
    const page = await browser.newPage();
    await page.goto(otherApp.origin);
    await waitFor('the service worker', () => page.evaluate('navigator.serviceWorker.controller?.state === "activated"'));
    await otherApp.stop();
    const ports = { https: Number(new URL(otherApp.origin).port), turn: otherApp.turn, turns: 0 };
    const server = await startServer({ dir: path.join(dir, 'server'), authority, ports });
    after(() => server.stop());
    await page.goto(server.origin);
    assert.equal(await page.title(), 'other app', 'the service worker answers first');
    await waitFor('our page', async () => (await page.title()) !== 'other app' && page.evaluate('!!document.querySelector("video, form, button")'));
    assert.equal(await page.evaluate('navigator.serviceWorker.getRegistrations().then((all) => all.length)'), 0);
    await server.stop();
  });
}
