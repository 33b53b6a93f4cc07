import assert from 'node:assert/strict';
import { test } from 'node:test';
import { heardAndSeen, makeSwitches } from '../../public/media/mute-state.js';
import { settle } from './stage.js';

/** Switches of devices that answer as the scene says; `refused` counts what was told. */
function stageOf(answers) {
  const kept = new Map();
  const state = { mic: true, cam: false, screen: false };
  const want = { mic: true, cam: false };
  const set = (what) => async (on) => {
    if (what !== 'screen') want[what] = on;
    const trouble = on ? await answers[what] ?? null : null;
    state[what] = on && trouble === null;
    return trouble;
  };
  const stage = { state, refused: 0 };
  stage.switches = makeSwitches({
    media: { state, wanted: () => ({ ...want }), setMic: set('mic'), setCam: set('cam'), setScreen: set('screen') },
    storage: { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => void kept.set(key, value) },
    refused: () => { stage.refused += 1; },
  });
  return stage;
}

test('a refusal is told at each press, though it is the same one that was put aside', async () => {
  for (const [what, trouble] of [['cam', 'camera-denied'], ['screen', 'screen-failed']]) {
    const stage = stageOf({ [what]: trouble });
    await stage.switches.toggle(what);
    await stage.switches.toggle(what);
    assert.equal(stage.refused, 2, what);
  }
});

test('what is had, switched off or put off tells nothing again', async () => {
  const stage = stageOf({});
  for (const what of ['cam', 'cam', 'mic', 'mic', 'screen', 'screen']) await stage.switches.toggle(what);
  assert.equal(stage.refused, 0);
});

test('the last word on each switch is kept over a reload, also while the browser still asks', async () => {
  const stage = stageOf({ cam: new Promise(() => {}) });
  stage.switches.toggle('cam');
  await stage.switches.toggle('mic');
  await settle();
  assert.deepEqual(stage.switches.kept(), { mic: false, cam: true });
});

test('switches that were never kept, or are junk, are on', () => {
  for (const text of [null, '', '{', 'null', '7']) {
    const { kept } = makeSwitches({ media: { state: {} }, storage: { getItem: () => text }, refused() {} });
    assert.deepEqual(kept(), { mic: true, cam: true }, text);
  }
});

test('a camera or microphone that is on and yet not there is off for the other side', () => {
  const on = { mic: true, cam: true, screen: false, held: { mic: false, cam: false } };
  const told = ({ state = {}, voice = {}, video = {} }) => heardAndSeen({ state: { ...on, ...state }, voice: () => voice, outgoing: () => ({ audio: voice, video }) });
  assert.deepEqual(told({}), { mic: true, cam: true, screen: false });
  assert.deepEqual(told({ video: null }), { mic: true, cam: false, screen: false });
  assert.deepEqual(told({ voice: null }), { mic: false, cam: true, screen: false });
  assert.deepEqual(told({ state: { held: { mic: true, cam: true } } }), { mic: false, cam: false, screen: false });
  assert.deepEqual(told({ state: { mic: false, cam: false, screen: true } }), { mic: false, cam: false, screen: true });
});
