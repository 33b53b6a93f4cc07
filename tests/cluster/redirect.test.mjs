// A join on a box that does not own the room leads to the owner: signaling clients, HTTP long polling, Socket.IO, and pages of both
// browsers, which see and hear each other.

import assert from 'node:assert/strict';
import { waitFor } from '../browser/lib/wait.mjs';
import { runOn, spawnOn } from '../nat/network.mjs';
import { createClusterHarness, DOMAIN } from './lib/cluster.mjs';

const harness = await createClusterHarness('cluster-redirect');
const { boxes } = harness.cluster;
const [owner, ...others] = boxes;
const clients = await harness.signalingClients('a1');

const iceUrls = '() => globalThis.__observed.connections.at(-1).getConfiguration().iceServers.flatMap((each) => each.urls)';

harness.scenario('join and look on another box are redirected to the owner of the room', async () => {
  const first = await clients.join('first', { room: 'kitchen', host: owner.name });
  assert.equal(first.address, owner.address, 'the asked box becomes the owner');
  for (const { name } of others) {
    for (const type of ['join', 'look']) {
      const { answer, code } = await clients.ask(name, { type, room: 'kitchen' });
      assert.deepEqual(answer, { type: 'redirect', url: `wss://${owner.name}/ws`, room: 'kitchen', fence: first.fence }, `${type} on ${name}`);
      assert.equal(code, 4002);
    }
  }
  const second = await clients.join('second', { room: 'kitchen', host: others[0].name });
  assert.deepEqual([second.address, second.peer, second.fence], [owner.address, first.id, first.fence]);
});

harness.scenario('a room of which the last seat has left may open on another box', async () => {
  await clients.join('first', { room: 'study', host: owner.name });
  await clients.leaveAll();
  const opensThere = async () => (await clients.ask(others[0].name, { type: 'join', room: 'study' })).answer.type === 'resp-join';
  await waitFor('the ownership to end', opensThere, 15_000);
});

harness.scenario('HTTP long polling on another box is redirected, and goes on at the owner', async () => {
  await clients.join('first', { room: 'polled', host: owner.name });
  const join = { type: 'join', room: 'polled' };
  const atOther = await openPolling(others[0].name);
  const [redirect] = await atOther.exchange(join);
  assert.equal(redirect.type, 'redirect');
  assert.equal(redirect.url, `wss://${owner.name}/ws`);
  const atOwner = await openPolling(owner.name);
  const [joined] = await atOwner.exchange({ ...join, fence: redirect.fence });
  assert.equal(joined.type, 'resp-join');
  assert.notEqual(joined.peer, null);
});

/** A session of HTTP long polling on this box, from the origin of the common name. */
async function openPolling(host) {
  const post = async (body) => {
    const { stdout } = await runOn('a1', 'curl', '-sS', '-i', '--http1.1', '--max-time', '15', '--cacert', harness.authority.ca,
      '-H', `Origin: https://${DOMAIN}`, '-d', JSON.stringify(body), `https://${host}/poll`);
    const [head, text] = stdout.split('\r\n\r\n');
    assert.match(head, /^access-control-allow-origin: https:\/\/box\.test\r?$/mi);
    return text ? JSON.parse(text) : null;
  };
  const { session } = await post({});
  return {
    /** Sends one frame; the frames of the next answer. */
    async exchange(frame) {
      await post({ session, seq: 1, frames: [frame] });
      return (await post({ session, after: 0 })).frames;
    },
  };
}

for (const transports of [['websocket'], ['polling']]) {
  harness.scenario(`a Socket.IO client over ${transports} is told where the room is, and joins there`, async () => {
    const { id } = await clients.join('first', { room: `classic-${transports}`, host: owner.name });
    const connect = (host) => spawnOn('a2', '../cluster/lib/socket-io-client.mjs', 'createSocketIoClient', { host, ca: harness.authority.ca, transports });
    const [atOther, atOwner] = [await connect(others[0].name), await connect(owner.name)];
    try {
      for (const client of [atOther, atOwner]) await client.next('connect');
      await atOther.emit('join', `classic-${transports}`);
      const [{ code, message }] = await atOther.next('error');
      assert.deepEqual([code, new URL(message).hostname], ['redirect', owner.name]);
      await atOwner.emit('join', `classic-${transports}`);
      assert.equal((await atOwner.next('resp-join'))[0], id);
      await clients.waitForMessage('first', 'new-peer');
    } finally {
      for (const client of [atOther, atOwner]) await client.close();
    }
  });
}

for (const kinds of [['chromium', 'firefox'], ['firefox', 'chromium']]) {
  harness.scenario(`${kinds[0]} and ${kinds[1]} that reach two boxes meet on one`, async () => {
    const url = harness.roomUrl();
    const pair = [];
    for (const [index, kind] of kinds.entries()) {
      await harness.leadTo(boxes[index]);
      pair.push(await harness.participant(kind, { host: ['a1', 'b1'][index] }));
      await pair[index].open(url);
      await pair[index].join();
      if (index === 0) await pair[0].waitForState('waiting');
    }
    for (const participant of pair) {
      await participant.expectMedia();
      const turnHosts = new Set((await participant.evaluate(iceUrls)).map((each) => /^turns?:([^:?]+)/.exec(each)?.[1]).filter(Boolean));
      assert.deepEqual([...turnHosts], [owner.name], 'TURN URLs name the owner');
      const complaints = (await participant.consoleMessages()).filter((line) => /Content.Security|Refused to connect|uncaught/i.test(line));
      assert.deepEqual(complaints, []);
    }
  });
}

harness.scenario('a page without WebSockets follows the redirect over HTTP', async () => {
  const url = harness.roomUrl();
  const pair = [];
  for (const [index, kind] of ['chromium', 'chromium'].entries()) {
    await harness.leadTo(boxes[index]);
    const initScript = index === 1 ? '() => { delete globalThis.WebSocket; }' : undefined;
    pair.push(await harness.participant(kind, { host: ['a1', 'b1'][index], initScript }));
    await pair[index].open(url);
    await pair[index].join();
    if (index === 0) await pair[0].waitForState('waiting');
  }
  await harness.expectMedia(pair);
  const polled = new Set((await pair[1].requestedUrls()).map((each) => new URL(each)).filter(({ pathname }) => pathname === '/poll').map(({ hostname }) => hostname));
  assert.ok(polled.has(owner.name), [...polled].join());
});

harness.scenario('a page request to a node name leads to the common name', async () => {
  const { stdout } = await runOn('a1', 'curl', '-sS', '-o', '/dev/null', '-w', '%{http_code} %{redirect_url}', '--cacert', harness.authority.ca, `https://${others[0].name}/r/kitchen`);
  assert.equal(stdout, `308 https://${DOMAIN}/r/kitchen`);
});
