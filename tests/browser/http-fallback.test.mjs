// Calls where no WebSocket opens: the page sends its messages over HTTP requests, through a proxy that refuses WebSockets or
// never answers them, and that holds back each response until it is complete.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, beforeEach } from 'node:test';
import { createCertificateAuthority } from './lib/certificate-authority.mjs';
import { runConnectionTest } from './lib/connection-test.mjs';
import { createHarness } from './lib/harness.mjs';
import { createHttpProxy } from './lib/http-proxy.mjs';
import { reportMeasurement } from './lib/measurements.mjs';
import { delay, waitFor } from './lib/wait.mjs';
import { createWorkDir } from './lib/workspace.mjs';

const authority = await createCertificateAuthority(path.join(await createWorkDir('http-fallback-authority'), 'authority'));
const proxy = await createHttpProxy(authority);
after(() => proxy.close());
beforeEach(() => proxy.setUpgrades('pass'));
const harness = await createHarness('http-fallback', { authority, server: { flags: ['--allowed-origin', proxy.origin] } });
proxy.setTarget(Number(new URL(harness.server.origin).port));

const throughProxy = (url) => url.replace(harness.server.origin, proxy.origin);
const usesPolling = async (participant) => (await participant.requestedUrls()).some((each) => new URL(each).pathname === '/poll');
const connections = (participant) => participant.evaluate('() => globalThis.__observed.connections.length');

/** Two participants in a call, the first one through the proxy; the second one too where `bothThroughProxy`. */
async function joinPair(kinds, { bothThroughProxy }) {
  const url = harness.roomUrl();
  const pair = await Promise.all(kinds.map((kind) => harness.participant(kind)));
  await pair[0].open(throughProxy(url));
  await pair[0].join();
  await pair[0].waitForState('waiting');
  await pair[1].open(bothThroughProxy ? throughProxy(url) : url);
  await pair[1].join();
  await harness.expectMedia(pair);
  return pair;
}

for (const kinds of [['chromium', 'firefox'], ['firefox', 'chromium']]) {
  harness.scenario(`${kinds[0]} and ${kinds[1]} call each other where WebSockets are refused`, async () => {
    proxy.setUpgrades('refuse');
    const [first, second] = await joinPair(kinds, { bothThroughProxy: true });
    assert.deepEqual([await usesPolling(first), await usesPolling(second), proxy.open.webSockets], [true, true, 0]);

    await first.reload();
    await harness.expectMedia([first, second]);
    assert.equal(await second.evaluate('() => document.getElementById("error").hidden'), true);

    const closedAt = performance.now();
    await first.open(`${proxy.origin}/healthz`);
    await second.waitForStatusText('They closed the page');
    reportMeasurement(`${kinds[0]} closed the page, over HTTP requests: shown`, performance.now() - closedAt, 2000);
  });

  harness.scenario(`${kinds[0]} joins over HTTP, ${kinds[1]} over WebSocket; the first returns to WebSocket`, async () => {
    proxy.setUpgrades('drop');
    const pair = await joinPair(kinds, { bothThroughProxy: false });
    assert.deepEqual([await usesPolling(pair[0]), await usesPolling(pair[1])], [true, false]);

    // The session goes on over new connections; only its end lets the page choose again.
    proxy.setUpgrades('pass');
    proxy.reset();
    const restartedAt = Date.now();
    await harness.server.crash();
    await harness.server.start();
    await waitFor('a WebSocket', () => proxy.open.webSockets === 1 && proxy.open.polls === 0, 30_000);
    await pair[0].waitForStatusSequence('go on talking', 'Connected', restartedAt);
    reportMeasurement(`${kinds[0]}: back on WebSocket after a restart of the server`, Date.now() - restartedAt, 8000);
    assert.deepEqual(await Promise.all(pair.map(connections)), [1, 1], 'the call itself goes on');
    await pair[1].leave();
    await pair[0].waitForState(['idle', 'preview', 'waiting']);
  });

  harness.scenario(`a call of ${kinds[0]} over HTTP requests survives a restart of the server`, async () => {
    proxy.setUpgrades('refuse');
    const pair = await joinPair(kinds, { bothThroughProxy: true });
    const crashedAt = Date.now();
    await harness.server.crash();
    // The outage lasts about a second.
    await delay(1000);
    await harness.server.start();
    await Promise.all(pair.map((participant) => participant.waitForStatusSequence('go on talking', 'Connected', crashedAt)));
    reportMeasurement('server away for a second, both over HTTP requests: both rejoined', Date.now() - crashedAt, 8000);
    await harness.expectMedia(pair);
    await pair[1].leave();
    await pair[0].waitForState(['idle', 'preview', 'waiting']);
  });

  harness.scenario(`${kinds[0]} joins soon once it has learned that no WebSocket opens`, async () => {
    proxy.setUpgrades('refuse');
    const [first] = await joinPair(kinds, { bothThroughProxy: true });
    await first.leave();
    const joinedAt = performance.now();
    await first.click('#btnAgain');
    await first.waitForState(['waiting', 'connecting', 'connected']);
    reportMeasurement(`${kinds[0]}: seat taken over HTTP requests`, performance.now() - joinedAt, 1000);
  });

  harness.scenario(`the connection test in ${kinds[0]} says that no WebSocket opens`, async () => {
    proxy.setUpgrades('drop');
    const results = await runConnectionTest(await harness.participant(kinds[0]), proxy);
    assert.ok(results.notes.includes('This network or browser opens no WebSocket. Calls use HTTP instead.'), JSON.stringify(results));
  });
}
