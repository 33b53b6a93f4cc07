import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connected, makeTwoPages } from '../harness/call.js';
import { settle } from '../harness/fakes.js';

/** Type preferences of RFC 8445 as the browsers set them. */
const CANDIDATES = {
  host: { type: 'host', priority: 126 << 24 }, srflx: { type: 'srflx', priority: 100 << 24 }, udp: { type: 'relay', priority: 3 << 24 },
  tcp: { type: 'relay', priority: 1 << 24 }, tls: { type: 'relay', priority: 0 },
};

function gather(page, ...names) {
  for (const name of names) {
    const candidate = name === 'end' ? null : { candidate: name, ...CANDIDATES[name], toJSON: () => ({ candidate: name }) };
    page.pc().onicecandidate({ candidate });
  }
}

/** A call in which `ann` has answered a restart of `bob`; `first` is what she gathered at its beginning. */
async function restarted(first = ['host', 'srflx', 'udp', 'tcp', 'tls', 'end'], origins = {}) {
  const harness = await connected(makeTwoPages(['ann', 'bob'], origins));
  gather(harness.ann, ...first);
  await harness.deliver();
  await harness.flow(1000);
  harness.bob.call.recoverSoon(true);
  await harness.deliver();
  assert.equal(harness.bob.pc().restarts, 1);
  harness.sent = () => harness.messages.filter(({ type }) => type === 'candidate').map(({ candidate }) => candidate?.candidate ?? 'end');
  return harness;
}

test('the first candidates of a call are sent at once', async () => {
  const harness = await connected();
  gather(harness.ann, 'tcp', 'host', 'tls', 'udp', 'end');
  assert.deepEqual(harness.messages.map(({ candidate }) => candidate?.candidate), ['tcp', 'host', 'tls', 'udp', undefined]);
});

test('candidates of a restart over TCP and TLS come after those over UDP', async () => {
  const harness = await restarted();
  gather(harness.ann, 'tcp', 'host', 'tls', 'udp', 'srflx', 'end');
  assert.deepEqual(harness.sent(), ['host', 'udp', 'srflx']);
  await harness.flow(600);
  assert.deepEqual(harness.sent(), ['host', 'udp', 'srflx', 'tcp', 'tls', 'end']);
  assert.equal(harness.ann.connections.length, 1);
});

for (const [who, origins, connections] of [['Chromium', {}, 2], ['Firefox with Chromium', { ann: 'mozilla' }, 2], ['Firefox with Firefox', { ann: 'mozilla', bob: 'mozilla' }, 1]]) {
  test(`a restart that no longer reaches the server over UDP: ${who}`, async () => {
    const harness = await connected(makeTwoPages(['ann', 'bob'], origins));
    const [page, other] = origins.ann && !origins.bob ? [harness.ann, harness.bob] : [harness.bob, harness.ann];
    gather(page, 'srflx', 'tcp');
    await harness.deliver();
    await harness.flow(1000);
    other.call.recoverSoon(true);
    await harness.deliver();
    assert.equal(page.pc().restarts, 1);
    await harness.flow(100);
    gather(page, 'host', 'tcp', 'tls');
    await harness.flow(400);
    assert.equal(page.connections.length, 1);
    await harness.flow(200);
    assert.equal(page.connections.length, connections);
  });
}

test('a call that never reached the server over UDP goes on as it is', async () => {
  const harness = await restarted(['host', 'tcp', 'tls']);
  gather(harness.ann, 'tcp', 'tls');
  assert.deepEqual(harness.sent(), ['tcp', 'tls']);
  await harness.flow(5000);
  assert.equal(harness.ann.connections.length, 1);
});

test('candidates that wait are not sent for a later restart', async () => {
  const harness = await restarted();
  gather(harness.ann, 'tcp');
  harness.bob.pc().restartIce();
  await harness.deliver();
  assert.equal(harness.ann.pc().appliedOffers + harness.bob.pc().appliedOffers, 3);
  gather(harness.ann, 'udp');
  await harness.flow(600);
  assert.deepEqual(harness.sent(), ['udp']);
});

test('a restart that the peer repeats begins no other one', async () => {
  const harness = await connected();
  const { ann, bob, messages } = harness;
  for (const page of [ann, bob]) gather(page, 'srflx', 'udp');
  messages.length = 0;
  await harness.flow(1000);
  // Both sides want the restart, which only one of them makes. Its offer is repeated at the other's request, with the candidates
  // of this time.
  ann.call.recoverSoon(true);
  bob.call.recoverSoon(true);
  await settle();
  const offer = messages.find(({ type }) => type === 'offer');
  const [maker, answerer] = offer.from === 'ann' ? [ann, bob] : [bob, ann];
  await answerer.call.handle(offer);
  await settle();
  gather(answerer, 'host', 'srflx', 'udp');
  const { appliedOffers } = answerer.pc();
  maker.pc().localDescription.sdp += 'a=candidate:1 1 udp 58663423 45.0.0.10 50000 typ relay\r\n';
  messages.splice(messages.indexOf(offer), 1);
  await harness.deliver();
  assert.equal(answerer.pc().appliedOffers, appliedOffers + 1, 'the repeated offer has other text');
  gather(answerer, 'tcp', 'tls', 'end');
  await harness.flow(1000);
  assert.deepEqual([ann.connections.length, bob.connections.length], [1, 1]);
});

/** Relay servers at a box of several. */
const serversAt = (box) => [{ urls: [`stun:${box}.call.example:3478`] }, { urls: [`turn:${box}.call.example:3478?transport=udp`, `turns:${box}.call.example:443`] }];

/** A call over this kind of candidates, at the relay of `b1`. */
async function callAtRelay(type) {
  const harness = makeTwoPages();
  for (const page of [harness.ann, harness.bob]) page.call.setIceServers(serversAt('b1'));
  await connected(harness);
  for (const page of [harness.ann, harness.bob]) page.pc().pair = [type, type];
  await harness.flow(2000);
  await harness.deliver();
  return { harness, restarts: () => harness.ann.pc().restarts + harness.bob.pc().restarts };
}

test('relayed media follows the room to another server once both are there', async () => {
  const { harness: { ann, bob, deliver, flow }, restarts } = await callAtRelay('relay');
  // The first to arrive finds an empty room.
  ann.call.setIceServers(serversAt('b2'));
  ann.reachable = false;
  ann.call.setPeer('ann', null, true);
  await flow(500);
  assert.equal(restarts(), 0);
  bob.call.setIceServers(serversAt('b2'));
  bob.call.setPeer('bob', 'ann', true, true);
  ann.reachable = true;
  ann.call.setPeer('ann', 'bob', false, true);
  await deliver();
  assert.equal(restarts(), 1);
  assert.equal(ann.connections.length + bob.connections.length, 2, 'the connection goes on');
  await flow(10_000);
  await deliver();
  assert.equal(restarts(), 1, 'once');
});

test('direct media, and new credentials of the same server, need no restart', async () => {
  for (const [type, box] of [['host', 'b2'], ['relay', 'b1']]) {
    const { harness: { ann, bob, deliver, flow }, restarts } = await callAtRelay(type);
    for (const page of [ann, bob]) page.call.setIceServers(serversAt(box));
    ann.call.setPeer('ann', 'bob', true, true);
    bob.call.setPeer('bob', 'ann', false, true);
    await deliver();
    await flow(3000);
    assert.equal(restarts(), 0, `${type} ${box}`);
  }
});
