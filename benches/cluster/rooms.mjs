// Many rooms on three boxes with one store, next to as many on a single box without a cluster, in the same run: joins a second, their
// latency, CPU time, and what the store has to do at rest. (How to run it, and what it measures: README.md.)

import { mkdir, readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { after } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startServer } from '../../tests/browser/lib/server.mjs';
import { createClusterHarness, DOMAIN, EXTRA_BOX } from '../../tests/cluster/lib/cluster.mjs';
import { percentile } from '../../tests/cluster/lib/figures.mjs';
import { on, runOn, spawnOn } from '../../tests/nat/network.mjs';

const SHORT = process.env.SHORT === '1';
const ROOMS = Number(process.env.ROOMS ?? (SHORT ? 1000 : 10_000));
const VISITS = SHORT ? 300 : 3000;
const CONCURRENCY = 32;
/** Joins that are not measured: the boxes' allocators and code are warm then. */
const WARM_UP = Math.min(500, ROOMS / 4);
const REST_MS = SHORT ? 5000 : 20_000;
/** Connections are idle meanwhile, and one box has them all. */
const FLAGS = ['--source-connections', '100000', '--log', 'warn'];
const SOURCES = '45.1';

const harness = await createClusterHarness('bench-cluster-rooms', { flags: FLAGS });
const { boxes, store } = harness.cluster;
await runOn('pub', 'ip', 'route', 'add', 'local', `${SOURCES}.0.0/16`, 'dev', 'lo');
const singleDir = path.join(harness.dir, 'single');
await mkdir(singleDir, { recursive: true });
const single = await startServer({ dir: singleDir, authority: harness.authority, domain: EXTRA_BOX.name, ports: { https: 443, turn: 3478, turns: 5349 }, inNamespace: on(EXTRA_BOX.host), flags: FLAGS });
after(() => single.stop());

/** CPU time of all threads of these processes in microseconds, including the kernel. */
async function cpuTime(pids) {
  let nanoseconds = 0;
  for (const pid of pids) {
    for (const thread of await readdir(`/proc/${pid}/task`)) {
      const text = await readFile(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').catch(() => '0');
      nanoseconds += Number(text.split(' ')[0]);
    }
  }
  return nanoseconds / 1000;
}

/** One step: joins a second, latency in ms, CPU time per join in microseconds. */
async function step(pids, run) {
  const before = await cpuTime(pids);
  const { times, ms } = await run();
  const cpu = (await cpuTime(pids)) - before;
  return { perSecond: (times.length / ms) * 1000, median: percentile(times, 0.5), p99: percentile(times, 0.99), cpu: cpu / times.length };
}

async function measure(targets, domain, pids, rest) {
  const load = await spawnOn('pub', '../../benches/cluster/load-generator.mjs', 'createLoadGenerator', { domain, ca: harness.authority.ca, boxes: targets, sources: SOURCES });
  try {
    await load.open(ROOMS, CONCURRENCY);
    await load.claim('room', 0, WARM_UP, CONCURRENCY);
    const claim = await step(pids, () => load.claim('room', WARM_UP, ROOMS, CONCURRENCY));
    const atRest = await rest();
    const visit = await step(pids, () => load.visit('room', VISITS, CONCURRENCY));
    return { claim, visit, atRest };
  } finally {
    await load.close();
  }
}

/** What the store does a second while nothing happens in the rooms: commands, and those among them that write. */
async function measureRest() {
  const read = async () => {
    const text = await store.cli('INFO', 'commandstats');
    return Object.fromEntries([...text.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)].map(([, name, calls]) => [name, Number(calls)]));
  };
  const [before, startedAt] = [await read(), performance.now()];
  await delay(REST_MS);
  const [after, seconds] = [await read(), (performance.now() - startedAt) / 1000];
  const rates = Object.entries(after).map(([name, calls]) => [name, (calls - (before[name] ?? 0)) / seconds]).filter(([, rate]) => rate > 0);
  return Object.fromEntries(rates);
}

const WRITES = /^(set|setex|psetex|hset|hdel|del|unlink|expire|pexpire|incr|incrby|zadd|zrem|sadd|srem)$/;

harness.scenario(`${ROOMS} rooms on three boxes, and on one without a cluster`, async () => {
  const alone = await measure([EXTRA_BOX], EXTRA_BOX.name, [single.pid()], async () => null);
  const pids = [...boxes.map((box) => box.pid()), store.pid()];
  const together = await measure(boxes.map(({ name, address }) => ({ name, address })), DOMAIN, pids, measureRest);

  const row = (name, unit, of) => {
    const [one, three] = [of(alone), of(together)];
    console.log(`| ${name}, ${unit} | ${one.toFixed(1)} | ${three.toFixed(1)} | ${(three / one).toFixed(2)} |`);
  };
  console.log(`\n| ${ROOMS} rooms | one box | three boxes and the store | ratio |\n|---|---:|---:|---:|`);
  for (const [key, name] of [['claim', 'first join of a room'], ['visit', 'connect, second join, leave']]) {
    row(name, 'a second', (all) => all[key].perSecond);
    row(name, 'median ms', (all) => all[key].median);
    row(name, 'p99 ms (goal: ratio 1.2)', (all) => all[key].p99);
    row(name, 'µs CPU', (all) => all[key].cpu);
  }
  const rates = Object.entries(together.atRest).sort(([, a], [, b]) => b - a);
  const writes = rates.filter(([name]) => WRITES.test(name)).reduce((sum, [, rate]) => sum + rate, 0);
  console.log(`\nstore at rest, commands a second: ${rates.map(([name, rate]) => `${name} ${rate.toFixed(2)}`).join(', ')}; writes ${writes.toFixed(1)} (goal 5)`);
}, 900_000);
