// A store that is slow, full, read-only, too old, refuses the password, or comes back empty: running calls are untouched, the owner answers
// joins at once, each box logs one sentence, and everything recovers by itself.

import assert from 'node:assert/strict';
import { after } from 'node:test';
import { reportMeasurement } from '../browser/lib/measurements.mjs';
import { delay, waitFor } from '../browser/lib/wait.mjs';
import { spawnOn } from '../nat/network.mjs';
import { createClusterHarness, isByStore } from './lib/cluster.mjs';

const FAULT_MS = 5000;
const JOIN_GOAL_MS = 100;
const NEW_ROOM_GOAL_MS = 700;
const BACK_GOAL_MS = 5000;
const DRAIN_SECONDS = 10;
/** Longer than a box waits for an answer, and often enough that both phases of a drain meet several. */
const SPIKE = { delayMs: 1000, everyMs: 700 };
const GAP_GOAL_MS = 1000;
const PROXY_PORT = 6390;
/** The store lost and back, twice if the fault begins and ends slowly, and rooms that two boxes opened. */
const MAX_LINES = 6;

let proxy;
const harness = await createClusterHarness('cluster-store-faults', {
  flags: ['--drain-timeout', `${DRAIN_SECONDS}`],
  async storeUrl(store) {
    proxy = await spawnOn('store', '../cluster/lib/store-proxy.mjs', 'createStoreProxy', { address: store.address, port: PROXY_PORT }, { address: store.address, port: store.port });
    after(() => proxy.close());
    return store.urlAt(PROXY_PORT);
  },
});
const { boxes, store } = harness.cluster;
const [owner, ...others] = boxes;
const clients = await harness.signalingClients('a2');
const version = /redis_version:(\S+)/.exec(await store.cli('INFO', 'server'))[1];
const oldVersion = version.replace(/^\d/, '5');

/** `sentence`: in the log of each box. */
const FAULTS = {
  'answers after a second': { begin: () => proxy.setDelay(1000), end: () => proxy.setDelay(0), sentence: /does not answer within/ },
  'is full': { begin: () => store.config('maxmemory', '1'), end: () => store.config('maxmemory', '0'), sentence: /OOM|full/ },
  'is read-only': { begin: () => store.cli('REPLICAOF', '45.0.20.99', '6379'), end: () => store.cli('REPLICAOF', 'NO', 'ONE'), sentence: /read-only/ },
  [`is version ${oldVersion}`]: { begin: () => proxy.replace(version, oldVersion), end: () => proxy.replace('', ''), sentence: /too old; 6\.2 or later/ },
  'refuses the password': {
    async begin() {
      await store.changePassword('another-password');
      await proxy.reset();
    },
    end: () => store.changePassword(),
    sentence: /password/,
  },
  'comes back empty': {
    async begin() {
      await store.stop();
      await store.start({ empty: true });
    },
    end: async () => {},
    // A box that asks nothing meanwhile does not notice.
    sentence: null,
  },
};

