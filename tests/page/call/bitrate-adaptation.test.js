import assert from 'node:assert/strict';
import { test } from 'node:test';
import { feedbackOf } from '../../../public/call/rtcp-feedback.js';
import { afterPathChange, afterInterruption, outgoingVideoOf, videoParameters, audioParameters, initialBitrate, isAnnouncedPaused, adapt } from '../../../public/call/bitrate-adaptation.js';

const CALM = { loss: 0, audioLoss: null, rtt: 20, reported: true, available: null, sending: true };
/** Feedback with this bitrate estimate, as in Chromium. */
const estimate = (available) => ({ ...CALM, available });
/** High loss and a long queue. */
const FULL = { ...CALM, loss: 0.8, rtt: 600 };
const NOTHING = { ...CALM, loss: null, rtt: null, reported: false };

/** A path with given readings four times a second; loss and delay once a second as browsers report them. */
function path(state = initialBitrate(), content = 'motion') {
  const harness = {
    state, levels: [state.level],
    is(seconds, reading) {
      for (let tick = 0; tick < seconds * 4; tick += 1) {
        const now = tick % 4 === 0 ? reading : { ...reading, loss: null, audioLoss: null, rtt: null, reported: false };
        harness.state = adapt(harness.state, { ...now, sending: now.sending && harness.outgoingVideo() !== 'paused' }, content);
        if (harness.state.level !== harness.levels.at(-1)) harness.levels.push(harness.state.level);
      }
      return harness;
    },
    outgoingVideo: () => outgoingVideoOf(harness.state),
  };
  return harness;
}

test('a good path keeps full video for any time', () => {
  assert.deepEqual(path().is(600, CALM).levels, [0]);
  assert.deepEqual(path().is(600, estimate(3_000_000)).levels, [0]);
});

test('a suddenly congested path pauses video with the first report', () => {
  const harness = path().is(20, CALM).is(0.25, FULL);
  assert.equal(harness.outgoingVideo(), 'paused');
});

test('one burst of loss reduces video, a second within seconds pauses it', () => {
  const burst = { ...CALM, loss: 0.4 };
  assert.deepEqual(path().is(20, CALM).is(1, burst).is(3, CALM).levels, [0, 3]);
  assert.deepEqual(path().is(20, CALM).is(1, burst).is(1, CALM).is(1, burst).levels, [0, 3, 4]);
  assert.deepEqual(path().is(20, CALM).is(1, burst).is(4.25, CALM).is(0.25, burst).levels, [0, 3]);
});

test('without any reports video is reduced and then paused', () => {
  const harness = path().is(20, CALM).is(2, NOTHING);
  assert.equal(harness.outgoingVideo(), 'full');
  assert.equal(harness.is(1, NOTHING).outgoingVideo(), 'reduced');
  assert.equal(harness.is(3, NOTHING).outgoingVideo(), 'paused');
  assert.equal(path().is(20, CALM).is(60, { ...NOTHING, sending: false }).outgoingVideo(), 'full');
});

test('the bitrate estimate is used only after it had time to settle', () => {
  assert.deepEqual(path().is(3, estimate(300_000)).is(20, estimate(3_000_000)).levels, [0]);
  assert.deepEqual(path().is(20, estimate(3_000_000)).is(5, estimate(250_000)).levels, [0, 1]);
  assert.deepEqual(path().is(20, estimate(3_000_000)).is(1, estimate(80_000)).levels, [0, 3]);
});

test('a camera gets a steady size for five seconds once the estimate allows it', () => {
  const parameters = ({ state }, content = 'motion') => {
    const { encoding: { maxBitrate, scaleResolutionDownBy }, degradationPreference } = videoParameters(state, { content, width: 1280, height: 720 });
    return [maxBitrate, scaleResolutionDownBy, degradationPreference];
  };
  const [whole, steady] = [[2_500_000, 1, 'maintain-framerate'], [2_500_000, 720 / 540, 'maintain-resolution']];
  const harness = path();
  assert.deepEqual(parameters(harness), whole);
  assert.deepEqual(parameters(harness.is(0.5, estimate(500_000))), whole);
  assert.deepEqual(parameters(harness.is(0.25, estimate(600_000))), steady);
  assert.deepEqual(parameters(harness, 'text'), [2_500_000, 1, 'maintain-resolution'], 'a screen keeps its size anyway');
  assert.deepEqual(parameters(harness.is(4, estimate(500_000))), steady);
  assert.deepEqual(parameters(harness.is(0.25, estimate(500_000))), whole);
  assert.deepEqual(parameters(path().is(60, { ...CALM, sending: false }).is(1, estimate(900_000))), steady, 'a camera that was off has not begun');
});

