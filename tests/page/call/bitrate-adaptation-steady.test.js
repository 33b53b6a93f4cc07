// A network that loses packets at any rate, so that pausing video would not help. Losses come from a seeded
// generator, packet by packet, because random losses pause and resume video.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outgoingVideoOf, initialBitrate, adapt } from '../../../public/call/bitrate-adaptation.js';

/** Video packets per second on each level, and audio packets. */
const VIDEO_PACKETS = [120, 60, 25, 10, 0];
const AUDIO_PACKETS = 50;
const MINUTES = 3;
const SEEDS = [1, 7, 99, 1234, 31_337];

/** Uniform numbers from 0 to 1 (Lehmer's generator). */
function makeRandom(seed) {
  let last = seed;
  return () => (last = (last * 48_271) % 2_147_483_647) / 2_147_483_647;
}

/**
 * Three minutes of a network as two browsers see it: reports on video every second and on audio every five,
 * some of which are lost as well.
 * @param {{loses: (level: number) => number, available: number | null, seed: number, content?: 'motion' | 'text'}} line
 *   `loses`: the loss on this level
 */
function simulate({ loses, available, seed, content }) {
  const random = makeRandom(seed);
  const lost = (packets, share) => Array.from({ length: packets }, random).filter((one) => one < share).length / packets;
  let state = initialBitrate();
  const result = { pauses: 0, pausedSeconds: 0, last: 'full' };
  for (let tick = 1; tick <= MINUTES * 240; tick += 1) {
    const [packets, share] = [VIDEO_PACKETS[state.level], loses(state.level)];
    const reported = (every) => tick % every === 0 && random() >= share;
    const video = packets && reported(4) ? lost(packets, share) : null;
    const audio = reported(20) ? lost(5 * AUDIO_PACKETS, share) : null;
    const loss = packets ? video : audio;
    state = adapt(state, { loss, audioLoss: audio, rtt: loss === null ? null : 40, reported: loss !== null, available, sending: packets > 0 }, content);
    const now = outgoingVideoOf(state);
    if (now === 'paused') result.pausedSeconds += 0.25;
    if (now === 'paused' && result.last !== now) result.pauses += 1;
    result.last = now;
  }
  return result;
}

const BROWSERS = { 'with an ample estimate': 400_000, 'without an estimate': null };

for (const [browser, available] of Object.entries(BROWSERS)) {
  for (const share of [0.12, 0.16, 0.18, 0.2]) {
    test(`at ${share * 100} % loss a browser ${browser} rarely pauses video`, () => {
      for (const seed of SEEDS) {
        const { pauses, pausedSeconds } = simulate({ loses: () => share, available, seed });
        assert.ok(pauses <= 3, `${pauses} pauses with seed ${seed}`);
        assert.ok(pausedSeconds <= 0.25 * MINUTES * 60, `${pausedSeconds} s with seed ${seed}`);
      }
    });
  }

  test(`if video causes the loss, a browser ${browser} tries it less and less`, () => {
    for (const seed of SEEDS) {
      const { pauses, pausedSeconds } = simulate({ loses: (level) => (level === 4 ? 0.02 : 0.5), available, seed });
      assert.ok(pauses >= 3 && pauses <= 6, `${pauses} pauses with seed ${seed}`);
      assert.ok(pausedSeconds >= 0.7 * MINUTES * 60, `${pausedSeconds} s with seed ${seed}`);
    }
  });

  test(`a browser ${browser} updates a screen every ten seconds or so`, () => {
    for (const seed of SEEDS) {
      const { pauses } = simulate({ loses: (level) => (level === 4 ? 0.02 : 0.5), available, seed, content: 'text' });
      assert.ok(pauses >= 15, `${pauses} trials with seed ${seed}`);
    }
  });

  test(`with a third of audio lost, a browser ${browser} sends no video`, () => {
    for (const seed of SEEDS) {
      const { pauses, pausedSeconds } = simulate({ loses: () => 0.45, available, seed });
      assert.ok(pauses <= 4 && pausedSeconds >= 0.7 * MINUTES * 60, `${pauses} pauses, ${pausedSeconds} s with seed ${seed}`);
    }
  });
}
