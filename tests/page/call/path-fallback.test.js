import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makePathFallback } from '../../../public/call/path-fallback.js';
import { connected, makeTwoPages } from '../harness/call.js';

const SERVERS = [{ urls: ['stun:box:3478', 'turn:box:3478', 'turn:box:3478?transport=tcp'], username: 'u', credential: 'c' },
  { urls: 'turns:box:443', username: 'u', credential: 'c' }];
const policies = ({ connections }) => connections.map(({ config }) => config.iceTransportPolicy);
const avoidedPaths = ({ events }) => events.filter(({ type }) => type === 'path-avoided').length;

async function directCall() {
  const harness = makeTwoPages();
  for (const page of [harness.ann, harness.bob]) page.call.setIceServers(SERVERS);
  await connected(harness);
  for (const page of [harness.ann, harness.bob]) page.pc().pair = ['host', 'host'];
  return harness;
}

/** ICE connects on both pages, and DTLS does not. */
function connectIce(harness, pair = ['host', 'srflx']) {
  for (const page of [harness.ann, harness.bob]) Object.assign(page.pc(), { pair }).connectIce();
}

async function advance(harness, seconds) {
  for (let second = 0; second < seconds; second += 1) {
    await harness.clock.advance(1000);
    await harness.deliver();
  }
}

test('after two silent connections on a direct path the third uses the relay', async () => {
  const harness = await directCall();
  await harness.flow(3000);
  await advance(harness, 40);
  assert.deepEqual(policies(harness.bob), ['all', 'all']);
  connectIce(harness);
  await advance(harness, 9);
  assert.deepEqual(policies(harness.ann), ['all', 'all', 'relay']);
  assert.deepEqual(policies(harness.bob), ['all', 'all', 'relay']);
  assert.deepEqual([avoidedPaths(harness.ann), avoidedPaths(harness.bob)], [1, 1]);
});

test('a direct path that stalls before DTLS leads to the relay', async () => {
  const harness = makeTwoPages();
  for (const page of [harness.ann, harness.bob]) page.call.setIceServers(SERVERS);
  harness.bob.call.setPeer('bob', null, true);
  harness.ann.call.setPeer('ann', 'bob', true, true);
  harness.bob.call.setPeer('bob', 'ann', false, true);
  await harness.deliver();
  for (let connection = 0; connection < 2; connection += 1) {
    connectIce(harness);
    await advance(harness, 9);
  }
  assert.deepEqual(policies(harness.bob), ['all', 'all', 'relay']);
  assert.equal(harness.ann.connections.length, 3);
});

test('a path that loses large packets is left once the peer is reachable', async () => {
  const harness = await directCall();
  const pc = harness.ann.pc();
  harness.ann.reachable = false;
  pc.channel.onmessage({ data: '{"mic":true,"cam":true,"screen":false}' });
  let audioPackets = 0;
  const { getStats } = pc;
  // Audio is complete, and video stops after a good start.
  pc.getStats = async () => {
    audioPackets += 15;
    return new Map([...(await getStats.call(pc)),
      ['in', { type: 'inbound-rtp', kind: 'audio', packetsReceived: audioPackets }], ['video', { type: 'inbound-rtp', kind: 'video', packetsReceived: 50, framesDecoded: 10 }]]);
  };
  await harness.clock.advance(20_000);
  assert.equal(harness.ann.connections.length, 1);
  harness.ann.reachable = true;
  await harness.clock.advance(1000);
  assert.equal(harness.ann.connections.length, 2);
});

test('a path with a merely slow handshake is kept', async () => {
  const harness = await directCall();
  connectIce(harness);
  await advance(harness, 7);
  for (const page of [harness.ann, harness.bob]) page.pc().setConnectionState('connected');
  await harness.flow(20_000);
  assert.equal(harness.bob.connections.length, 1);
});

test('one good connection between two silent ones keeps the direct path', () => {
  const fallback = makePathFallback();
  for (const silent of ['direct', null, 'direct']) assert.equal(fallback.recordSilent(silent, SERVERS), false);
  assert.equal(fallback.config(SERVERS).iceTransportPolicy, 'all');
});

/** The other page reloads slowly; the server still takes it for reachable, or knows that it is not. */
async function reloads(harness, n) {
  await harness.clock.advance(2600);
  harness.ann.reachable = true;
  await harness.ann.call.handle({ type: 'offer', from: 'bob', call: `reload${n}/0`, sdp: { type: 'offer', sdp: 'v=0\r\n' } });
  harness.ann.pc().pair = ['host', 'host'];
  harness.ann.pc().setConnectionState('connected');
}

test('slow reloads of the peer keep the direct path', async () => {
  const harness = await directCall();
  for (const n of [1, 2, 3]) {
    await harness.flow(60_000);
    await reloads(harness, n);
  }
  assert.deepEqual(policies(harness.ann), ['all', 'all', 'all', 'all']);
  assert.equal(avoidedPaths(harness.ann), 0);
});

test('silence while the peer is away does not blame the path', async () => {
  const harness = await directCall();
  for (const n of [1, 2, 3]) {
    await harness.flow(5000);
    harness.ann.reachable = false;
    await reloads(harness, n);
  }
  assert.deepEqual(policies(harness.ann), ['all', 'all', 'all', 'all']);
});

test('a path that worked for long falls back after two silent connections', async () => {
  const harness = await directCall();
  await harness.flow(40_000);
  await advance(harness, 40);
  connectIce(harness);
  await advance(harness, 9);
  assert.deepEqual(policies(harness.ann), ['all', 'all', 'relay']);
});

test('a silent relayed path over UDP is replaced by TCP and TLS', () => {
  const fallback = makePathFallback();
  for (const silent of ['direct', 'direct', 'relay-udp', 'relay-udp']) fallback.recordSilent(silent, SERVERS);
  assert.deepEqual(fallback.config(SERVERS).iceServers.flatMap(({ urls }) => urls), ['turn:box:3478?transport=tcp', 'turns:box:443']);
  fallback.reset();
  assert.deepEqual(fallback.config(SERVERS), { iceServers: SERVERS, iceTransportPolicy: 'all' });
});

test('without a relay no path is avoided', () => {
  const fallback = makePathFallback();
  const servers = [{ urls: 'stun:box:3478' }];
  assert.equal(fallback.hasFallback('direct', servers), false);
  for (const silent of ['direct', 'direct']) fallback.recordSilent(silent, servers);
  assert.equal(fallback.config(servers).iceTransportPolicy, 'all');
});