test('a lower level ends the start of a camera, one report with loss does not', () => {
  const isStart = ({ state }) => state.starting > 0;
  assert.equal(isStart(path().is(1, estimate(900_000))), true);
  assert.equal(isStart(path().is(1, estimate(900_000)).is(0.25, { ...CALM, loss: 0.2 })), true);
  assert.equal(isStart(path({ ...initialBitrate(), level: 1 }).is(1, estimate(900_000))), false);
});

test('a low estimate reduces video, and with a queue pauses it', () => {
  assert.equal(path().is(20, estimate(3_000_000)).is(60, estimate(40_000)).outgoingVideo(), 'reduced');
  assert.equal(path().is(20, estimate(3_000_000)).is(0.25, { ...estimate(40_000), rtt: 400 }).outgoingVideo(), 'paused');
});

test('a longer round trip counts as a queue only for a while', () => {
  const harness = path().is(20, CALM).is(120, { ...CALM, rtt: 500 });
  assert.ok(harness.levels.length > 1);
  assert.notEqual(harness.outgoingVideo(), 'paused');
  assert.equal(harness.is(120, { ...CALM, rtt: 500 }).outgoingVideo(), 'full');
});

test('loss unrelated to video reduces it without pausing', () => {
  const harness = path().is(20, CALM).is(300, { ...CALM, loss: 0.12 });
  assert.deepEqual(harness.levels, [0]);
  assert.equal(harness.is(1, { ...CALM, loss: 0.1 }).is(60, { ...CALM, loss: 0.1, available: 150_000 }).outgoingVideo(), 'reduced');
});

test('paused video is tried after six stable seconds and rises step by step', () => {
  const harness = path().is(20, CALM).is(1, FULL);
  assert.equal(harness.is(4.75, CALM).outgoingVideo(), 'paused');
  assert.equal(harness.is(0.5, CALM).outgoingVideo(), 'reduced');
  harness.is(30, CALM);
  assert.deepEqual(harness.levels, [0, 4, 3, 2, 1, 0]);
});

test('a screen counts as paused until a trial has lasted ten seconds', () => {
  const harness = path(initialBitrate(), 'text').is(20, CALM);
  assert.ok(!isAnnouncedPaused(harness.state));
  harness.is(1, FULL);
  for (let trial = 0; trial < 5; trial += 1) {
    assert.equal(harness.is(8, CALM).outgoingVideo(), 'reduced');
    assert.ok(isAnnouncedPaused(harness.state) && isAnnouncedPaused(afterInterruption(harness.state)));
    assert.equal(harness.is(1, FULL).outgoingVideo(), 'paused');
  }
  harness.is(14, CALM);
  assert.ok(isAnnouncedPaused(harness.state));
  assert.ok(!isAnnouncedPaused(harness.is(2, CALM).state));
  const camera = path().is(20, CALM).is(1, FULL);
  assert.ok(isAnnouncedPaused(camera.state));
  assert.equal(camera.is(6, CALM).outgoingVideo(), 'reduced');
  assert.ok(!isAnnouncedPaused(camera.state));
});

test('ample bandwidth shortens the pause to two seconds, too little extends it', () => {
  assert.equal(path().is(20, CALM).is(1, FULL).is(2, estimate(500_000)).outgoingVideo(), 'reduced');
  assert.equal(path().is(20, CALM).is(1, FULL).is(10, estimate(30_000)).outgoingVideo(), 'paused');
  assert.equal(path().is(20, CALM).is(1, FULL).is(12, estimate(30_000)).outgoingVideo(), 'reduced');
  assert.deepEqual(path().is(20, estimate(3_000_000)).is(1, estimate(80_000)).is(60, estimate(90_000)).levels, [0, 3]);
});

