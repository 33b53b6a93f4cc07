// Rejoining a room: one that needed a host key, after a restart of the server; a room that is taken or full; from a closed
// tab; with "Call again"; and in a browser without storage.

import assert from 'node:assert/strict';
import { after, afterEach } from 'node:test';
import { createHarness, ENDED_STATES } from './lib/harness.mjs';
import { createTcpProxy } from './lib/tcp-proxy.mjs';
import { waitFor } from './lib/wait.mjs';

const HOST_KEY = 'open sesame';
const proxy = await createTcpProxy();
after(() => proxy.close());
afterEach(() => proxy.rejectNew(false));
const PROXY_ORIGIN = `https://localhost:${proxy.port}`;
const harness = await createHarness('rejoin', { server: { flags: ['--allowed-origin', PROXY_ORIGIN, '--room-grace', '4', '--host-key', HOST_KEY] } });
proxy.setTarget(Number(new URL(harness.server.origin).port));
const throughProxy = (url) => url.replace(harness.server.origin, PROXY_ORIGIN);

/** Waits in front of a room that only the host opens. */
const waitForHost = (participant) => participant.waitForCondition('the field of the host key', `document.body.dataset.screen === 'knocking'
  && document.getElementById('hostKey').checkVisibility() && document.getElementById('knockingWhy').textContent.startsWith('The host is not here yet')`);

/** Joins a new room, which waits for the host key. */
async function joinAsHost(host, url) {
  await host.open(url);
  await host.join();
  await waitForHost(host);
  await host.click('#hostKey');
  await host.type(HOST_KEY);
  await host.press('Enter');
  await host.waitForState('waiting');
}

/** A host, who entered the key, and a second participant, in a call. */
async function joinHostedPair(kinds, hostUrl, peerUrl = hostUrl, options = {}) {
  const pair = await Promise.all(kinds.map((kind) => harness.participant(kind, options)));
  await joinAsHost(pair[0], hostUrl);
  await pair[1].open(peerUrl);
  await pair[1].join();
  await harness.expectMedia(pair);
  return pair;
}

/** Runs in a page of the server: takes a seat in this room with a socket that sends nothing else. */
const takeSeat = (url, key) => `() => new Promise((resolve, reject) => {
  const socket = new WebSocket('wss://' + location.host + '/ws');
  socket.onmessage = ({ data }) => JSON.parse(data).type === 'resp-join' ? resolve(true) : reject(new Error(data));
  socket.onopen = () => socket.send(JSON.stringify({ type: 'join', room: '${url.split('/').at(-1)}'${key ? `, key: '${key}'` : ''} }));
  (globalThis.__sockets ??= []).push(socket);
})`;

/** A browser that takes seats with `takeSeat`. */
async function launchSeatTaker() {
  const seatTaker = await harness.participant('chromium');
  await seatTaker.open(`${harness.server.origin}/test`);
  return seatTaker;
}

harness.scenario('after a server restart a peer without the key rejoins before the host', async () => {
  const url = harness.roomUrl();
  const [host, peer] = await joinHostedPair(['chromium', 'firefox'], throughProxy(url), url);
  proxy.rejectNew(true);
  const crashedAt = Date.now();
  await harness.server.crash();
  await harness.server.start();
  await peer.waitForStatusSequence('go on talking', 'Connected', crashedAt);
  assert.equal(await host.state(), 'connected');
  proxy.rejectNew(false);
  await host.waitForStatusText('Connected');
  await harness.expectMedia([host, peer]);
  await peer.leave();
  await host.waitForState(ENDED_STATES);
});

harness.scenario('after a server restart a relayed call in a keyed room recovers', async () => {
  const pair = await joinHostedPair(['chromium', 'firefox'], harness.roomUrl('?relay=1'));
  await harness.server.crash();
  await harness.server.start();
  await Promise.all(pair.map((participant) => participant.waitForState('connected')));
  await harness.expectMedia(pair);
});

harness.scenario('a call whose room others have taken goes on until its connection ends', async () => {
  const url = harness.roomUrl();
  const pair = await joinHostedPair(['chromium', 'chromium'], throughProxy(url));
  const seatTaker = await launchSeatTaker();
  proxy.rejectNew(true);
  proxy.reset();
  await waitFor('the first seat to expire', () => seatTaker.evaluate(takeSeat(url, HOST_KEY)).catch(() => false));
  await waitFor('the second seat to expire', () => seatTaker.evaluate(takeSeat(url)).catch(() => false));
  proxy.rejectNew(false);
  await Promise.all(pair.map((participant) => participant.waitForStatusText('cannot reconnect')));
  for (const participant of pair) {
    assert.equal(await participant.evaluate(`() => document.getElementById('error').hidden`), true, 'no error to act on');
    await participant.expectMedia();
  }
  // Closing the connection sends no leave message.
  await pair[1].evaluate('() => globalThis.__observed.connections.at(-1).close()');
  await pair[0].waitForCondition('the end of the call', `document.getElementById('afterWhy').textContent.includes('could not be restored')`, 60_000);
  await pair[0].waitForState('idle');
});

