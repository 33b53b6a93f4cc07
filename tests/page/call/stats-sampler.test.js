import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeStatsSampler } from '../../../public/call/stats-sampler.js';
import { makeClock, settle } from '../harness/fakes.js';

/** A connection whose statistics follow `now`. */
function makeHarness() {
  const clock = makeClock();
  const now = { rtt: 0.02, received: 0, lost: 0 };
  let drawn = 0;
  const pc = {
    getStats: async () => new Map([
      ['P', { id: 'P', type: 'candidate-pair', selected: true, currentRoundTripTime: now.rtt }],
      ['I', { id: 'I', type: 'inbound-rtp', kind: 'audio', packetsReceived: (now.received += 100), packetsLost: now.lost }],
    ]),
  };
  const harness = { clock, now, pc, drawn: () => drawn };
  harness.sampler = makeStatsSampler({ connection: () => harness.pc, clock, now: clock.now, changed: () => { drawn += 1; } });
  return harness;
}

test('the last minute is kept, and nothing is read while stopped', async () => {
  const { sampler, clock, drawn } = makeHarness();
  sampler.start();
  await clock.advance(90_000);
  assert.equal(sampler.samples.length, 60);
  assert.equal(sampler.samples.at(-1).at - sampler.samples[0].at, 59_000);
  sampler.stop();
  const before = drawn();
  await clock.advance(10_000);
  assert.deepEqual([sampler.samples.length, drawn()], [0, before]);
});

test('one late reply is not poor quality, three are, and loss comes first', async () => {
  const { sampler, clock, now } = makeHarness();
  sampler.start();
  await clock.advance(5000);
  assert.deepEqual([sampler.quality(), sampler.qualityReason()], ['good', null]);
  now.rtt = 0.5;
  await clock.advance(1000);
  assert.deepEqual([sampler.quality(), sampler.qualityReason()], ['good', null]);
  await clock.advance(2000);
  assert.deepEqual([sampler.quality(), sampler.qualityReason()], ['fair', 'delay']);
  now.lost = 60;
  await clock.advance(1000);
  assert.deepEqual([sampler.quality(), sampler.qualityReason()], ['poor', 'loss']);
});

test('another connection starts another minute', async () => {
  const harness = makeHarness();
  harness.sampler.start();
  await harness.clock.advance(5000);
  harness.pc = { ...harness.pc };
  await harness.clock.advance(1000);
  await settle();
  assert.equal(harness.sampler.samples.length, 1);
});

test('UDP counts as blocked once gathering is complete', async () => {
  const { sampler, clock, pc } = makeHarness();
  const { getStats } = pc;
  const reached = ['tls'];
  pc.iceGatheringState = 'gathering';
  pc.getStats = async () => new Map([...await getStats(), ...reached.map((relayProtocol) => [relayProtocol, { id: relayProtocol, type: 'local-candidate', candidateType: 'relay', relayProtocol }])]);
  assert.equal(sampler.isUdpBlocked(), false);
  sampler.start();
  await clock.advance(2000);
  assert.equal(sampler.isUdpBlocked(), false, 'UDP may still answer');
  pc.iceGatheringState = 'complete';
  assert.equal(sampler.isUdpBlocked(), true);
  reached.push('udp');
  await clock.advance(1000);
  assert.equal(sampler.isUdpBlocked(), false);
});