test('an ample estimate counts only until a trial has failed', () => {
  const harness = path().is(20, CALM).is(1, FULL).is(2, estimate(500_000)).is(1, FULL);
  assert.equal(harness.is(11, estimate(500_000)).outgoingVideo(), 'paused');
  assert.equal(harness.is(1, estimate(500_000)).outgoingVideo(), 'reduced');
});

test('on a path that never carries video trials become rarer, but never stop', () => {
  const harness = path().is(20, CALM);
  let trials = 0;
  const at = [];
  for (let second = 0; second < 600; second += 1) {
    const before = harness.outgoingVideo();
    harness.is(1, before === 'paused' ? CALM : FULL);
    if (before === 'paused' && harness.outgoingVideo() !== 'paused') {
      trials += 1;
      at.push(second);
    }
  }
  assert.ok(trials >= 10 && trials <= 14, `${trials} trials`);
  const delays = at.slice(1).map((each, which) => each - at[which]);
  assert.ok(delays.every((each, which) => which === 0 || each >= delays[which - 1]), `${delays}`);
  assert.ok(delays.at(-1) <= 62, `${delays}`);
});

test('half a minute on a good path resets the delay', () => {
  const harness = path().is(20, CALM).is(1, FULL).is(6, CALM).is(1, FULL).is(12, CALM);
  assert.equal(harness.state.stepUpAfter, 48);
  assert.equal(harness.is(90, CALM).state.stepUpAfter, 24);
});

test('loss during an interruption does not count afterwards', () => {
  const harness = path(afterInterruption(path().is(20, CALM).state)).is(3.75, FULL);
  assert.equal(harness.outgoingVideo(), 'full');
  assert.equal(harness.is(10, CALM).outgoingVideo(), 'full');
});

test('a new path is tried at once, but not one after the other', () => {
  const harness = path(afterPathChange(path().is(20, CALM).is(1, FULL).state));
  assert.equal(harness.outgoingVideo(), 'reduced');
  const soon = path(afterPathChange(harness.is(5, CALM).is(1, FULL).state));
  assert.equal(soon.outgoingVideo(), 'paused');
  assert.equal(soon.is(12, CALM).outgoingVideo(), 'paused');
  assert.equal(soon.is(5, CALM).outgoingVideo(), 'reduced');
  assert.equal(outgoingVideoOf(afterPathChange(harness.is(31, { ...FULL, audioLoss: 0.8 }).state)), 'reduced');
});

test('failed trials still count after an interruption', () => {
  const harness = path().is(20, CALM).is(1, FULL).is(6, CALM).is(1, FULL);
  assert.equal(path(afterInterruption(harness.state)).is(11, CALM).outgoingVideo(), 'paused');
});

test('while no video is sent the estimate does not affect its level', () => {
  assert.deepEqual(path().is(20, CALM).is(60, { ...estimate(80_000), sending: false }).levels, [0]);
});

test('one low estimate changes nothing, two do', () => {
  const harness = path().is(20, estimate(3_000_000)).is(0.25, estimate(80_000));
  assert.deepEqual(harness.levels, [0]);
  assert.deepEqual(harness.is(0.25, estimate(80_000)).levels, [0, 3]);
});

test('a camera loses size, a screen loses frame rate, audio hardly anything', () => {
  const at = (level, content) => videoParameters({ ...initialBitrate(), level }, { content, width: 1280, height: 720 });
  assert.deepEqual(at(0, 'motion').encoding, { active: true, maxBitrate: 2_500_000, maxFramerate: 30, scaleResolutionDownBy: 1 });
  assert.equal(at(3, 'motion').encoding.scaleResolutionDownBy, 4);
  assert.equal(at(3, 'motion').degradationPreference, 'maintain-framerate');
  assert.deepEqual(at(3, 'text').encoding, { active: true, maxBitrate: 100_000, maxFramerate: 2, scaleResolutionDownBy: 1 });
  assert.equal(at(3, 'text').degradationPreference, 'maintain-resolution');
  assert.equal(at(4, 'motion').encoding.active, false);
  assert.equal(videoParameters({ ...initialBitrate(), level: 3 }, { content: 'motion' }).encoding.scaleResolutionDownBy, 1);
  for (const level of [0, 1, 2, 3, 4]) {
    const { encoding } = audioParameters({ ...initialBitrate(), level });
    assert.ok(encoding.active && encoding.priority === 'high' && encoding.maxBitrate >= 16_000);
  }
});

