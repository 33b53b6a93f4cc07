import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeUnreportedVideoDetector } from '../../../public/call/rtcp-feedback.js';

/** A connection whose reports come every second for video and every five seconds for audio; `seconds` returns whether it was ever detected. */
function makeHarness() {
  const isUnreported = makeUnreportedVideoDetector();
  let [time, sent] = [0, 0];
  const reports = new Map();
  return {
    seconds(count, { packets = 50, video = null, audio = 0 }) {
      let detected = false;
      for (let reading = 0; reading < 4 * count; reading += 1) {
        time += 0.25;
        sent += packets / 4;
        if (video !== null && time % 1 === 0) reports.set('video', video);
        if (audio !== null && time % 5 === 0) reports.set('audio', audio);
        const entry = (kind) => ({ type: 'remote-inbound-rtp', id: kind, kind, fractionLost: reports.get(kind), timestamp: Math.floor(time / (kind === 'audio' ? 5 : 1)) });
        const remote = [...reports.keys()].filter((kind) => (kind === 'audio' ? audio : video) !== null).map((kind) => [kind, entry(kind)]);
        detected ||= isUnreported(new Map([['out', { type: 'outbound-rtp', kind: 'video', packetsSent: sent }], ...remote]));
      }
      return detected;
    },
  };
}

test('video that is never reported while audio is complete is detected, also once it is paused', () => {
  assert.ok(makeHarness().seconds(12, {}));
  const harness = makeHarness();
  assert.ok(!harness.seconds(4, {}));
  assert.ok(harness.seconds(10, { packets: 0 }));
});

test('video of which nearly all is lost is detected, and other loss is not', () => {
  assert.ok(makeHarness().seconds(15, { video: 1 }));
  assert.ok(!makeHarness().seconds(60, { video: 0.6 }));
});

test('video that is reported, paused and resumed is none of it', () => {
  const harness = makeHarness();
  assert.ok(!harness.seconds(30, { video: 0 }));
  assert.ok(!harness.seconds(60, { packets: 0 }));
  assert.ok(!harness.seconds(1, { packets: 200 }));
  assert.ok(!harness.seconds(30, { video: 0 }));
});

test('nothing follows where audio is lost as well, or not sent', () => {
  assert.ok(!makeHarness().seconds(60, { audio: 0.1 }));
  assert.ok(!makeHarness().seconds(60, { audio: null }));
});
