import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Heartbeat } from '../../../public/signaling/heartbeat.js';
import { makeClock } from '../harness/fakes.js';

function makeHarness() {
  const clock = makeClock();
  const events = [];
  const record = (name) => () => events.push([name, clock.now()]);
  const heartbeat = new Heartbeat({ clock, ping: record('ping'), suspected: record('suspected'), lost: record('lost') });
  heartbeat.start();
  return { clock, events, heartbeat };
}

test('pings follow the last message, more often in a call', async () => {
  for (const [inCall, pings] of [[false, 12], [true, 24]]) {
    const { clock, events, heartbeat } = makeHarness();
    heartbeat.setInCall(inCall);
    while (events.length < pings) {
      await clock.advance(inCall ? 2500 : 5000);
      heartbeat.heard();
    }
    assert.equal(clock.now(), 60_000, `${pings} a minute`);
    assert.deepEqual([...new Set(events.map(([name]) => name))], ['ping']);
  }
});

test('any message stands for a ping', async () => {
  const { clock, events, heartbeat } = makeHarness();
  for (let second = 0; second < 60; second += 1) {
    await clock.advance(1000);
    heartbeat.heard();
  }
  assert.deepEqual(events, []);
});

test('without an answer the socket is suspected, then lost', async () => {
  const { clock, events } = makeHarness();
  await clock.advance(60_000);
  assert.deepEqual(events, [['ping', 5000], ['suspected', 6250], ['lost', 7500]]);
});

test('a doubt shortens the wait; another one does not extend it', async () => {
  const { clock, events, heartbeat } = makeHarness();
  heartbeat.check();
  await clock.advance(600);
  heartbeat.check();
  await clock.advance(60_000);
  assert.deepEqual(events, [['ping', 0], ['suspected', 500], ['lost', 2500]]);
});

test('a socket that was suspected wrongly is not suspected again', async () => {
  const { clock, events, heartbeat } = makeHarness();
  heartbeat.check();
  await clock.advance(500);
  heartbeat.heard();
  await clock.advance(60_000);
  assert.deepEqual(events.slice(2), [['ping', 5500], ['lost', 8000]]);
  heartbeat.start();
  heartbeat.check();
  await clock.advance(500);
  assert.equal(events.at(-1)[0], 'suspected', 'another socket is');
});

test('a stopped heartbeat does nothing', async () => {
  const { clock, events, heartbeat } = makeHarness();
  heartbeat.check();
  heartbeat.stop();
  heartbeat.heard();
  heartbeat.check();
  await clock.advance(60_000);
  assert.deepEqual(events, [['ping', 0]]);
});
