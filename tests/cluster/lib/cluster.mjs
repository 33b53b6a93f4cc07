// Three boxes as one service in the test network: box.test resolves to all of them, b1.box.test to b3.box.test to one each.

import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { after } from 'node:test';
import { createHarness } from '../../browser/lib/harness.mjs';
import { startServer } from '../../browser/lib/server.mjs';
import { waitFor } from '../../browser/lib/wait.mjs';
import { launchParticipantOn, on, runOn, spawnOn } from '../../nat/network.mjs';
import { startStore } from './store.mjs';

export const DOMAIN = 'box.test';
const NAME_SERVER = '45.0.0.1';
const STORE_NETWORK = '45.0.20.0/24';
const BOXES = [1, 2, 3].map((number) => ({ host: `box${number}`, name: `b${number}.${DOMAIN}`, address: `45.0.1${number}.10` }));
/** A fourth one, outside the common name, that some tests start. */
export const EXTRA_BOX = { host: 'server', name: `b4.${DOMAIN}`, address: '45.0.0.10' };
const CLUSTER_KEY = 'three boxes share this key';
const METRICS = '127.0.0.1:9641';
/** Leases are refreshed every second: by then each box knows the others. */
const SETTLED_MS = 30_000;

/** Rooms that opened without the store have this fence or none. */
const FALLBACK_FENCE = 1;

/** Whether an answer to a join or look is of this type and the store has decided it. */
export const isByStore = (answer, type) => answer?.type === type && answer.fence > FALLBACK_FENCE;

/** What a cut leaves of the traffic of a box. */
const CUTS = {
  store: `ip daddr ${STORE_NETWORK} drop; ip saddr ${STORE_NETWORK} drop`,
  clients: `iifname lo accept; oifname lo accept; ip daddr ${STORE_NETWORK} accept; ip saddr ${STORE_NETWORK} accept; drop`,
};

/**
 * A harness (see tests/browser/lib/harness.mjs) whose server is the cluster: `cluster.boxes`, `cluster.store`.
 * `sentinels`: whether the store has a replica and Sentinels; `storeUrl(store)`: another address of the store; `flags`: of all boxes;
 * `flagsOf(box)`: of one.
 */
export async function createClusterHarness(name, { sentinels = false, storeUrl = (store) => store.url, flags = [], flagsOf = () => [] } = {}) {
  const names = Object.fromEntries([[DOMAIN, BOXES.map(({ address }) => address)], ...[...BOXES, EXTRA_BOX].map((box) => [box.name, [box.address]])]);
  const dns = await spawnOn('pub', '../cluster/lib/dns-server.mjs', 'createDnsServer', NAME_SERVER, names);
  after(() => dns.close());
  const leadTo = (box) => dns.putFirst(box?.address ?? null);
  /** Processes with clients, which end with the test file, and those whose clients leave after each scenario. */
  const [processes, signaling] = [[], []];
  after(() => Promise.all(processes.map((each) => each.close())));

  async function start(dir, authority) {
    await mkdir(dir, { recursive: true });
    const store = await startStore({ dir: path.join(dir, 'store'), sentinels });
    const url = await storeUrl(store);
    const start = (box) => startBox({ dir, authority, url, flags: [...flags, ...flagsOf(box)], ...box });
    const boxes = await Promise.all(BOXES.map(start));
    const stop = () => Promise.all([...boxes, store].map((each) => each.stop()));
    return { origin: boxes[0].origin, boxes, store, stop, start };
  }

  const harness = await createHarness(name, { start, launch: launchParticipantOn, defaults: {} });
  const cluster = harness.server;
  const spawnClients = async (host, module, factory, options) => {
    const created = await spawnOn(host, `../cluster/lib/${module}`, factory, { domain: DOMAIN, ca: harness.authority.ca, ...options });
    processes.push(created);
    return created;
  };
  return {
    ...harness,
    cluster,
    /** The common name leads to this box first, to the others if it does not answer, until the scenario ends; without an argument to
     *  each of them in turn. */
    leadTo,
    /** Defines one test. When it ends, clients leave and faults of the boxes are undone. */
    scenario: (title, body, timeout) => harness.scenario(title, async (context) => {
      try {
        await body(context);
      } finally {
        await Promise.all([leadTo(), ...signaling.map((each) => each.leaveAll()), ...cluster.boxes.map((box) => box.restore())]);
      }
    }, timeout),
    /** Signaling clients on a host, see signaling-clients.mjs. */
    async signalingClients(host) {
      signaling.push(await spawnClients(host, 'signaling-clients.mjs', 'createSignalingClients', {}));
      return signaling.at(-1);
    },
    /** Relayed calls of a host, see relay-calls.mjs. */
    relayCalls: (host, options) => spawnClients(host, 'relay-calls.mjs', 'createRelayCalls', options),
    /** A fourth box; `name`, `clusterKey`: other ones than its own and theirs. */
    startExtraBox: (options) => cluster.start({ ...EXTRA_BOX, ...options }),
    /** The boxes that have seats of the room, then what else is wrong: boxes that lead elsewhere, or by their own guess. One owner is a
     *  list of one. `clients`: signaling clients that ask. */
    async ownersOf(room, clients) {
      const answers = await Promise.all(BOXES.map(async ({ name }) => [name, (await clients.ask(name, { type: 'look', room })).answer]));
      const owners = answers.filter(([, answer]) => answer?.type === 'room' && answer.seats > 0).map(([name]) => name);
      const leadsThere = (answer) => answer?.type === 'redirect' && answer.fence > 0 && new URL(answer.url).hostname === owners[0];
      const astray = answers.filter(([name, answer]) => !owners.includes(name) && !leadsThere(answer));
      return [...owners, ...astray.map(([name, answer]) => `${name} answers ${JSON.stringify(answer)}`)];
    },
    boxAt: (address) => cluster.boxes.find((box) => box.address === address),
  };
}

