// What does not belong into a cluster: forged and old fences, foreign and corrupt values in the store, a second box with the name of
// another one, and a box with another key. Each has its defined outcome, and the cluster goes on.

import assert from 'node:assert/strict';
import { waitFor } from '../browser/lib/wait.mjs';
import { createClusterHarness } from './lib/cluster.mjs';

const harness = await createClusterHarness('cluster-bad-input');
const { boxes, store } = harness.cluster;
const [owner, ...others] = boxes;
const clients = await harness.signalingClients('a1');

/** Opens rooms by way of each box; waits until all boxes agree on their owners. */
async function expectService(prefix) {
  for (const box of boxes) {
    const room = `${prefix}-${box.host}`;
    await clients.join(room, { room, host: box.name });
    await waitFor(`one owner of ${room}`, async () => {
      const owners = await harness.ownersOf(room, clients);
      return owners.length === 1 || Promise.reject(new Error(owners.join()));
    }, 15_000);
  }
}

for (const fence of [0, 1, 999_999_999, Number.MAX_SAFE_INTEGER]) {
  harness.scenario(`the fence ${fence} in a join makes no other box the owner`, async () => {
    const room = `fence-${fence}`;
    await clients.join('first', { room, host: owner.name });
    for (const { name } of others) {
      const { answer } = await clients.ask(name, { type: 'join', room, fence });
      assert.deepEqual([answer.type, answer.url], ['redirect', `wss://${owner.name}/ws`]);
    }
    assert.equal((await clients.ask(owner.name, { type: 'join', room, fence })).answer.type, 'resp-join');
  });
}

harness.scenario('a fence that is no number is ignored', async () => {
  for (const fence of ['7', -1, 1.5, {}]) {
    const { answer } = await clients.ask(owner.name, { type: 'join', room: 'malformed', fence });
    assert.equal(answer.type, 'resp-join', JSON.stringify(fence));
  }
});

for (const [kind, write] of Object.entries({
  'foreign text': (key) => ['SET', key, 'not ours'],
  'a list': (key) => ['RPUSH', key, 'a', 'b'],
  'another protocol version': (key) => ['SET', key, '{"v":99,"node":"b9.example","fence":1}'],
  'a hash with other fields': (key) => ['HSET', key, 'v', '99', 'node', '../../evil', 'fence', '-1'],
})) {
  harness.scenario(`${kind} under the keys of rooms and boxes: service goes on`, async () => {
    const room = `corrupt-${kind.replaceAll(' ', '-')}`;
    await clients.join('before', { room, host: owner.name });
    const keys = (await store.cli('KEYS', '*')).split('\n').filter((key) => /room|box/.test(key));
    assert.ok(keys.length >= 2, `keys of a room and of boxes among ${keys}`);
    for (const key of keys) {
      await store.cli('DEL', key);
      await store.cli(...write(key));
    }
    const { answer } = await clients.ask(owner.name, { type: 'join', room });
    assert.equal(answer?.type, 'resp-join', 'the owner keeps its room');
    await expectService(`after-${room}`);
    for (const box of boxes) assert.doesNotMatch(await box.log(), /panicked/);
  });
}

harness.scenario('a second box with the name of a running one serves nothing under it', async () => {
  const log = (await owner.log()).length;
  const second = await harness.startExtraBox({ name: owner.name }).catch((error) => error);
  const text = second instanceof Error ? second.message : (await waitFor('a complaint', async () => /duplicate|same (node-)?name|another box.*name/i.exec(await second.log()), 15_000))[0];
  assert.match(text, /duplicate|same (node-)?name|another box.*name|node-name/i);
  await expectService('two-names');
  if (!(second instanceof Error)) await second.stop();
  assert.doesNotMatch((await owner.log()).slice(log), /panicked/);
});

harness.scenario('a box with another cluster key says so and takes no rooms', async () => {
  const foreign = await harness.startExtraBox({ clusterKey: 'this box has another cluster key' }).catch((error) => error);
  const text = foreign instanceof Error ? foreign.message : (await waitFor('a complaint', async () => /cluster-key|cluster key/i.exec(await foreign.log()), 15_000))[0];
  assert.match(text, /cluster.key/i);
  await expectService('two-keys');
  if (!(foreign instanceof Error)) await foreign.stop();
});
