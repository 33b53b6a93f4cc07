// What the page loads: nothing from other hosts, one language, a limited transfer size, and a lobby that opens soon on a
// slow phone.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { get } from 'node:https';
import { buffer } from 'node:stream/consumers';
import { createHarness } from './lib/harness.mjs';
import { reportMeasurement } from './lib/measurements.mjs';
import { LANGUAGE_FLAGS } from './lib/page-states.mjs';

const harness = await createHarness('page-load');
const MAX_TRANSFER_KIB = 60;
const LANGUAGES = ['en', 'zh', 'zh-Hant'];
/** The file of an address, without the version of the page. */
const fileName = (url) => new URL(url).pathname.replace(/^\/(v-[\da-f]{12}\/)?/, '');
/** What the lobby loads after it is drawn. */
const LATE = ['app/call-modules.js', 'assets/call.css', 'locales/en-details.js'];

harness.scenario('a whole call requests nothing from other hosts, and one language', async () => {
  const url = harness.roomUrl();
  const pair = [await harness.participant('chromium', { flags: LANGUAGE_FLAGS.zh }), await harness.participant('firefox')];
  for (const participant of pair) {
    await participant.open(url);
    await participant.join();
    await participant.waitForState(['waiting', 'connected', 'connecting']);
  }
  await harness.expectMedia(pair);
  await pair[0].evaluate(`() => {
    document.getElementById('chatLine').value = 'https://example.org/ is not previewed';
    document.getElementById('chatForm').requestSubmit();
  }`);
  await pair[1].waitForCondition('the message', `document.querySelectorAll('#chatLog [data-state]').length === 1`);
  await pair[1].leave();
  for (const [participant, language] of [[pair[0], 'zh'], [pair[1], 'en']]) {
    const requested = (await participant.requestedUrls()).filter((each) => !/^(data|blob|about):/.test(each));
    assert.deepEqual(requested.filter((each) => ![harness.server.origin, harness.server.origin.replace('https', 'wss')].includes(new URL(each).origin)), []);
    const words = requested.flatMap((each) => LANGUAGES.filter((code) => [`locales/${code}.js`, `locales/${code}-details.js`].includes(fileName(each))));
    assert.deepEqual([...new Set(words)], [language]);
  }
});

harness.scenario(`the lobby transfers less than ${MAX_TRANSFER_KIB} KiB`, async (context) => {
  if (process.env.WEBRTC_BOX_PUBLIC) return context.skip('pages served from a folder are not compressed');
  const transferSize = async (name, language = 'en') => {
    const headers = { 'accept-encoding': 'br', 'accept-language': language };
    const [reply] = await once(get(`${harness.server.origin}/${name}`, { ca: await readFile(harness.authority.ca), headers }), 'response');
    assert.deepEqual([reply.statusCode, reply.headers['content-encoding']], [200, 'br'], name);
    return (await buffer(reply)).length;
  };
  const html = await readFile(new URL('../../public/index.html', import.meta.url), 'utf8');
  const linked = [...html.matchAll(/<link rel="(?:stylesheet|manifest)"[^>]* href="\/([^"]+)"/g)].map(([, name]) => name);
  assert.deepEqual(linked, ['manifest.webmanifest', 'assets/style.css']);
  // build.rs joins the other modules into these.
  const scripts = ['app/main.js', 'locales/current-language.js'];
  // The HTML has the words of one language: the largest one counts.
  const page = Math.max(...await Promise.all(LANGUAGES.map((language) => transferSize('', language))));
  const sizes = await Promise.all([...linked, ...scripts].map((name) => transferSize(name)));
  const total = sizes.reduce((sum, size) => sum + size, page);
  context.diagnostic(`measurement: transfer size of the lobby: ${(total / 1024).toFixed(1)} KiB (goal ${MAX_TRANSFER_KIB} KiB)`);
  assert.ok(total <= MAX_TRANSFER_KIB * 1024, `${total} bytes`);
});

harness.scenario('the words and the style of a call come after the lobby, and nothing else does', async (context) => {
  if (process.env.WEBRTC_BOX_PUBLIC) return context.skip('pages served from a folder load each module');
  const participant = await harness.participant('chromium');
  await participant.open(harness.server.origin);
  await participant.waitForState('preview');
  await participant.waitForCondition('the style of a call', `[...document.styleSheets].some((sheet) => sheet.href?.endsWith('/assets/call.css'))`);
  await participant.waitForCondition('the words of a call', `document.getElementById('btnAgain').textContent === 'Join again'`);
  const loaded = (await participant.requestedUrls()).filter((each) => each.startsWith(harness.server.origin)).map(fileName);
  const first = ['', 'assets/style.css', 'app/main.js', 'locales/current-language.js'];
  const optional = ['manifest.webmanifest', 'icon.svg', 'favicon.ico'];
  assert.deepEqual([...new Set(loaded)].filter((name) => !optional.includes(name)).sort(), [...first, ...LATE].sort());
});

// With WEBRTC_BOX_PUBLIC the page is not compressed, and three times the size.
for (const [network, rttMs, kbps, goalMs] of [['60 ms and 9 Mbit/s', 60, 9000, 1000], ['150 ms and 1.6 Mbit/s', 150, 1600, 3000]]) {
  harness.scenario(`the lobby opens soon on a slow phone with ${network}`, async () => {
    const participant = await harness.participant('chromium', { size: { width: 390, height: 844 } });
    await participant.throttle({ cpuFactor: 4, rttMs, kbps });
    await participant.open(harness.roomUrl());
    await participant.waitForCondition('the lobby', `performance.getEntriesByName('lobby').length > 0`);
    const usableAfter = await participant.evaluate(`() => performance.getEntriesByName('lobby')[0].startTime`);
    reportMeasurement(`lobby usable on a slow phone with ${network}`, usableAfter, goalMs);
  });
}
