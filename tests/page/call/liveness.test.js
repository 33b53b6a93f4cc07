import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeVideoStallDetector, makeLiveness, packetsReceived } from '../../../public/call/liveness.js';
import { makeClock } from '../harness/fakes.js';

function makeHarness() {
  const clock = makeClock();
  const harness = { clock, count: 0, expected: true, events: [] };
  harness.liveness = makeLiveness({ clock, read: async () => harness.count, expected: () => harness.expected, emit: (state) => harness.events.push([state, clock.now()]) });
  harness.liveness.start();
  harness.readings = async (readings) => {
    for (let reading = 0; reading < readings; reading += 1) {
      if (harness.count !== null) harness.count += 20;
      await clock.advance(250);
    }
  };
  return harness;
}

/** What is emitted of a break after these readings; each is the number of readings without packets before the next packets. */
async function eventsOfBreak(gaps) {
  const harness = makeHarness();
  for (const gap of gaps) {
    await harness.clock.advance(gap * 250);
    await harness.readings(1);
  }
  const brokenAt = harness.clock.now();
  await harness.clock.advance(10_000);
  return harness.events.map(([state, at]) => [state, at - brokenAt]);
}

test('missing packets are `delayed` after one second and `silent` after two', async () => {
  assert.deepEqual(await eventsOfBreak(Array(4).fill(0)), [['delayed', 1000], ['silent', 2000]]);
});

test('after five seconds of regular packets half of that is enough', async () => {
  assert.deepEqual(await eventsOfBreak(Array(20).fill(0)), [['delayed', 500], ['silent', 1000]]);
  assert.deepEqual(await eventsOfBreak(Array(19).fill(0)), [['delayed', 1000], ['silent', 2000]]);
});

test('each gap before extends the time; packets every 400 ms are no break', async () => {
  assert.deepEqual(await eventsOfBreak([...Array(10).fill(0), 1, ...Array(10).fill(0)]), [['delayed', 750], ['silent', 1500]]);
  assert.deepEqual(await eventsOfBreak([...Array(10).fill(0), 2, ...Array(10).fill(0)]), [['delayed', 1000], ['silent', 2000]]);
});

test('arriving packets are noticed at the next reading', async () => {
  const harness = makeHarness();
  await harness.readings(4);
  await harness.clock.advance(1500);
  await harness.readings(1);
  assert.deepEqual(harness.events, [['delayed', 2000], ['alive', 2750]]);
});

test('a path that breaks before the first reading is noticed', async () => {
  const harness = makeHarness();
  harness.count = 40;
  await harness.clock.advance(10_000);
  assert.deepEqual(harness.events, [['delayed', 1250], ['silent', 2250]]);
});

test('a peer that has never sent is not silent', async () => {
  const harness = makeHarness();
  await harness.clock.advance(60_000);
  assert.deepEqual(harness.events, []);
});

test('a peer that has nothing to send is not silent', async () => {
  const harness = makeHarness();
  await harness.readings(4);
  harness.expected = false;
  await harness.clock.advance(60_000);
  assert.deepEqual(harness.events, []);
});

test('failing statistics are ignored and read again', async () => {
  const clock = makeClock();
  let reads = 0;
  const liveness = makeLiveness({ clock, expected: () => true, emit: assert.fail, read: async () => { reads += 1; throw new Error('closed'); } });
  liveness.start();
  await clock.advance(5000);
  assert.equal(reads, 20);
  liveness.stop();
  await clock.advance(5000);
  assert.equal(reads, 20);
});

test('only received media counts', () => {
  const stats = new Map([[1, { type: 'inbound-rtp', packetsReceived: 3 }], [2, { type: 'inbound-rtp', packetsReceived: 4 }],
    [3, { type: 'outbound-rtp', packetsSent: 9 }], [4, { type: 'inbound-rtp' }]]);
  assert.equal(packetsReceived(stats), 7);
});

/** Feeds these values per second; returns the first second in which a stall is detected, or null. */
function secondsUntilStall(seconds, perSecond, theirs = { video: true, mayPause: false }, warmUp = 3) {
  const detect = makeVideoStallDetector();
  const sum = { frames: 0, audio: 0, audioLost: 0, video: 0, videoLost: 0, concealed: 0 };
  for (let reading = 0; reading < (warmUp + seconds) * 4; reading += 1) {
    const gain = reading < warmUp * 4 ? { frames: 30, audio: 50, audioLost: 0, video: 200, videoLost: 0 } : perSecond;
    for (const key of Object.keys(sum)) sum[key] += (gain[key] ?? 0) / 4;
    const report = new Map([['a', { type: 'inbound-rtp', kind: 'audio', packetsReceived: sum.audio, packetsLost: sum.audioLost,
      totalSamplesReceived: reading * 12_000, concealedSamples: sum.concealed }],
      ['v', { type: 'inbound-rtp', kind: 'video', packetsReceived: sum.video, packetsLost: sum.videoLost, framesDecoded: sum.frames }]]);
    if (detect(report, theirs)) return Math.ceil(reading / 4 - warmUp);
  }
  return null;
}

test('a path that carries only small packets is detected', () => {
  assert.ok(secondsUntilStall(20, { frames: 0.8, audio: 50, video: 2, videoLost: 20 }) <= 13);
  assert.ok(secondsUntilStall(20, { audio: 50 }) <= 13);
});

test('video missing on a slow link, or paused by the peer, is no symptom', () => {
  assert.equal(secondsUntilStall(60, { audio: 45, audioLost: 5, video: 2, videoLost: 20 }), null);
  assert.equal(secondsUntilStall(60, { audio: 50, concealed: 5000, video: 2, videoLost: 20 }), null);
  assert.equal(secondsUntilStall(60, { audio: 50 }, { video: true, mayPause: true }), null);
  assert.equal(secondsUntilStall(60, { audio: 50 }, { video: false, mayPause: false }), null);
  assert.equal(secondsUntilStall(60, { frames: 5, audio: 50, video: 20, videoLost: 60 }), null);
  assert.equal(secondsUntilStall(60, {}), null);
});
