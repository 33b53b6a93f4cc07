import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SettingsSwitches } from '../../../public/ui/settings-switches.js';
import { settle } from '../harness/fakes.js';

/** What the switches use of an element. */
class FakeElement extends EventTarget {
  children = [];
  dataset = {};
  hidden = false;
  checked = false;
  textContent = '';
  append(...children) { this.children.push(...children); }
  after(...parts) { this.placed = parts; }
  setAttribute() {}
}

const ALL = { noiseSuppression: true, echoCancellation: true, autoGainControl: true, backgroundBlur: true, channelCount: true };

function makeDialog({ supported = ALL, blur = [true, false], played = true } = {}) {
  const places = { '#pickCam': new FakeElement(), '#btnSpeaker': new FakeElement() };
  const devicePart = new FakeElement();
  places['#pickCam'].closest = () => devicePart;
  const document = { querySelector: (name) => places[name] ?? null, createElement: () => new FakeElement() };
  const page = { switched: [], chimes: [], preferred: { ...ALL, backgroundBlur: undefined } };
  const camera = { getSettings: () => ({ backgroundBlur: page.systemBlur ?? false }), getCapabilities: () => ({ backgroundBlur: blur }) };
  const switches = new SettingsSwitches({
    document, translate: (key) => key, devices: { getSupportedConstraints: () => supported },
    media: {
      processing: (name) => ({ track: name === 'backgroundBlur' ? camera : null, preferred: page.preferred[name] }),
      setProcessing: (...args) => page.switched.push(args),
    },
    attention: {
      speaker: 'headset', createSwitches: () => [new FakeElement()],
      chime: { play: (...args) => new Promise((resolve) => { page.chimes.push(args); page.end = () => resolve(played); }) },
    },
  });
  const [sound] = devicePart.placed;
  const [button, failure] = places['#btnSpeaker'].placed;
  const [blurSwitch, highResolution] = places['#pickCam'].placed;
  const rows = sound.children[1].children;
  return { page, switches, sound, rows, blurSwitch, highResolution, button, failure, box: (row) => row.children[0], words: button.children.at(-1) };
}

test('the switches show what is on, and set it', () => {
  const { page, switches, rows, box, blurSwitch } = makeDialog();
  assert.deepEqual(rows.map((row) => [box(row).checked, row.hidden]), [[true, false], [true, false], [true, false], [false, false]]);
  box(rows[0]).checked = false;
  box(rows[0]).dispatchEvent(new Event('change'));
  assert.deepEqual(page.switched, [['noiseSuppression', false]]);
  page.preferred.echoCancellation = false;
  page.systemBlur = true;
  assert.equal(box(blurSwitch).checked, false);
  switches.show();
  assert.deepEqual([box(rows[1]).checked, box(blurSwitch).checked], [false, true], 'also what the system has switched');
});

test('music hides the switches of the processing that it turns off', () => {
  const { page, switches, rows, box } = makeDialog();
  page.preferred.music = true;
  switches.show();
  assert.deepEqual([rows.map(({ hidden }) => hidden), box(rows[3]).checked], [[true, true, true, false], true]);
  box(rows[3]).checked = false;
  box(rows[3]).dispatchEvent(new Event('change'));
  assert.deepEqual(page.switched, [['music', false]]);
});

test('1080p is switched beside the blur', () => {
  const { page, highResolution, box } = makeDialog();
  assert.deepEqual([highResolution.hidden, box(highResolution).checked], [false, false]);
  box(highResolution).checked = true;
  box(highResolution).dispatchEvent(new Event('change'));
  assert.deepEqual(page.switched, [['highResolution', true]]);
});

test('what the browser cannot switch is hidden, and its heading with the last of it', () => {
  const some = makeDialog({ supported: { echoCancellation: true }, blur: undefined });
  assert.deepEqual([some.rows.map(({ hidden }) => hidden), some.sound.hidden, some.blurSwitch.hidden], [[true, false, true, true], false, true]);
  const none = makeDialog({ supported: {} });
  assert.deepEqual([none.sound.hidden, none.blurSwitch.hidden], [true, true]);
});

test('the speaker test plays once at a time through the selected speaker', async () => {
  const { page, button, words, failure } = makeDialog();
  for (let i = 0; i < 3; i += 1) button.dispatchEvent(new Event('click'));
  assert.deepEqual([page.chimes, words.textContent, button.dataset.playing], [[['test', 'headset']], 'settings.speakerPlaying', 'true']);
  page.end();
  await settle();
  assert.deepEqual([words.textContent, button.dataset.playing, failure.textContent], ['settings.speakerTest', undefined, '']);
});

test('a speaker test without sound says what to do, until the next one', async () => {
  const { page, button, failure } = makeDialog({ played: false });
  button.dispatchEvent(new Event('click'));
  page.end();
  await settle();
  assert.equal(failure.textContent, 'settings.speakerFailed');
  button.dispatchEvent(new Event('click'));
  assert.equal(failure.textContent, '');
});
