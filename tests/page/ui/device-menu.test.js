import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DeviceMenu } from '../../../public/ui/device-menu.js';

/** What the menu uses of an element. */
class FakeElement extends EventTarget {
  dataset = {};
  hidden = false;
  open = false;
  value = '';
  shown = [];
  replaceChildren(...children) { this.shown = children; }
}

globalThis.Option = class { constructor(text, value) { Object.assign(this, { text, value }); } };

/** The menu in a browser with or without its own dialog for speakers, and with or without setSinkId. */
function makeMenu({ hasDialog = true, hasSinkId = true } = {}) {
  const elements = new Map();
  const at = (selector) => {
    if (!elements.has(selector)) elements.set(selector, new FakeElement());
    return elements.get(selector);
  };
  const played = [];
  const actions = [];
  const remote = hasSinkId ? { async setSinkId(id) { played.push(id); } } : {};
  const menu = new DeviceMenu({
    document: { querySelector: at }, remote, translate: (key) => key,
    navigator: { mediaDevices: hasDialog ? { selectAudioOutput() {} } : {} },
    actions: { media: { select() {} }, chooseSpeaker: () => actions.push('choose'), settingsToggled() {} },
  });
  const show = (audiooutput, ...speakers) => menu.show({
    devices: speakers.map((deviceId) => ({ kind: 'audiooutput', deviceId, label: deviceId })),
    selected: { videoinput: '', audioinput: '', audiooutput },
  });
  return { at, show, played, actions };
}

test('a button opens the speaker dialog of the browser, where it has one', () => {
  const firefox = makeMenu();
  assert.equal(firefox.at('#btnSpeaker').hidden, false);
  firefox.at('#btnSpeaker').dispatchEvent(new Event('click'));
  assert.deepEqual(firefox.actions, ['choose']);
  assert.equal(makeMenu({ hasDialog: false }).at('#btnSpeaker').hidden, true);
  assert.equal(makeMenu({ hasSinkId: false }).at('#btnSpeaker').hidden, true);
});

test('the selected speaker plays once listed, the default when it is gone', async () => {
  const { at, show, played } = makeMenu();
  show('headset');
  assert.equal(at('#speakerField').hidden, true, 'none is listed yet');
  show('headset', 'headset');
  assert.equal(at('#speakerField').hidden, false);
  assert.deepEqual(at('#pickSpeaker').shown.map(({ text }) => text), ['headset']);
  show('headset', 'headset');
  show('headset');
  assert.deepEqual(played, ['headset', '']);
});
