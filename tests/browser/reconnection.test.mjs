// A call survives faults around it: a signaling socket that is reset or goes silent, an expired grace period, a suspended
// machine, a frozen page, a page that is reloaded or opened twice, expired TURN credentials. Other faults: a killed server
// in server-restart.test.mjs, a changed network in tests/nat/network-change.test.mjs.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, afterEach } from 'node:test';
import { createHarness, ENDED_STATES } from './lib/harness.mjs';
import { measureBaselineGaps, reportFrameGaps, reportMeasurement, waitForNewFrames } from './lib/measurements.mjs';
import { createTcpProxy } from './lib/tcp-proxy.mjs';
import { delay, waitFor } from './lib/wait.mjs';

const GRACE_SECONDS = 4;
const proxy = await createTcpProxy();
after(() => proxy.close());
afterEach(() => proxy.rejectNew(false));
const PROXY_ORIGIN = `https://localhost:${proxy.port}`;
const harness = await createHarness('reconnection', {
  server: { flags: ['--allowed-origin', PROXY_ORIGIN, '--room-grace', `${GRACE_SECONDS}`, '--credential-ttl', '6'] },
});
proxy.setTarget(Number(new URL(harness.server.origin).port));

const SIGNALING_LOST = 'go on talking';
const LOST_AND_RECOVERED = [SIGNALING_LOST, 'Connected'];

/** Runs in the page: the number of connections made, and the newest one's ICE username fragment. */
const connectionId = `() => [globalThis.__observed.connections.length,
  /ice-ufrag:\\S+/.exec(globalThis.__observed.connections.at(-1).localDescription.sdp)[0]].join(' ')`;
const connectionCount = (participant) => participant.evaluate('() => globalThis.__observed.connections.length');

/** Runs in the page: the local address of the selected candidate pair. */
const selectedLocalAddress = `async () => {
  const stats = [...(await globalThis.__observed.connections.at(-1).getStats()).values()];
  const pair = stats.find((stat) => stat.id === stats.find((each) => each.selectedCandidatePairId)?.selectedCandidatePairId)
    ?? stats.find((stat) => stat.type === 'candidate-pair' && stat.selected);
  const local = stats.find((stat) => stat.id === pair?.localCandidateId);
  return local?.port + '/' + local?.address;
}`;

/** Two participants in a call; the first one's page reaches the server through the proxy, its media does not. */
async function joinThroughProxy(kinds) {
  const url = harness.roomUrl();
  const pair = await Promise.all(kinds.map((kind) => harness.participant(kind)));
  await pair[0].open(url.replace(harness.server.origin, PROXY_ORIGIN));
  await pair[0].join();
  await pair[0].waitForState('waiting');
  await pair[1].open(url);
  await pair[1].join();
  await harness.expectMedia(pair);
  return pair;
}

async function joinRelayedPair(kinds) {
  const pair = await harness.joinPair(kinds, harness.roomUrl('?relay=1'));
  await harness.expectMedia(pair);
  return pair;
}

for (const kinds of [['chromium', 'firefox'], ['firefox', 'chromium']]) {
  harness.scenario(`${kinds[0]}'s signaling socket is reset, then silent; video goes on`, async () => {
    const pair = await joinThroughProxy(kinds);
    const before = await pair[0].evaluate(connectionId);
    const baseline = await measureBaselineGaps(pair);

    const resetAt = Date.now();
    proxy.reset();
    reportMeasurement(`${kinds[0]}: seat resumed after a reset`, await pair[0].waitForStatusSequence(...LOST_AND_RECOVERED, resetAt), 3000);
    await reportFrameGaps(`${kinds[0]}: reset`, pair, baseline);

    await Promise.all(pair.map((participant) => participant.startFrameTiming()));
    const silentAt = Date.now();
    proxy.silence();
    reportMeasurement(`${kinds[0]}: seat resumed after silence`, await pair[0].waitForStatusSequence(...LOST_AND_RECOVERED, silentAt), 4000);
    await reportFrameGaps(`${kinds[0]}: silence`, pair, baseline);
    assert.equal(await pair[0].evaluate(connectionId), before, 'neither another connection nor an ICE restart');
  });
}

