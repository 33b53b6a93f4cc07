// A peer becomes unreachable for a while (`relay-scope = public`): its port is closed, the server's firewall rejects it, or
// its route is gone. Only packets to this peer are lost meanwhile; the allocation and another peer are not affected.

import assert from 'node:assert/strict';
import { createNetworkHarness, runOn, spawnOn } from './network.mjs';

const harness = await createNetworkHarness('nat-unreachable-peer', { flags: ['--relay-scope', 'public'] });

const SERVER = { address: '45.0.0.10', port: 3478 };
const CHANNEL = { affected: 0x4001, unaffected: 0x4002 };
/** Two addresses of the host that stands for the rest of the internet, by address family. */
const PEERS = {
  4: { affected: { address: '45.0.1.1', port: 3490 }, unaffected: { address: '45.0.0.1', port: 3490 }, nftDestination: 'ip daddr' },
  6: { affected: { address: '2a05:d003::1', port: 3490 }, unaffected: { address: '2a05:d000::1', port: 3490 }, nftDestination: 'ip6 daddr' },
};

/** Each fault: how it begins and ends, and a counter on the server's host that increases only because of it. */
const FAULTS = {
  'with a closed port (ICMP)': {
    begin: ({ peer }) => peer.closePort(),
    end: ({ peer }) => peer.openPort(),
    counter: icmpUnreachableCount,
  },
  'rejected by the server\'s firewall (EPERM)': {
    begin: ({ affected, nftDestination }) => runOn('server', 'nft', `add table inet fault
      add chain inet fault output { type filter hook output priority filter; }
      add rule inet fault output ${nftDestination} ${affected.address} udp dport ${affected.port} counter reject`),
    end: () => runOn('server', 'nft', 'delete', 'table', 'inet', 'fault'),
    counter: rejectedCount,
  },
  // `throw` makes the lookup fail as if there were no route, and keeps the client's route.
  'without a route (ENETUNREACH)': routeFault('throw', /Network is unreachable/),
  'behind an unreachable route (EHOSTUNREACH)': routeFault('unreachable', /No route to host/),
  // quinn-udp takes this error for a kernel without segmentation offload.
  'behind a blackhole route (EINVAL)': routeFault('blackhole', /Invalid argument/),
};

for (const family of [4, 6]) {
  for (const [name, fault] of Object.entries(FAULTS)) {
    harness.scenario(`IPv${family}: a peer ${name} works again on the same allocation`, () => checkRecovery(family, fault));
  }
}

async function checkRecovery(family, { begin, end, counter }) {
  const { affected, unaffected } = PEERS[family];
  const peer = await spawnOn('pub', './udp-echo-peer.mjs', 'createUdpEchoPeer', affected);
  const otherPeer = await spawnOn('pub', './udp-echo-peer.mjs', 'createUdpEchoPeer', unaffected);
  const client = await spawnOn('a1', './turn-client.mjs', 'createTurnClient', SERVER, await harness.server.credentials());
  const context = { family, peer, ...PEERS[family] };
  try {
    const relayed = await client.allocate(family);
    await client.bindChannel(CHANNEL.affected, affected);
    await client.bindChannel(CHANNEL.unaffected, unaffected);
    assert.deepEqual(await countEchoes(client, 3000), { affected: 40, unaffected: 40 }, 'before');

    const countBefore = await counter(context);
    await begin(context);
    try {
      assert.deepEqual(await countEchoes(client, 300), { affected: 0, unaffected: 40 }, 'during');
      assert.ok(await counter(context) > countBefore, 'the fault had no effect on the server');
      await client.refresh();
    } finally {
      await end(context);
    }

    assert.deepEqual(await countEchoes(client, 3000), { affected: 40, unaffected: 40 }, 'after');
    await client.refresh();
    const relayedOnly = [`${relayed.address} ${relayed.port}`];
    assert.deepEqual([await peer.senders(), await otherPeer.senders()], [relayedOnly, relayedOnly]);
  } finally {
    for (const each of [client, peer, otherPeer]) await each.close();
  }
}

/** How many of forty datagrams each peer echoes. */
async function countEchoes(client, timeoutMs) {
  const [affected, unaffected] = await Promise.all([
    client.countEchoes(CHANNEL.affected, { count: 40, timeoutMs }),
    client.countEchoes(CHANNEL.unaffected, { count: 40, timeoutMs: 3000 }),
  ]);
  return { affected, unaffected };
}

function routeFault(type, error) {
  const change = (action) => ({ family, affected }) => runOn('server', 'ip', `-${family}`, 'route', action, type, affected.address);
  return {
    begin: change('add'),
    end: change('del'),
    counter: ({ family, affected }) => runOn('server', 'ip', `-${family}`, 'route', 'get', affected.address)
      .then(() => 0, ({ stderr }) => (error.test(stderr) ? 1 : 0)),
  };
}

/** ICMP destination-unreachable messages received on the server's host. */
async function icmpUnreachableCount({ family }) {
  const name = family === 4 ? 'IcmpInDestUnreachs' : 'Icmp6InDestUnreachs';
  const { stdout } = await runOn('server', 'nstat', '-asz', name);
  return Number(new RegExp(`${name} +(\\d+)`).exec(stdout)[1]);
}

/** Packets that the firewall of the server's host rejected. */
async function rejectedCount() {
  const { stdout } = await runOn('server', 'nft', 'list', 'ruleset');
  return Number(/counter packets (\d+)/.exec(stdout)?.[1] ?? 0);
}
