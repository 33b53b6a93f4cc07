import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeReport } from '../../public/app/call-report.js';
import { makeClock } from './stage.js';

function stageOf() {
  const clock = makeClock();
  const told = [];
  const stage = {
    clock, told,
    reading: undefined,
    reads(more) {
      this.reading = { path: 'direct', inBytes: 0, outBytes: 0, received: 0, lost: 0, rtt: null, ...more };
    },
  };
  stage.report = makeReport({ send: (frame) => told.push(frame), sample: () => stage.reading, clock, now: clock.now });
  return stage;
}

test('how long it took is told once the way is known, how it goes once a minute and at the end', async () => {
  const stage = stageOf();
  stage.report.begin();
  await stage.clock.advance(812.4);
  stage.report.connected();
  await stage.clock.advance(700);
  assert.deepEqual(stage.told, []);
  stage.reads({ path: 'relay-udp', inBytes: 10, outBytes: 5 });
  await stage.clock.advance(500);
  assert.deepEqual(stage.told.splice(0), [{ type: 'report', path: 'relay-udp', bytes: 15, setup: 812 }]);
  stage.reads({ inBytes: 1000, outBytes: 500, received: 980, lost: 20, rtt: 30.6 });
  await stage.clock.advance(60_000);
  assert.deepEqual(stage.told.splice(0), [{ type: 'report', path: 'direct', bytes: 1500, rtt: 31, lost: 0.02 }]);
  stage.reads({ inBytes: 2000, outBytes: 900, received: 1000, lost: -1 });
  stage.report.end();
  assert.deepEqual(stage.told.splice(0), [{ type: 'report', path: 'direct', bytes: 2900, lost: 0 }]);
  stage.report.end();
  await stage.clock.advance(120_000);
  assert.deepEqual(stage.told, []);
});

test('another connection of the same call adds to the bytes, another call begins anew', async () => {
  const stage = stageOf();
  stage.reads({ inBytes: 100 });
  stage.report.connected();
  stage.reads({ inBytes: 70 });
  stage.report.end();
  assert.deepEqual(stage.told.map(({ bytes }) => bytes), [100, 170]);
  stage.report.begin();
  await stage.clock.advance(200);
  stage.report.connected();
  assert.deepEqual(stage.told.at(-1), { type: 'report', path: 'direct', bytes: 70, setup: 200 });
});

test('the server hears that the page reports before it knows whether the call connects', () => {
  const stage = stageOf();
  stage.report.begin();
  stage.report.met();
  assert.deepEqual(stage.told, [{ type: 'report' }]);
  stage.report.end();
  assert.equal(stage.told.length, 1, 'of a call that never connected there is no more to tell');
});