for (const kinds of [['chromium', 'chromium'], ['firefox', 'chromium']]) {
  harness.scenario(`${kinds[0]}'s running call outlives the grace period of its seat`, async () => {
    const pair = await joinThroughProxy(kinds);
    const baseline = await measureBaselineGaps(pair);
    const lostAt = performance.now();
    proxy.rejectNew(true);
    proxy.reset();
    await pair[0].waitForStatusText(SIGNALING_LOST);
    for (const [width, height] of [[390, 844], [1440, 900]]) {
      await pair[0].setViewport(width, height);
      await pair[0].movePointer();
      await pair[0].screenshot(path.join(harness.dir, `signaling-lost-${kinds[0]}-${width}x${height}.png`));
    }
    // Two seconds beyond the grace period nothing must have happened to the call.
    await delay(Math.max(0, lostAt + (GRACE_SECONDS + 2) * 1000 - performance.now()));
    assert.equal(await pair[1].state(), 'connected');
    await reportFrameGaps(`${kinds[0]}: grace period expired`, pair, baseline);
    proxy.rejectNew(false);
    await pair[0].waitForStatusText('Connected');
    await harness.expectMedia(pair);
    for (const participant of pair) assert.equal(await connectionCount(participant), 1, 'still the first connection');
    // Both have their seats again: leaving reaches the other participant.
    await pair[0].leave();
    await pair[1].waitForState(ENDED_STATES);
  });

  harness.scenario(`${kinds[0]} resumes its relayed call after 20 s of suspension`, async () => {
    const pair = await joinRelayedPair(kinds);
    await pair[0].suspend();
    await delay(20_000);
    const resumedAt = performance.now();
    await pair[0].resume();
    await Promise.all(pair.map((participant) => waitForNewFrames(participant)));
    reportMeasurement(`${kinds[0]}: relayed call resumed after suspension`, performance.now() - resumedAt, 4000);
    await harness.expectMedia(pair);
  });
}

harness.scenario('a page frozen for 20 s resumes its relayed call', async () => {
  const pair = await joinRelayedPair(['chromium', 'firefox']);
  await pair[0].setFrozen(true);
  await delay(20_000);
  const resumedAt = performance.now();
  await pair[0].setFrozen(false);
  await Promise.all(pair.map((participant) => waitForNewFrames(participant)));
  reportMeasurement('relayed call resumed after the page was frozen', performance.now() - resumedAt, 4000);
  await pair[0].waitForState('connected');
  await harness.expectMedia(pair);
});

harness.scenario('a browser that is online again restarts ICE at once; video goes on', async () => {
  const pair = await joinThroughProxy(['chromium', 'firefox']);
  const before = await pair[0].evaluate(connectionId);
  const baseline = await measureBaselineGaps(pair);
  await pair[0].setOffline(true);
  await delay(1000);
  assert.equal(await pair[0].evaluate(connectionId), before, 'nothing happens without a network');
  const onlineAt = performance.now();
  await pair[0].setOffline(false);
  await waitFor('the ICE restart', async () => (await pair[0].evaluate(connectionId)) !== before);
  reportMeasurement('online: ICE restarted', performance.now() - onlineAt, 1000);
  await pair[0].waitForState('connected');
  await reportFrameGaps('offline and online', pair, baseline);
  await harness.expectMedia(pair);
});

harness.scenario('a connected connection without media is replaced, and media returns', async () => {
  const pair = await harness.joinPair(['chromium', 'firefox'], harness.roomUrl());
  await harness.expectMedia(pair);
  const [sender, receiver] = pair;
  await receiver.evaluate(`() => {
    const [connection] = globalThis.__observed.connections;
    globalThis.__states = [];
    connection.addEventListener('connectionstatechange', () => __states.push(connection.connectionState));
  }`);
  const stoppedAt = performance.now();
  // The sender still announces audio and video, and ICE still works.
  await sender.evaluate('() => Promise.all(globalThis.__observed.connections[0].getSenders().map((each) => each.replaceTrack(null)))');
  await receiver.waitForCondition('another connection', 'globalThis.__observed.connections.length === 2', 90_000);
  assert.deepEqual(await receiver.evaluate('() => __states'), [], 'the browser did not notice');
  await harness.expectMedia(pair);
  // The polite side waits longer: 26 s or 44 s, depending on the roles.
  reportMeasurement('connection without media: replaced', performance.now() - stoppedAt, 45_000);
});

/** Runs in the page: counts animation frames without any picture of the peer, and pictures kept for a gap, in which a busy
 *  machine may have no animation frame at all. */
