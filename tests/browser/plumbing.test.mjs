// The call outlives its plumbing: a signaling socket that is cut or falls silent, a grace that ran out, a
// machine that slept, a page that is reloaded or opened twice, credentials that ran out. (A box that is killed:
// restart.test.mjs; a network that changes: tests/nat/switch.test.mjs.)

import assert from 'node:assert/strict';
import path from 'node:path';
import { after } from 'node:test';
import { figure, framesAgain, gapsAgainst, undisturbed } from './lib/figures.mjs';
import { setStage } from './lib/stage.mjs';
import { makeWire } from './lib/wire.mjs';
import { until } from './lib/work.mjs';

const wire = await makeWire();
after(() => wire.end());
const ORIGIN = `https://localhost:${wire.port}`;
const stage = await setStage('plumbing', {
  box: { flags: ['--allowed-origin', ORIGIN, '--room-grace', '4', '--credential-ttl', '6'] },
});
wire.lead(Number(new URL(stage.box.origin).port));

const ALONE = 'go on talking';
const ALONE_AND_BACK = [ALONE, 'Connected'];
const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });

/** Two in a call, the first with the wire between her page and the box; what reaches the relay takes no wire. */
async function couple(kinds, query = '') {
  const url = stage.room(query);
  const two = await Promise.all(kinds.map((kind) => stage.person(kind)));
  await two[0].open(url.replace(stage.box.origin, ORIGIN));
  await two[0].join();
  await two[0].sees('waiting');
  await two[1].open(url);
  await two[1].join();
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
  return two;
}

for (const kinds of [['chromium', 'firefox'], ['firefox', 'chromium']]) {
  stage.scene(`the signaling socket of ${kinds[0]} is cut, then falls silent, and nobody sees it in the picture`, async () => {
    const two = await couple(kinds);
    const before = await two[0].look(pathsMade);
    const calm = await undisturbed(two);

    let began = Date.now();
    wire.cut();
    figure(`${kinds[0]}: seat back after a cut`, await two[0].hasSaid(...ALONE_AND_BACK, began), 3000);
    await gapsAgainst(`${kinds[0]}: cut`, two, calm);

    await Promise.all(two.map((seat) => seat.timeFrames()));
    began = Date.now();
    wire.mute();
    figure(`${kinds[0]}: seat back after silence`, await two[0].hasSaid(...ALONE_AND_BACK, began), 8000);
    await gapsAgainst(`${kinds[0]}: silence`, two, calm);
    assert.equal(await two[0].look(pathsMade), before, 'neither another connection nor an ICE restart was needed');
  });
}

for (const kinds of [['chromium', 'chromium'], ['firefox', 'chromium']]) {
  stage.scene(`a call of ${kinds[0]} that runs is kept after the grace of one side ran out, and is whole again when they are back`, async () => {
    const two = await couple(kinds);
    const calm = await undisturbed(two);
    wire.shut(true);
    wire.cut();
    await two[0].saysNow(ALONE);
    await pause(1500);
    await two[0].resize(390, 844);
    await two[0].touch();
    await two[0].screenshot(path.join(stage.dir, `alone-${kinds[0]}-390x844.png`));
    await two[0].resize(1440, 900);
    await two[0].touch();
    await two[0].screenshot(path.join(stage.dir, `alone-${kinds[0]}-1440x900.png`));
    await pause(4500);
    assert.equal(await two[1].state(), 'connected');
    await gapsAgainst(`${kinds[0]}: grace ran out`, two, calm);
    wire.shut(false);
    await two[0].saysNow('Connected');
    await Promise.all(two.map((seat) => seat.hearsAndSees()));
    for (const seat of two) assert.equal(await seat.look('() => globalThis.__seen.connections.length'), 1, 'still the first connection');
    // The room is theirs again: leaving is told by the server and by the goodbye alike.
    await two[0].leave();
    await two[1].sees(['idle', 'preview', 'waiting']);
  });

  stage.scene(`a machine with ${kinds[0]} that slept for twenty seconds is back in its relayed call on waking`, async () => {
    const two = await stage.pair(kinds, stage.room('?relay=1'));
    await Promise.all(two.map((seat) => seat.hearsAndSees()));
    await two[0].sleep();
    await pause(20_000);
    const began = performance.now();
    await two[0].wake();
    await Promise.all(two.map((seat) => framesAgain(seat)));
    figure(`${kinds[0]}: back in the call after sleep, relayed`, performance.now() - began, 4000);
    await Promise.all(two.map((seat) => seat.hearsAndSees()));
  });
}

stage.scene('a page that the browser froze for twenty seconds is back in its relayed call when it may go on', async () => {
  const two = await stage.pair(['chromium', 'firefox'], stage.room('?relay=1'));
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
  await two[0].freeze(true);
  await pause(20_000);
  const began = performance.now();
  await two[0].freeze(false);
  await Promise.all(two.map((seat) => framesAgain(seat)));
  figure('back in the call after the page was frozen, relayed', performance.now() - began, 4000);
  await two[0].sees('connected');
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
});

stage.scene('a browser that says it is back online looks for a new path at once, and nobody sees it in the picture', async () => {
  const two = await couple(['chromium', 'firefox']);
  const before = await two[0].look(pathsMade);
  const calm = await undisturbed(two);
  await two[0].offline(true);
  await pause(1000);
  assert.equal(await two[0].look(pathsMade), before, 'nothing is done while there is no network');
  const began = performance.now();
  await two[0].offline(false);
  await until('another path', async () => (await two[0].look(pathsMade)) !== before);
  figure('online: ICE restarted', performance.now() - began, 1000);
  await two[0].sees('connected');
  await gapsAgainst('offline and online', two, calm);
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
});