test('music has its bitrate at the best two levels', () => {
  const bitrates = (music) => [0, 1, 2, 3, 4].map((level) => audioParameters({ ...initialBitrate(), level }, music).encoding.maxBitrate);
  assert.deepEqual(bitrates(true), [128_000, 128_000, 32_000, 20_000, 16_000]);
  assert.deepEqual(bitrates(false), [32_000, 32_000, 32_000, 20_000, 16_000]);
});

test('audio keeps its bitrate on a lossy path with enough capacity', () => {
  const bitrate = (level, available) => audioParameters({ ...initialBitrate(), level }, false, available).encoding.maxBitrate;
  assert.deepEqual([bitrate(3, 180_000), bitrate(3, 179_000), bitrate(4, 400_000)], [32_000, 20_000, 16_000]);
});

test('a camera with 1080p may use more, only at the best level and after its start', () => {
  const bitrate = (state, content = 'motion', height = 1080) => videoParameters({ ...initialBitrate(), ...state }, { content, width: 1920, height }).encoding.maxBitrate;
  assert.deepEqual([bitrate({}), bitrate({}, 'motion', 720), bitrate({}, 'text')], [4_000_000, 2_500_000, 2_500_000]);
  assert.deepEqual([bitrate({ starting: 1, carriesStart: true }), bitrate({ level: 1 }), bitrate({ level: 4 })], [2_500_000, 600_000, 60_000]);
});

/** Sender statistics as each browser reports them: `[sent, lost, fraction, round trip, time, retransmitted]` of each kind. */
const chromium = (video, audio, available) => stats({ video, audio }, available, false);
const firefox = (video, audio) => stats({ video, audio }, undefined, true);
function stats(kinds, available, received) {
  const report = new Map([['pair', { type: 'candidate-pair', availableOutgoingBitrate: available }]]);
  for (const [kind, reported] of Object.entries(kinds)) {
    if (!reported) continue;
    const [packetsSent, packetsLost, fractionLost, roundTripTime, timestamp, retransmittedPacketsSent] = reported;
    report.set(`out-${kind}`, { type: 'outbound-rtp', id: `out-${kind}`, kind, packetsSent, retransmittedPacketsSent });
    report.set(`in-${kind}`, { type: 'remote-inbound-rtp', id: `in-${kind}`, localId: `out-${kind}`, kind, packetsLost, fractionLost, roundTripTime,
      timestamp, ...(received && { packetsReceived: packetsSent - packetsLost }) });
  }
  return report;
}

test('a report counts once, with the loss since the previous one', () => {
  const first = feedbackOf(chromium([100, 0, 0, 0.02, 1], null, 900_000));
  assert.deepEqual([first.loss, first.rtt, first.available, first.sending], [null, null, 900_000, false]);
  const second = feedbackOf(chromium([200, 20, 0.1, 0.03, 2], null, 900_000), first);
  assert.deepEqual([second.loss, second.rtt, second.sending], [0.2, 30, true]);
  assert.deepEqual(feedbackOf(chromium([210, 20, 0.1, 0.03, 2], null, 900_000), second).loss, null);
});

test('a fraction of zero from Firefox does not hide the totals', () => {
  const first = feedbackOf(firefox([100, 0, 0, 0.02, 1]));
  assert.equal(feedbackOf(firefox([200, 80, 0, 0.6, 2]), first).loss, 0.8);
  const again = feedbackOf(firefox([200, 80, 0, 0.6, 2]), first);
  assert.equal(feedbackOf(firefox([300, 20, 0, 0.1, 3]), again).loss, 0);
});

