// A peer that cannot be reached for a while (`relay-scope = public`): its port is closed, the box's own
// firewall refuses, its route is gone. That costs this peer's packets while it lasts; the allocation, and
// another peer of it, lose nothing.

import assert from 'node:assert/strict';
import { after } from 'node:test';
import { runOn, settle, setWorldStage } from './world.mjs';

const stage = await setWorldStage('nat-unreachable', ['--relay-scope', 'public']);

const BOX = { address: '45.0.0.10', port: 3478 };
const FAR = { channel: 0x4001 };
const NEAR = { channel: 0x4002 };
/** Two addresses of the host that stands for the rest of the internet: `far` gets the trouble. */
const PEERS = {
  4: { far: { address: '45.0.1.1', port: 3490 }, near: { address: '45.0.0.1', port: 3490 }, words: ['ip', 'daddr'] },
  6: { far: { address: '2a05:d003::1', port: 3490 }, near: { address: '2a05:d000::1', port: 3490 }, words: ['ip6', 'daddr'] },
};

/** Each trouble: how it comes and goes, and what grows on the box only where it bites. */
const TROUBLES = {
  'whose port is closed (ICMP)': {
    begin: ({ peer }) => peer.shut(),
    end: ({ peer }) => peer.open(),
    bites: icmpUnreachable,
  },
  'whom the firewall of the box rejects (EPERM)': {
    begin: ({ far, words }) => runOn('box', 'nft', `add table inet trouble
      add chain inet trouble output { type filter hook output priority filter; }
      add rule inet trouble output ${words.join(' ')} ${far.address} udp dport ${far.port} counter reject`),
    end: () => runOn('box', 'nft', 'delete', 'table', 'inet', 'trouble'),
    bites: rejected,
  },
  // As if the table held no route for it; the client's is the same one, and stays.
  'without a route (ENETUNREACH)': route('throw', /Network is unreachable/),
  'behind an unreachable route (EHOSTUNREACH)': route('unreachable', /No route to host/),
  // quinn-udp takes this error for a kernel without segmentation offload.
  'behind a black hole (EINVAL)': route('blackhole', /Invalid argument/),
};

for (const family of [4, 6]) {
  for (const [words, trouble] of Object.entries(TROUBLES)) {
    stage.scene(`IPv${family}: a peer ${words} is heard again on the same allocation`, () => scene(family, trouble));
  }
}

async function scene(family, { begin, end, bites }) {
  const { far, near } = PEERS[family];
  const peer = await settle('pub', './peer.mjs', 'makePeer', far);
  const other = await settle('pub', './peer.mjs', 'makePeer', near);
  const client = await settle('a1', './turn.mjs', 'makeTurnClient', BOX, await stage.box.credentials());
  const around = { family, peer, ...PEERS[family] };
  try {
    const relayed = await client.allocate(family);
    await client.bind(FAR.channel, far);
    await client.bind(NEAR.channel, near);
    assert.deepEqual(await rounds(client, 3000), { far: 40, near: 40 }, 'before');

    const quiet = await bites(around);
    await begin(around);
    try {
      assert.deepEqual(await rounds(client, 300), { far: 0, near: 40 }, 'during');
      assert.ok(await bites(around) > quiet, 'the packets went another way');
      await client.refresh();
    } finally {
      await end(around);
    }

    assert.deepEqual(await rounds(client, 3000), { far: 40, near: 40 }, 'after');
    await client.refresh();
    const only = [`${relayed.address} ${relayed.port}`];
    assert.deepEqual([await peer.callers(), await other.callers()], [only, only]);
  } finally {
    for (const one of [client, peer, other]) await one.close();
  }
}

/** How many datagrams of forty come back from each peer. */
async function rounds(client, patience) {
  const [far, near] = await Promise.all([
    client.round(FAR.channel, { count: 40, patience }),
    client.round(NEAR.channel, { count: 40, patience: 3000 }),
  ]);
  return { far, near };
}

function route(kind, error) {
  const change = (how) => ({ family, far }) => runOn('box', 'ip', `-${family}`, 'route', how, kind, far.address);
  return {
    begin: change('add'),
    end: change('del'),
    bites: ({ family, far }) => runOn('box', 'ip', `-${family}`, 'route', 'get', far.address)
      .then(() => 0, ({ stderr }) => (error.test(stderr) ? 1 : 0)),
  };
}

/** ICMP's "unreachable" that has come to the box. */
async function icmpUnreachable({ family }) {
  const name = family === 4 ? 'IcmpInDestUnreachs' : 'Icmp6InDestUnreachs';
  const { stdout } = await runOn('box', 'nstat', '-asz', name);
  return Number(new RegExp(`${name} +(\\d+)`).exec(stdout)[1]);
}

/** Packets that the box's firewall has refused to send. */
async function rejected() {
  const { stdout } = await runOn('box', 'nft', 'list', 'ruleset');
  return Number(/counter packets (\d+)/.exec(stdout)?.[1] ?? 0);
}