/** One box, with its faults. */
async function startBox({ host, name, address, dir, authority, url, clusterKey = CLUSTER_KEY, flags }) {
  const server = await startServer({
    dir: path.join(dir, host), authority, domain: DOMAIN, nodeName: name, ports: { https: 443, turn: 3478, turns: 5349 }, inNamespace: on(host),
    metricsListen: METRICS, env: { SSL_CERT_FILE: authority.ca }, flags: ['--cluster', url, '--cluster-key', clusterKey, ...flags],
  });
  const box = {
    ...server,
    host,
    name,
    address,
    /** Cuts it off from the `store`, or from everybody else (`clients`), until `heal`. */
    cutOff: (from) => runOn(host, 'nft', `add table inet cut; ${['input', 'output'].map((hook) => `add chain inet cut ${hook} { type filter hook ${hook} priority 0; }; ${
      CUTS[from].split('; ').map((rule) => `add rule inet cut ${hook} ${rule}`).join('; ')}`).join('; ')}`),
    heal: () => runOn(host, 'nft', 'add table inet cut; delete table inet cut'),
    /** Ends its faults, and starts it if it does not run. */
    async restore() {
      await box.heal();
      server.signal('SIGCONT');
      if (!server.isRunning()) await server.start();
    },
    /** The values of all metrics, by name with labels. */
    async metrics() {
      const { stdout } = await runOn(host, 'curl', '-sf', `http://${METRICS}/metrics`);
      return Object.fromEntries(stdout.split('\n').filter((line) => line && !line.startsWith('#')).map((line) => {
        const at = line.lastIndexOf(' ');
        return [line.slice(0, at), Number(line.slice(at + 1))];
      }));
    },
    /** Waits for a line of its log, after the first `from` characters, that matches. */
    waitForLog: (pattern, from = 0, timeoutMs = SETTLED_MS) => waitFor(`${pattern} in the log of ${name}`, async () => pattern.exec((await server.log()).slice(from)), timeoutMs),
    isHealthy: () => runOn(host, 'curl', '-sf', '-o', '/dev/null', '--max-time', '2', '--cacert', authority.ca, `https://${name}/healthz`).then(() => true, () => false),
  };
  return box;
}
