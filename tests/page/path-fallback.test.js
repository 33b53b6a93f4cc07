import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makePathFallback } from '../../public/call/path-fallback.js';
import { connected, twoPages } from './call-stage.js';

const SERVERS = [{ urls: ['stun:box:3478', 'turn:box:3478', 'turn:box:3478?transport=tcp'], username: 'u', credential: 'c' },
  { urls: 'turns:box:443', username: 'u', credential: 'c' }];
const policies = ({ connections }) => connections.map(({ config }) => config.iceTransportPolicy);
const detours = ({ heard }) => heard.filter(({ type }) => type === 'detour').length;

async function directCall() {
  const stage = twoPages();
  for (const page of [stage.ann, stage.bob]) page.call.useIceServers(SERVERS);
  await connected(stage);
  for (const page of [stage.ann, stage.bob]) page.pc().pair = ['host', 'host'];
  return stage;
}

/** Both newest connections answer ICE, and DTLS does not get through. */
function reach(stage, pair = ['host', 'srflx']) {
  for (const page of [stage.ann, stage.bob]) Object.assign(page.pc(), { pair }).reaches();
}

async function pass(stage, seconds) {
  for (let second = 0; second < seconds; second += 1) {
    await stage.clock.advance(1000);
    await stage.deliver();
  }
}

test('after two connections that fell silent on a direct path the third is relay-only', async () => {
  const stage = await directCall();
  await stage.flow(3000);
  await pass(stage, 40);
  assert.deepEqual(policies(stage.bob), ['all', 'all']);
  reach(stage);
  await pass(stage, 9);
  assert.deepEqual(policies(stage.ann), ['all', 'all', 'relay']);
  assert.deepEqual(policies(stage.bob), ['all', 'all', 'relay']);
  assert.deepEqual([detours(stage.ann), detours(stage.bob)], [1, 1]);
});

test('a direct path on which DTLS stalls from the first leads to the relay with the third connection', async () => {
  const stage = twoPages();
  for (const page of [stage.ann, stage.bob]) page.call.useIceServers(SERVERS);
  stage.bob.call.meet('bob', null, true);
  stage.ann.call.meet('ann', 'bob', true);
  stage.bob.call.meet('bob', 'ann', false);
  await stage.deliver();
  for (let connection = 0; connection < 2; connection += 1) {
    reach(stage);
    await pass(stage, 9);
  }
  assert.deepEqual(policies(stage.bob), ['all', 'all', 'relay']);
  assert.equal(stage.ann.connections.length, 3);
});

test('a path that loses large packets is left as soon as the other person is reachable again', async () => {
  const stage = await directCall();
  const pc = stage.ann.pc();
  stage.ann.reachable = false;
  pc.channel.onmessage({ data: '{"mic":true,"cam":true,"screen":false}' });
  let sound = 0;
  const { getStats } = pc;
  // The sound comes whole, and of a picture that began well nothing any more.
  pc.getStats = async () => {
    sound += 15;
    return new Map([...(await getStats.call(pc)),
      ['in', { type: 'inbound-rtp', kind: 'audio', packetsReceived: sound }], ['picture', { type: 'inbound-rtp', kind: 'video', packetsReceived: 50, framesDecoded: 10 }]]);
  };
  await stage.clock.advance(20_000);
  assert.equal(stage.ann.connections.length, 1);
  stage.ann.reachable = true;
  await stage.clock.advance(1000);
  assert.equal(stage.ann.connections.length, 2);
});

test('a path whose handshake is only slow is left alone', async () => {
  const stage = await directCall();
  reach(stage);
  await pass(stage, 7);
  for (const page of [stage.ann, stage.bob]) page.pc().becomes('connected');
  await stage.flow(20_000);
  assert.equal(stage.bob.connections.length, 1);
});

test('one good connection between two silent ones keeps the direct path', () => {
  const fallback = makePathFallback();
  for (const silent of ['direct', null, 'direct']) assert.equal(fallback.recordSilent(silent, SERVERS), false);
  assert.equal(fallback.config(SERVERS).iceTransportPolicy, 'all');
});

/** The other page is reloaded and takes its time, while the server still takes it for reachable or knows that it is not. */
async function reloads(stage, n) {
  await stage.clock.advance(2600);
  stage.ann.reachable = true;
  await stage.ann.call.hear({ type: 'offer', from: 'bob', call: `reload${n}/0`, sdp: { type: 'offer', sdp: 'v=0\r\n' } });
  stage.ann.pc().pair = ['host', 'host'];
  stage.ann.pc().becomes('connected');
}

test('slow reloads by the other person keep the direct path', async () => {
  const stage = await directCall();
  for (const n of [1, 2, 3]) {
    await stage.flow(60_000);
    await reloads(stage, n);
  }
  assert.deepEqual(policies(stage.ann), ['all', 'all', 'all', 'all']);
  assert.equal(detours(stage.ann), 0);
});

test('a silence while the other person is away is no fault of the path', async () => {
  const stage = await directCall();
  for (const n of [1, 2, 3]) {
    await stage.flow(5000);
    stage.ann.reachable = false;
    await reloads(stage, n);
  }
  assert.deepEqual(policies(stage.ann), ['all', 'all', 'all', 'all']);
});

test('a path that worked for long and then drops everything leads to the relay after two silent connections', async () => {
  const stage = await directCall();
  await stage.flow(40_000);
  await pass(stage, 40);
  reach(stage);
  await pass(stage, 9);
  assert.deepEqual(policies(stage.ann), ['all', 'all', 'relay']);
});

test('a relayed path over UDP that carries nothing gives way to TCP and TLS', () => {
  const fallback = makePathFallback();
  for (const silent of ['direct', 'direct', 'relay-udp', 'relay-udp']) fallback.recordSilent(silent, SERVERS);
  assert.deepEqual(fallback.config(SERVERS).iceServers.flatMap(({ urls }) => urls), ['turn:box:3478?transport=tcp', 'turns:box:443']);
  fallback.forget();
  assert.deepEqual(fallback.config(SERVERS), { iceServers: SERVERS, iceTransportPolicy: 'all' });
});

test('without a relay no way is avoided', () => {
  const fallback = makePathFallback();
  const servers = [{ urls: 'stun:box:3478' }];
  assert.equal(fallback.hasFallback('direct', servers), false);
  for (const silent of ['direct', 'direct']) fallback.recordSilent(silent, servers);
  assert.equal(fallback.config(servers).iceTransportPolicy, 'all');
});
