import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pickSpeaker } from '../../public/media/device-selection.js';
import { makeDeviceSheet } from '../../public/ui/device-menu.js';

/** As much of an element as the sheet touches. */
class FakeElement extends EventTarget {
  dataset = {};
  hidden = false;
  open = false;
  value = '';
  shown = [];
  replaceChildren(...children) { this.shown = children; }
}

globalThis.Option = class { constructor(text, value) { Object.assign(this, { text, value }); } };

/** The sheet in a browser that has these, and what it has the page do. */
function makeStage({ asks = true, chooses = true } = {}) {
  const elements = new Map();
  const at = (selector) => {
    if (!elements.has(selector)) elements.set(selector, new FakeElement());
    return elements.get(selector);
  };
  const played = [];
  const deeds = [];
  const remote = chooses ? { async setSinkId(id) { played.push(id); } } : {};
  const sheet = makeDeviceSheet({
    document: { querySelector: at }, remote, say: (key) => key,
    navigator: { mediaDevices: asks ? { selectAudioOutput() {} } : {} },
    actions: { choose: (...words) => deeds.push(words), askSpeaker: () => deeds.push('ask'), listening() {} },
  });
  const show = (audiooutput, ...speakers) => sheet.show({
    devices: speakers.map((deviceId) => ({ kind: 'audiooutput', deviceId, label: deviceId })),
    selected: { videoinput: '', audioinput: '', audiooutput },
  });
  return { at, show, played, deeds };
}

test('where the browser asks for a speaker itself there is a button for it, and where it does not there is none', () => {
  const firefox = makeStage();
  assert.equal(firefox.at('#btnSpeaker').hidden, false);
  firefox.at('#btnSpeaker').dispatchEvent(new Event('click'));
  assert.deepEqual(firefox.deeds, ['ask']);
  assert.equal(makeStage({ asks: false }).at('#btnSpeaker').hidden, true);
  assert.equal(makeStage({ chooses: false }).at('#btnSpeaker').hidden, true);
});

test('the speaker that was picked is played through and listed once the browser names it, and the system\'s own when it is gone', async () => {
  const { at, show, played } = makeStage();
  show('headset');
  assert.equal(at('#speakerField').hidden, true, 'none is named yet');
  show('headset', 'headset');
  assert.equal(at('#speakerField').hidden, false);
  assert.deepEqual(at('#pickSpeaker').shown.map(({ text }) => text), ['headset']);
  show('headset', 'headset');
  show('headset');
  assert.deepEqual(played, ['headset', '']);
});

test('a speaker that is picked has an id; one that is put off has none, nor has a browser without the question', async () => {
  assert.equal(await pickSpeaker({ selectAudioOutput: async () => ({ deviceId: 'headset' }) }), 'headset');
  assert.equal(await pickSpeaker({ selectAudioOutput: async () => { throw new DOMException('no', 'NotAllowedError'); } }), null);
  assert.equal(await pickSpeaker({}), null);
  assert.equal(await pickSpeaker(undefined), null);
});