for (const kind of ['chromium', 'firefox']) {
  harness.scenario(`${kind} rejoins after closing the tab or going to another page`, async () => {
    const url = harness.roomUrl();
    const [host, peer] = await joinHostedPair(['chromium', kind], url);
    for (const goAway of [() => peer.replaceTab(), () => peer.open('about:blank')]) {
      await goAway();
      await peer.open(url);
      const occupancy = await waitFor('the occupancy', () => peer.evaluate(`() => document.getElementById('inside').dataset.seats`));
      assert.equal(occupancy, '1', 'the host only, without the own old seat');
      await peer.join();
      await harness.expectMedia([host, peer]);
    }
  });
}

harness.scenario('"Call again" after leaving on a silent network resumes the old seat', async () => {
  const url = harness.roomUrl();
  const participant = await harness.participant('chromium');
  const seatTaker = await launchSeatTaker();
  await seatTaker.evaluate(takeSeat(url, HOST_KEY));
  await participant.open(throughProxy(url));
  await participant.join();
  await participant.waitForState('connecting');
  proxy.silence();
  await participant.leave();
  await participant.waitForState('idle');
  await participant.click('#btnAgain');
  await participant.waitForState('connecting');
});

harness.scenario('an early guest waits for the host, also over a restart, and is let in', async () => {
  const url = harness.roomUrl();
  const guest = await harness.participant('firefox');
  await guest.open(url);
  await guest.join();
  await waitForHost(guest);
  await harness.server.crash();
  await harness.server.start();
  await guest.waitForState('waiting');
  await waitForHost(guest);
  const host = await harness.participant('chromium');
  await host.open(url);
  await host.join();
  await waitForHost(host);
  await host.click('#hostKey');
  await host.type('a wrong key');
  await host.press('Enter');
  await host.waitForError('key-required');
  await host.waitForCondition('the key field', `document.activeElement?.id === 'key'`);
  await host.type(HOST_KEY);
  await host.press('Enter');
  await harness.expectMedia([host, guest]);
});

harness.scenario('who waits in front of a full room of a host gets the freed seat', async () => {
  const url = harness.roomUrl();
  const third = await harness.participant('chromium');
  const seatTaker = await launchSeatTaker();
  await seatTaker.evaluate(takeSeat(url, HOST_KEY));
  await seatTaker.evaluate(takeSeat(url));
  await third.open(url);
  await third.join();
  await third.waitForCondition('the waiting screen', `document.body.dataset.screen === 'knocking'
    && document.getElementById('knockingWhy').textContent.startsWith('Two people are already in this call')`);
  await seatTaker.evaluate(`() => globalThis.__sockets[0].send('{"type":"leave"}')`);
  await third.waitForState('connecting');
});

harness.scenario('a retry after no path was found does not ask for devices again', async () => {
  const url = harness.roomUrl();
  const participant = await harness.participant('chromium', { devices: 'none' });
  const seatTaker = await launchSeatTaker();
  await seatTaker.evaluate(takeSeat(url, HOST_KEY));
  await participant.open(url);
  await participant.join();
  await participant.waitForState('failed', 60_000);
  await participant.waitForError('no-path');
  await participant.evaluate(`() => {
    globalThis.__requests = 0;
    navigator.mediaDevices.getUserMedia = async () => { globalThis.__requests += 1; throw new DOMException('none', 'NotFoundError'); };
  }`);
  await participant.click('#btnRetry');
  await participant.waitForState('connecting');
  assert.equal(await participant.evaluate('() => globalThis.__requests'), 0);
});

for (const kind of ['chromium', 'firefox']) {
  harness.scenario(`${kind} without storage can call, and rejoins after a lost connection`, async () => {
    const url = harness.roomUrl();
    const initScript = `() => {
      for (const name of ['sessionStorage', 'localStorage']) {
        Object.defineProperty(globalThis, name, { get() { throw new DOMException('The operation is insecure.', 'SecurityError'); } });
      }
    }`;
    const pair = await joinHostedPair([kind, 'chromium'], throughProxy(url), url, { initScript });
    const resetAt = Date.now();
    proxy.reset();
    await pair[0].waitForStatusSequence('go on talking', 'Connected', resetAt);
    await pair[0].click('[data-act=mic]');
    await Promise.all(pair.map((participant) => participant.waitForState('connected')));
    await pair[0].leave();
    for (const participant of pair) await participant.waitForState(ENDED_STATES);
  });
}

harness.scenario('the wake lock is held during the call only', async () => {
  const heldLocks = `() => [...globalThis.__locks].filter((lock) => !lock.released).length`;
  const initScript = `() => {
    globalThis.__locks = new Set();
    const request = async () => {
      const lock = { released: false, async release() { this.released = true; } };
      globalThis.__locks.add(lock);
      return lock;
    };
    Object.defineProperty(navigator, 'wakeLock', { value: { request } });
  }`;
  const [first, second] = await joinHostedPair(['chromium', 'chromium'], harness.roomUrl(), undefined, { initScript });
  assert.equal(await first.evaluate(heldLocks), 1);
  await harness.server.crash();
  await second.close();
  await harness.server.start();
  await first.waitForState('waiting', 60_000);
  assert.equal(await first.evaluate(heldLocks), 0);
  await first.leave();
  await first.waitForState('preview');
});
