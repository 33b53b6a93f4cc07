import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeReadings } from '../../public/call/stats-sampler.js';
import { makeClock, settle } from './stage.js';

/** A connection whose statistics are what `now` says at each reading. */
function makeStage() {
  const clock = makeClock();
  const now = { rtt: 0.02, received: 0, lost: 0 };
  let drawn = 0;
  const pc = {
    getStats: async () => new Map([
      ['P', { id: 'P', type: 'candidate-pair', selected: true, currentRoundTripTime: now.rtt }],
      ['I', { id: 'I', type: 'inbound-rtp', kind: 'audio', packetsReceived: (now.received += 100), packetsLost: now.lost }],
    ]),
  };
  const stage = { clock, now, pc, drawn: () => drawn };
  stage.readings = makeReadings({ connection: () => stage.pc, clock, now: clock.now, changed: () => { drawn += 1; } });
  return stage;
}

test('the last minute is kept, and nothing is read at rest', async () => {
  const { readings, clock, drawn } = makeStage();
  readings.watch();
  await clock.advance(90_000);
  assert.equal(readings.samples.length, 60);
  assert.equal(readings.samples.at(-1).at - readings.samples[0].at, 59_000);
  readings.rest();
  const before = drawn();
  await clock.advance(10_000);
  assert.deepEqual([readings.samples.length, drawn()], [0, before]);
});

test('one late answer is not a bad line, three are, and loss is named first', async () => {
  const { readings, clock, now } = makeStage();
  readings.watch();
  await clock.advance(5000);
  assert.deepEqual([readings.quality(), readings.reason()], ['good', null]);
  now.rtt = 0.5;
  await clock.advance(1000);
  assert.deepEqual([readings.quality(), readings.reason()], ['good', null]);
  await clock.advance(2000);
  assert.deepEqual([readings.quality(), readings.reason()], ['fair', 'delay']);
  now.lost = 60;
  await clock.advance(1000);
  assert.deepEqual([readings.quality(), readings.reason()], ['poor', 'loss']);
});

test('another connection begins another minute', async () => {
  const stage = makeStage();
  stage.readings.watch();
  await stage.clock.advance(5000);
  stage.pc = { ...stage.pc };
  await stage.clock.advance(1000);
  await settle();
  assert.equal(stage.readings.samples.length, 1);
});

test('a network that lets no UDP through is called so once everything has been tried', async () => {
  const { readings, clock, pc } = makeStage();
  const { getStats } = pc;
  const reached = ['tls'];
  pc.iceGatheringState = 'gathering';
  pc.getStats = async () => new Map([...await getStats(), ...reached.map((relayProtocol) => [relayProtocol, { id: relayProtocol, type: 'local-candidate', candidateType: 'relay', relayProtocol }])]);
  assert.equal(readings.udpShut(), false);
  readings.watch();
  await clock.advance(2000);
  assert.equal(readings.udpShut(), false, 'UDP may still answer');
  pc.iceGatheringState = 'complete';
  assert.equal(readings.udpShut(), true);
  reached.push('udp');
  await clock.advance(1000);
  assert.equal(readings.udpShut(), false);
});
