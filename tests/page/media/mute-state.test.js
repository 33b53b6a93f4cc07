import assert from 'node:assert/strict';
import { test } from 'node:test';
import { muteStateOf, makeMuteToggles } from '../../../public/media/mute-state.js';
import { settle } from '../harness/fakes.js';

/** Toggles of devices that answer as given; `failures` counts the reports. */
function makeHarness(answers) {
  const stored = new Map();
  const state = { mic: true, cam: false, screen: false, interrupted: { mic: false, cam: false } };
  const want = { mic: true, cam: false };
  const set = (what) => async (on) => {
    if (what !== 'screen') want[what] = on;
    const error = on ? await answers[what] ?? null : null;
    state[what] = on && error === null;
    return error;
  };
  const harness = { state, failures: 0 };
  harness.toggles = makeMuteToggles({
    media: { state, wanted: () => ({ ...want }), setMic: set('mic'), setCam: set('cam'), setScreen: set('screen') },
    storage: { getItem: (key) => stored.get(key) ?? null, setItem: (key, value) => void stored.set(key, value) },
    failed: () => { harness.failures += 1; },
  });
  return harness;
}

test('a failed toggle is reported each time, even with the same error', async () => {
  for (const [what, code] of [['cam', 'camera-denied'], ['screen', 'screen-failed']]) {
    const harness = makeHarness({ [what]: code });
    await harness.toggles.toggle(what);
    await harness.toggles.toggle(what);
    assert.equal(harness.failures, 2, what);
  }
});

test('a successful or cancelled toggle reports nothing', async () => {
  const harness = makeHarness({});
  for (const what of ['cam', 'cam', 'mic', 'mic', 'screen', 'screen']) await harness.toggles.toggle(what);
  assert.equal(harness.failures, 0);
});

test('one toggle switches on what the system has taken', async () => {
  const harness = makeHarness({});
  harness.state.interrupted.mic = true;
  await harness.toggles.toggle('mic');
  assert.equal(harness.state.mic, true);
  harness.state.interrupted.mic = false;
  await harness.toggles.toggle('mic');
  assert.equal(harness.state.mic, false);
});

test('the last setting of each toggle survives a reload', async () => {
  const harness = makeHarness({ cam: new Promise(() => {}) });
  harness.toggles.toggle('cam');
  await harness.toggles.toggle('mic');
  await settle();
  assert.deepEqual(harness.toggles.saved(), { mic: false, cam: true });
});

test('missing or malformed saved toggles are on', () => {
  for (const text of [null, '', '{', 'null', '7']) {
    const { saved } = makeMuteToggles({ media: { state: {} }, storage: { getItem: () => text }, failed() {} });
    assert.deepEqual(saved(), { mic: true, cam: true }, text);
  }
});

test('a device that is on without a track counts as off for the peer', () => {
  const on = { mic: true, cam: true, screen: false, interrupted: { mic: false, cam: false } };
  const sent = ({ state = {}, mic = {}, video = {} }) => muteStateOf({ state: { ...on, ...state }, micTrack: () => mic, outgoingTracks: () => ({ audio: mic, video }) });
  assert.deepEqual(sent({}), { mic: true, cam: true, screen: false });
  assert.deepEqual(sent({ video: null }), { mic: true, cam: false, screen: false });
  assert.deepEqual(sent({ mic: null }), { mic: false, cam: true, screen: false });
  assert.deepEqual(sent({ state: { interrupted: { mic: true, cam: true } } }), { mic: false, cam: false, screen: false });
  assert.deepEqual(sent({ state: { mic: false, cam: false, screen: true } }), { mic: false, cam: false, screen: true });
});