test('a report on few packets is merged with the next', () => {
  const first = feedbackOf(firefox([100, 0, 0, 0.02, 1000]));
  const few = feedbackOf(firefox([104, 2, 0.5, 0.03, 1250]), first);
  assert.deepEqual([few.loss, few.rtt], [null, 30]);
  const enough = feedbackOf(firefox([110, 2, 0, 0.03, 1500]), few);
  assert.equal(enough.loss, 0.25);
  const fewer = feedbackOf(firefox([113, 3, 1 / 3, 0.03, 2500]), enough);
  assert.equal(fewer.loss, null);
  assert.equal(feedbackOf(firefox([115, 3, 0, 0.03, 5500]), fewer).loss, 0.2 * 5 / 8);
});

/** A still screen: one packet per second, every `nth` lost, reported one by one. */
function stillScreen({ nth, rtt }) {
  let [state, last, lost] = [initialBitrate(), undefined, 0];
  const levels = new Set();
  for (let second = 1; second <= 120; second += 1) {
    if (second % nth === 0) lost += 1;
    last = feedbackOf(chromium([second, lost, second % nth === 0 ? 1 : 0, rtt, second * 1000]), last);
    for (let tick = 0; tick < 4; tick += 1) state = adapt(state, tick ? { ...NOTHING, sending: true } : { ...last, sending: true }, 'text');
    levels.add(state.level);
  }
  return [...levels];
}

test('a still screen tolerates a tenth of loss, and not every second packet', () => {
  assert.deepEqual(stillScreen({ nth: 10, rtt: 0.03 }), [0]);
  assert.ok(stillScreen({ nth: 2, rtt: 0.03 }).length > 1);
});

test('a report on too few packets still counts as a report', () => {
  assert.deepEqual(stillScreen({ nth: Infinity, rtt: undefined }), [0]);
});

test('repeated retransmissions count as loss, even if one arrives', () => {
  const first = feedbackOf(chromium([100, 0, 0, 0.02, 1, 0]));
  assert.equal(feedbackOf(chromium([200, 0, 0, 0.3, 2, 60]), first).loss, 0.6);
  assert.equal(feedbackOf(chromium([0, 0, 0, 0.3, 2, 0]), first).loss, 0);
});

test('while video is sent its reports count, otherwise those of audio', () => {
  const first = feedbackOf(chromium([100, 0, 0, 0.02, 1], [50, 0, 0, 0.02, 1]));
  assert.equal(feedbackOf(chromium([200, 0, 0, 0.02, 2], [100, 40, 0.8, 0.5, 2]), first).loss, 0);
  assert.equal(feedbackOf(chromium([100, 0, 0, 0.02, 1], [100, 40, 0.8, 0.5, 2]), first).loss, 0.8);
});

test('audio loss is reported next to video', () => {
  const first = feedbackOf(chromium([100, 0, 0, 0.02, 1], [50, 0, 0, 0.02, 1]));
  const second = feedbackOf(chromium([200, 10, 0.1, 0.02, 2], [100, 20, 0.4, 0.02, 2]), first);
  assert.deepEqual([second.loss, second.audioLoss], [0.1, 0.4]);
  assert.equal(feedbackOf(chromium([300, 10, 0, 0.02, 3], [150, 20, 0.4, 0.02, 2]), second).audioLoss, null);
});

test('reports of any shape are accepted', () => {
  for (const odd of [new Map(), new Map([['a', { type: 'remote-inbound-rtp' }]]), new Map([['a', { type: 'outbound-rtp', kind: 'video' }], ['b', {}]])]) {
    const first = feedbackOf(odd);
    assert.equal(feedbackOf(odd, first).loss, null);
  }
  // A report on an unknown number of packets is used as it is.
  const alone = (timestamp, fractionLost) => new Map([['in', { type: 'remote-inbound-rtp', id: 'in', kind: 'video', timestamp, fractionLost }]]);
  assert.equal(feedbackOf(alone(2, 0.9), feedbackOf(alone(1, 0))).loss, 0.9);
});
