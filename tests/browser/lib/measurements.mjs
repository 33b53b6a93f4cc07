// Timing measurements: each is printed with its goal, and fails only beyond three times the goal or a limit of its own,
// because test machines are noisy.

import assert from 'node:assert/strict';
import { ENDED_STATES } from './harness.mjs';
import { delay, waitFor } from './wait.mjs';

const BASELINE_MS = 2000;
/** Frame gaps that other work on the machine causes at any time, also in calls without a fault; no goal is below it. */
const MACHINE_NOISE_MS = 500;

const JOIN_TIME_GOAL_MS = 250;
/** Two browsers that encode and draw in software on two processors take 400 to 600 ms, and twice that beside other work. */
const JOIN_TIME_LIMIT_MS = 2400;
const JOIN_REPETITIONS = 5;
/** As cameras send; with the ten frames a second of other tests, the first frame alone takes up to 100 ms. */
export const JOIN_TIME_CAMERA = {
  flags: ['--use-fake-device-for-media-stream=fps=30'],
  prefs: { 'media.navigator.video.default_fps': 30, 'layout.frame_rate': 30 },
};

/** Prints a duration in milliseconds, and fails beyond the limit. */
export function reportMeasurement(name, measuredMs, goalMs, limitMs = 3 * goalMs) {
  console.log(`measurement: ${name}: ${Math.round(measuredMs)} ms (goal ${Math.round(goalMs)} ms)`);
  assert.ok(measuredMs <= limitMs, `${name} took ${Math.round(measuredMs)} ms, more than ${Math.round(limitMs)} ms`);
}

/** The longest gap between two frames at each participant while nothing happens; restarts frame timing. */
export async function measureBaselineGaps(participants) {
  const restartTiming = () => Promise.all(participants.map((participant) => participant.startFrameTiming()));
  await restartTiming();
  await delay(BASELINE_MS);
  const gaps = await Promise.all(participants.map(async (participant) => (await participant.frameTiming()).longest));
  await restartTiming();
  return gaps;
}

/** Prints the longest gap at each participant since frame timing was restarted; the goal is twice the baseline. */
export async function reportFrameGaps(name, participants, baselineGaps) {
  for (const [index, participant] of participants.entries()) {
    const where = `participant ${index + 1} (baseline ${Math.round(baselineGaps[index])} ms)`;
    const goal = Math.max(2 * baselineGaps[index], MACHINE_NOISE_MS);
    reportMeasurement(`${name}, longest gap between frames at ${where}`, (await participant.frameTiming()).longest, goal);
  }
}

/** Waits until ten more frames are decoded, on this connection or its successor. */
export async function waitForNewFrames(participant) {
  let from = null;
  await waitFor('new frames', async () => {
    const { frames } = await participant.stats();
    if (from === null || frames < from) from = frames;
    return frames >= from + 10;
  }, 60_000);
}

/** One call, from the second participant's click on join to its first remote frame, with the steps between. */
export async function measureJoin([first, second], url, selectedPath) {
  await first.open(url);
  await first.join();
  await first.waitForState('waiting');
  await second.open(url);
  await second.waitForCallModules();
  await second.join();
  const time = await second.joinTime();
  await second.waitForState('connected');
  // The first working candidate pair may be another one; the better one replaces it shortly after.
  if (selectedPath) await second.waitForPath(selectedPath);
  await second.leave();
  for (const participant of [first, second]) await participant.waitForState(ENDED_STATES);
  return time;
}

/** Joins repeatedly and reports the median time from the second participant's click on join to its first remote frame.
 *  With `selectedPath` each call must end up on that path. */
export async function measureJoinTime(name, [first, second], url, selectedPath) {
  const times = [];
  for (let repetition = 0; repetition < JOIN_REPETITIONS; repetition += 1) {
    times.push(await measureJoin([first, second], url, selectedPath));
  }
  const sorted = (key) => times.map((time) => Math.round(time[key])).sort((a, b) => a - b);
  const firstFrames = sorted('firstFrame');
  console.log(`click on join to first remote frame, ${name}: ${firstFrames.join(', ')} ms; to the connection: ${sorted('connected').join(', ')} ms`);
  const steps = ['offer', 'answer', 'ICE connected', 'first packet'];
  const median = (step) => times.map((time) => time.steps[step] ?? NaN).sort((a, b) => a - b)[JOIN_REPETITIONS >> 1];
  console.log(`since the click, medians: ${steps.map((step) => `${step} ${Math.round(median(step))} ms`).join(', ')}`);
  reportMeasurement(`click on join to first remote frame, ${name}`, firstFrames[JOIN_REPETITIONS >> 1], JOIN_TIME_GOAL_MS, JOIN_TIME_LIMIT_MS);
}