const COUNT_BLANK_FRAMES = `() => {
  const remote = document.getElementById('remote');
  const counts = globalThis.__blankFrames = { blank: 0, kept: 0 };
  new MutationObserver(() => { if (remote.poster) counts.kept += 1; }).observe(remote, { attributeFilter: ['poster'] });
  requestAnimationFrame(function count() {
    const hasNoFrame = remote.readyState < HTMLMediaElement.HAVE_CURRENT_DATA;
    // An ended stream is black although it has a frame.
    if (hasNoFrame ? !remote.poster : !remote.srcObject.active) counts.blank += 1;
    requestAnimationFrame(count);
  });
}`;

harness.scenario('a reloaded page rejoins on a new connection without a blank video', async () => {
  const pair = await harness.joinPair(['chromium', 'firefox'], harness.roomUrl());
  await harness.expectMedia(pair);
  for (const [index, reloading] of pair.entries()) {
    const peer = pair[1 - index];
    const before = await connectionCount(peer);
    await peer.evaluate(COUNT_BLANK_FRAMES);
    const reloadedAt = performance.now();
    await reloading.reload();
    await waitFor('a frame', async () => (await reloading.stats()).frames > 0);
    reportMeasurement(`${index ? 'firefox' : 'chromium'} reloaded: rejoined`, performance.now() - reloadedAt, 4000);
    await harness.expectMedia(pair);
    assert.equal(await connectionCount(peer), before + 1, 'one new connection at the peer');
    const { blank, kept } = await peer.evaluate('() => globalThis.__blankFrames');
    assert.equal(blank, 0, 'frames without a picture');
    assert.ok(kept > 0, 'the last picture is kept for the gap');
  }
});

harness.scenario('simultaneous ICE restarts leave no video frozen', async () => {
  const pair = await harness.joinPair(['chromium', 'chromium'], harness.roomUrl());
  await harness.expectMedia(pair);
  const counts = () => Promise.all(pair.map(connectionCount));
  const before = await counts();
  // Offers that do not collide are two ordinary restarts: try again.
  await waitFor('two offers to collide', async () => {
    await Promise.all(pair.map((participant) => participant.evaluate('() => globalThis.__observed.connections.at(-1).restartIce()')));
    await delay(300);
    return (await counts()).some((count, index) => count > before[index]);
  }, 30_000);
  await harness.expectMedia(pair);
  await Promise.all(pair.map((participant) => participant.startFrameTiming()));
  await Promise.all(pair.map((participant) => waitFor('presented frames', async () => (await participant.frameTiming()).count > 10)));
});

for (const kind of ['chromium', 'firefox']) {
  harness.scenario(`a duplicated tab in ${kind} takes the call only when asked, and gives it back`, async () => {
    const pair = await harness.joinPair([kind, 'chromium'], harness.roomUrl());
    await harness.expectMedia(pair);
    const copy = await pair[0].duplicate();
    await copy.waitForCondition('the call in the other tab', `document.getElementById('doorTitle').textContent === 'You are in this call in another tab'
      && document.getElementById('joinWord').textContent === 'Use this one instead'`);
    await harness.expectMedia(pair);
    assert.equal(await connectionCount(pair[1]), 1, 'the peer noticed nothing');
    await copy.join();
    await copy.waitForCondition('the call in this tab', `document.getElementById('status').dataset.state === 'connected'`, 45_000);
    await pair[0].waitForCondition('the end of the call here', `document.body.dataset.screen === 'ended'
      && document.getElementById('btnAgain').textContent.includes('Use it here instead')`);
    await pair[0].evaluate(`() => document.getElementById('btnAgain').click()`);
    await copy.waitForCondition('the end of the call there', `document.body.dataset.screen === 'ended'`);
    await copy.close();
    await harness.expectMedia(pair);
  });
}

harness.scenario('TURN credentials are renewed before they expire', async () => {
  const pair = await joinRelayedPair(['chromium', 'firefox']);
  const usernames = '() => globalThis.__observed.connections.at(-1).getConfiguration().iceServers.map((each) => each.username ?? "").join("")';
  const initial = await Promise.all(pair.map((participant) => participant.evaluate(usernames)));
  const expiry = Math.max(...initial.map((username) => Number(username.split(':')[0])));
  await waitFor('the first credentials to expire', () => expiry < Date.now() / 1000);
  for (const [index, participant] of pair.entries()) {
    assert.notEqual(await participant.evaluate(usernames), initial[index], 'new credentials are in place');
    const before = await participant.evaluate(selectedLocalAddress);
    await participant.evaluate('() => globalThis.__observed.connections.at(-1).restartIce()');
    await waitFor('another relayed candidate pair', async () => (await participant.evaluate(selectedLocalAddress)) !== before);
    await harness.expectMedia(pair);
  }
});
