import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makePulse, packetsReceived } from '../../public/pulse.js';
import { makeClock } from './stage.js';

function stageOf() {
  const clock = makeClock();
  const stage = { clock, count: 0, expected: true, heard: [] };
  stage.pulse = makePulse({ clock, read: async () => stage.count, expected: () => stage.expected, tell: (state) => stage.heard.push([state, clock.now()]) });
  stage.pulse.start();
  stage.beats = async (beats) => {
    for (let beat = 0; beat < beats; beat += 1) {
      if (stage.count !== null) stage.count += 20;
      await clock.advance(250);
    }
  };
  return stage;
}

test('packets that stop are missed after one second and given up after two', async () => {
  const stage = stageOf();
  await stage.beats(4);
  await stage.clock.advance(10_000);
  assert.deepEqual(stage.heard, [['faint', 2000], ['silent', 3000]]);
});

test('packets that come again are noticed with the next beat', async () => {
  const stage = stageOf();
  await stage.beats(4);
  await stage.clock.advance(1500);
  await stage.beats(1);
  assert.deepEqual(stage.heard, [['faint', 2000], ['beating', 2750]]);
});

test('a path that breaks before the first beat is missed as well', async () => {
  const stage = stageOf();
  stage.count = 40;
  await stage.clock.advance(10_000);
  assert.deepEqual(stage.heard, [['faint', 1250], ['silent', 2250]]);
});

test('who has never been heard is not missed', async () => {
  const stage = stageOf();
  await stage.clock.advance(60_000);
  assert.deepEqual(stage.heard, []);
});

test('who has nothing to send is not missed', async () => {
  const stage = stageOf();
  await stage.beats(4);
  stage.expected = false;
  await stage.clock.advance(60_000);
  assert.deepEqual(stage.heard, []);
});

test('statistics that fail say nothing, and the next ones are asked for', async () => {
  const clock = makeClock();
  let asked = 0;
  const pulse = makePulse({ clock, expected: () => true, tell: assert.fail, read: async () => { asked += 1; throw new Error('closed'); } });
  pulse.start();
  await clock.advance(5000);
  assert.equal(asked, 20);
  pulse.stop();
  await clock.advance(5000);
  assert.equal(asked, 20);
});

test('only media that arrives counts', () => {
  const stats = new Map([[1, { type: 'inbound-rtp', packetsReceived: 3 }], [2, { type: 'inbound-rtp', packetsReceived: 4 }],
    [3, { type: 'outbound-rtp', packetsSent: 9 }], [4, { type: 'inbound-rtp' }]]);
  assert.equal(packetsReceived(stats), 7);
});
