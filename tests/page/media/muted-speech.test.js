import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MutedSpeech } from '../../../public/media/muted-speech.js';
import { makeClock } from '../harness/fakes.js';

class MutedTrack {
  static open = 0;
  enabled = false;
  clone() {
    MutedTrack.open += 1;
    return { enabled: this.enabled, stop() { MutedTrack.open -= 1; } };
  }
}

function makeSpeech() {
  const clock = makeClock();
  const shown = [];
  const meter = { level: 0, watched: null, watch(track) { this.watched = track; }, read() { return this.level; } };
  MutedTrack.open = 0;
  const speech = new MutedSpeech({ meter, clock, now: clock.now, changed: () => shown.push([speech.detected, clock.now()]) });
  return { speech, meter, clock, shown, async speak(ms, level = 0.7) {
    meter.level = level;
    await clock.advance(ms);
    meter.level = 0;
  } };
}

test('half a second of speech is detected, a cough or a click is not', async () => {
  const { speech, shown, clock, speak } = makeSpeech();
  speech.watch(new MutedTrack());
  for (let i = 0; i < 10; i += 1) {
    await speak(300);
    await clock.advance(1000);
  }
  assert.deepEqual(shown, []);
  await speak(600);
  assert.equal(speech.detected, true);
});

test('pauses between syllables do not start over, quiet ones count neither way', async () => {
  const { speech, speak } = makeSpeech();
  speech.watch(new MutedTrack());
  for (let i = 0; i < 3; i += 1) {
    await speak(200);
    await speak(200, 0.4);
  }
  assert.equal(speech.detected, true);
});

test('it is shown for some seconds, and at most once in 20 seconds', async () => {
  const { speech, shown, speak } = makeSpeech();
  speech.watch(new MutedTrack());
  await speak(50_000);
  const starts = shown.filter(([detected]) => detected).map(([, at]) => at);
  assert.equal(starts.length, 3);
  for (const [i, at] of starts.entries()) assert.ok(i === 0 || at - starts[i - 1] >= 20_000, `${starts}`);
  assert.equal(shown[1][0], false);
  assert.ok(shown[1][1] - shown[0][1] <= 6000, `${shown}`);
});

test('a copy of the muted track is measured, and stopped with it', async () => {
  const { speech, meter, shown, speak } = makeSpeech();
  const track = new MutedTrack();
  speech.watch(track);
  speech.watch(track);
  assert.deepEqual([MutedTrack.open, meter.watched.enabled, track.enabled], [1, true, false]);
  await speak(700);
  speech.watch(new MutedTrack());
  assert.deepEqual([MutedTrack.open, speech.detected], [1, false], 'of another microphone nothing is known yet');
  await speak(700);
  assert.equal(shown.length, 2, 'the pause holds');
  speech.watch(null);
  assert.deepEqual([MutedTrack.open, meter.watched], [0, null]);
});

test('time in which the page did not run is not speech', async () => {
  const { speech, meter, clock } = makeSpeech();
  let frozen = 0;
  const { now } = clock;
  const late = new MutedSpeech({ meter, clock, now: () => now() + frozen, changed() {} });
  late.watch(new MutedTrack());
  meter.level = 0.9;
  frozen = 60_000;
  await clock.advance(100);
  assert.deepEqual([late.detected, speech.detected], [false, false]);
});