stage.scene('a connection that stands and brings nothing is replaced in the end, and picture and sound are back', async () => {
  const two = await stage.pair(['chromium', 'firefox'], stage.room());
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
  const [sender, listener] = two;
  await listener.look(`() => {
    const [first] = globalThis.__seen.connections;
    globalThis.__states = [];
    first.addEventListener('connectionstatechange', () => __states.push(first.connectionState));
  }`);
  const began = performance.now();
  // Its switches go on saying that it sends, and the path goes on answering.
  await sender.look('() => Promise.all(globalThis.__seen.connections[0].getSenders().map((one) => one.replaceTrack(null)))');
  await until('another connection', () => listener.look('() => globalThis.__seen.connections.length === 2'), 90_000);
  assert.deepEqual(await listener.look('() => __states'), [], 'the browser never doubted it');
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
  // The side that gives way has more patience: 26 s or 44 s, as chance has it.
  figure('a connection that brought nothing: replaced', performance.now() - began, 45_000);
});

/** From here on: in how many moments there is nothing to see of the other, and in how many only what was last seen. */
const WATCH_GAP = `() => {
  const remote = document.getElementById('remote');
  const seen = globalThis.__gap = { blank: 0, bridged: 0 };
  requestAnimationFrame(function look() {
    const waits = remote.readyState < HTMLMediaElement.HAVE_CURRENT_DATA;
    if (waits && remote.poster) seen.bridged += 1;
    // An ended stream is black, though it has a frame.
    else if (waits || !remote.srcObject.active) seen.blank += 1;
    requestAnimationFrame(look);
  });
}`;

stage.scene('a reloaded page is back in the call under a new name of its connection, and stays in sight until then', async () => {
  const two = await stage.pair(['chromium', 'firefox'], stage.room());
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
  for (const [which, seat] of two.entries()) {
    const other = two[1 - which];
    const before = await other.look('() => globalThis.__seen.connections.length');
    await other.look(WATCH_GAP);
    const began = performance.now();
    await seat.reload();
    await until('a frame', async () => (await seat.stats()).frames > 0);
    figure(`${which ? 'firefox' : 'chromium'} reloaded: back in the call`, performance.now() - began, 4000);
    await Promise.all(two.map((one) => one.hearsAndSees()));
    assert.equal(await other.look('() => globalThis.__seen.connections.length'), before + 1, 'one new connection at the other');
    const { blank, bridged } = await other.look('() => globalThis.__gap');
    assert.equal(blank, 0, 'nothing to be seen of them');
    assert.ok(bridged > 0, 'there was a gap to bridge');
  }
});

stage.scene('restarts that both sides make at the same moment leave no picture frozen', async () => {
  const two = await stage.pair(['chromium', 'chromium'], stage.room());
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
  const made = () => Promise.all(two.map((seat) => seat.look('() => globalThis.__seen.connections.length')));
  const before = await made();
  // Two that miss each other are two ordinary restarts.
  await until('two offers to meet', async () => {
    await Promise.all(two.map((seat) => seat.look('() => globalThis.__seen.connections.at(-1).restartIce()')));
    await pause(300);
    return (await made()).some((count, which) => count > before[which]);
  }, 30_000);
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
  await Promise.all(two.map((seat) => seat.timeFrames()));
  await Promise.all(two.map((seat) => until('frames to be shown', async () => (await seat.frameTimes()).count > 10)));
});

for (const kind of ['chromium', 'firefox']) {
  stage.scene(`the same page opened twice in ${kind} does not fight over the seat`, async () => {
    const two = await stage.pair([kind, 'chromium'], stage.room());
    await Promise.all(two.map((seat) => seat.hearsAndSees()));
    const copy = await two[0].duplicate();
    await copy.join();
    assert.equal(await until('an answer', () => copy.errorCode()), 'room-full');
    await copy.close();
    await Promise.all(two.map((seat) => seat.hearsAndSees()));
    assert.equal(await two[1].look('() => globalThis.__seen.connections.length'), 1, 'nobody noticed');
  });
}

stage.scene('credentials that ran out have been replaced in time for a restart', async () => {
  const two = await stage.pair(['chromium', 'firefox'], stage.room('?relay=1'));
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
  const name = '() => globalThis.__seen.connections.at(-1).getConfiguration().iceServers.map((one) => one.username ?? "").join("")';
  const first = await Promise.all(two.map((seat) => seat.look(name)));
  await pause(7000);
  const [expiry] = first[0].split(':');
  assert.ok(Number(expiry) < Date.now() / 1000, 'the first credentials have run out');
  for (const [which, seat] of two.entries()) {
    assert.notEqual(await seat.look(name), first[which], 'new ones are in place');
    const pairs = await seat.look(chosenPair);
    await seat.look('() => globalThis.__seen.connections.at(-1).restartIce()');
    await until('another pair, through the relay', async () => (await seat.look(chosenPair)) !== pairs);
    await Promise.all(two.map((one) => one.hearsAndSees()));
  }
});

/** Runs in the page: how many connections were made, and by which name ICE goes on the newest. */
const pathsMade = `() => [globalThis.__seen.connections.length,
  /ice-ufrag:\\S+/.exec(globalThis.__seen.connections.at(-1).localDescription.sdp)[0]].join(' ')`;

/** Runs in the page: our end of the pair in use. */
const chosenPair = `async () => {
  const stats = [...(await globalThis.__seen.connections.at(-1).getStats()).values()];
  const pair = stats.find((one) => one.id === stats.find((other) => other.selectedCandidatePairId)?.selectedCandidatePairId)
    ?? stats.find((one) => one.type === 'candidate-pair' && one.selected);
  return stats.find((one) => one.id === pair?.localCandidateId)?.port + '/' + stats.find((one) => one.id === pair?.localCandidateId)?.address;
}`;