let rooms = 0;
for (const [fault, { begin, end, sentence }] of Object.entries(FAULTS)) {
  harness.scenario(`the store ${fault}`, async () => {
    const number = (rooms += 1);
    const held = `held-${number}`;
    const relayed = await harness.relayCalls('b1', { prefix: `fault-${number}`, count: 2, host: owner.name });
    const { fence } = await clients.join(held, { room: held, host: owner.name });
    await relayed.expectMedia();
    const logged = await Promise.all(boxes.map(async (box) => (await box.log()).length));

    const begunAt = Date.now();
    await begin();
    for (const box of boxes) {
      const { answer, ms } = await clients.ask(box.name, { type: 'join', room: `new-${number}-${box.host}` });
      assert.ok(['resp-join', 'redirect'].includes(answer?.type), `${box.name}: ${JSON.stringify(answer)}`);
      reportMeasurement(`store ${fault}: a new room on ${box.name}`, ms, NEW_ROOM_GOAL_MS);
    }
    await delay(Math.max(0, FAULT_MS - (Date.now() - begunAt)));
    const { answer, ms } = await clients.ask(owner.name, { type: 'join', room: held });
    assert.equal(answer?.type, 'resp-join', JSON.stringify(answer));
    reportMeasurement(`store ${fault}: join on the owner`, ms, JOIN_GOAL_MS);

    const endedAt = Date.now();
    await end();
    await waitFor('a join on another box to lead to the owner', async () => {
      const { answer: led } = await clients.ask(others[0].name, { type: 'join', room: held });
      return isByStore(led, 'redirect') && new URL(led.url).hostname === owner.name && led.fence >= fence;
    });
    reportMeasurement(`store ${fault}: joins lead to the owner again`, Date.now() - endedAt, BACK_GOAL_MS);
    await waitFor('new rooms to be known to all boxes', newRoomIsKnownToAll, 3 * BACK_GOAL_MS);
    assert.deepEqual((await relayed.eventsSince(begunAt)).flat(), [], 'running calls are untouched');
    reportMeasurement(`store ${fault}: relayed media, longest gap`, Math.max(...(await relayed.gaps())), 500);
    await relayed.leave();

    for (const [place, box] of boxes.entries()) {
      const lines = (await box.log()).slice(logged[place]).split('\n').filter((line) => /WARN|ERROR|cluster::/.test(line));
      console.log(`${box.name}:\n  ${lines.join('\n  ')}`);
      assert.ok(lines.length <= MAX_LINES, `${lines.length} lines`);
      assert.ok(!lines.some((line) => /lease/.test(line)), 'what follows from the outage has no line of its own');
      if (sentence) assert.equal(lines.filter((line) => /the store cannot be used/.test(line) && sentence.test(line)).length, 1, 'a sentence about the fault');
      assert.ok(!lines.some((line) => line.includes(store.password)), 'no password in the log');
    }
  });
}

harness.scenario('the latency of the store jumps while a box drains', async () => {
  const relayed = await harness.relayCalls('b1', { prefix: 'spikes', count: 4, host: owner.name });
  await relayed.expectMedia();
  let isSlow = false;
  const spikes = setInterval(() => {
    isSlow = !isSlow;
    proxy.setDelay(isSlow ? SPIKE.delayMs : 0);
  }, SPIKE.everyMs);

  const startedAt = Date.now();
  const ended = owner.terminate();
  const times = await relayed.waitForSeats(startedAt, DRAIN_SECONDS * 1000 + 10_000).finally(() => clearInterval(spikes));
  await proxy.setDelay(0);
  console.log(`store spikes: seats joined elsewhere after ${Math.min(...times)} to ${Math.max(...times)} ms`);
  await ended;
  const hosts = await relayed.boxes();
  assert.ok(!hosts.includes(owner.address), 'no seat is on the box that has stopped');
  assert.ok(hosts.every((host, index) => host === hosts[index - (index % 2)]), `both of each call are on one box: ${hosts}`);
  reportMeasurement('store spikes during a drain: relayed media, longest gap', Math.max(...(await relayed.gaps())), GAP_GOAL_MS);
  await relayed.expectMedia();
  await relayed.leave();
  await owner.start();
  await waitFor('new rooms to be known to all boxes', newRoomIsKnownToAll, 3 * BACK_GOAL_MS);
});

/** Opens a room on the last box; whether the others redirect to it. */
async function newRoomIsKnownToAll() {
  const [last, ...rest] = boxes.toReversed();
  const room = `after-${(rooms += 1)}`;
  await clients.join(room, { room, host: last.name });
  const answers = await Promise.all(rest.map((box) => clients.ask(box.name, { type: 'look', room })));
  await clients.leave(room);
  return answers.every(({ answer }) => isByStore(answer, 'redirect'));
}
