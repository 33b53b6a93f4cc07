import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeCallReport } from '../../../public/app/call-report.js';
import { makeClock } from '../harness/fakes.js';

function makeHarness() {
  const clock = makeClock();
  const sent = [];
  const harness = {
    clock, sent,
    reading: undefined,
    reads(more) {
      this.reading = { path: 'direct', inBytes: 0, outBytes: 0, received: 0, lost: 0, rtt: null, ...more };
    },
  };
  harness.report = makeCallReport({ send: (frame) => sent.push(frame), sample: () => harness.reading, clock, now: clock.now });
  return harness;
}

test('reports setup time with the path, then quality each minute and at end', async () => {
  const harness = makeHarness();
  harness.report.start();
  await harness.clock.advance(812.4);
  harness.report.connected();
  await harness.clock.advance(700);
  assert.deepEqual(harness.sent, []);
  harness.reads({ path: 'relay-udp', inBytes: 10, outBytes: 5 });
  await harness.clock.advance(500);
  assert.deepEqual(harness.sent.splice(0), [{ type: 'report', path: 'relay-udp', bytes: 15, setup: 812 }]);
  harness.reads({ inBytes: 1000, outBytes: 500, received: 980, lost: 20, rtt: 30.6 });
  await harness.clock.advance(60_000);
  assert.deepEqual(harness.sent.splice(0), [{ type: 'report', path: 'direct', bytes: 1500, rtt: 31, lost: 0.02 }]);
  harness.reads({ inBytes: 2000, outBytes: 900, received: 1000, lost: -1 });
  harness.report.stop();
  assert.deepEqual(harness.sent.splice(0), [{ type: 'report', path: 'direct', bytes: 2900, lost: 0 }]);
  harness.report.stop();
  await harness.clock.advance(120_000);
  assert.deepEqual(harness.sent, []);
});

test('a second connection adds to the bytes, a second call starts from zero', async () => {
  const harness = makeHarness();
  harness.reads({ inBytes: 100 });
  harness.report.connected();
  harness.reads({ inBytes: 70 });
  harness.report.stop();
  assert.deepEqual(harness.sent.map(({ bytes }) => bytes), [100, 170]);
  harness.report.start();
  await harness.clock.advance(200);
  harness.report.connected();
  assert.deepEqual(harness.sent.at(-1), { type: 'report', path: 'direct', bytes: 70, setup: 200 });
});

test('the server learns that the page reports before the call connects', () => {
  const harness = makeHarness();
  harness.report.start();
  harness.report.peerPresent();
  assert.deepEqual(harness.sent, [{ type: 'report' }]);
  harness.report.stop();
  assert.equal(harness.sent.length, 1, 'a call that never connected has nothing else to report');
});
