import assert from 'node:assert/strict';
import { test } from 'node:test';
import { words as first } from '../../../public/locales/en.js';
import { words as later } from '../../../public/locales/en-details.js';
import { makeChordOf } from '../../../public/ui/shortcuts.js';
import { ControlButtons, controls, icons } from '../../../public/ui/controls.js';

/** An element with attributes and children. */
const words = { ...first, ...later };

class FakeElement extends EventTarget {
  hidden = false;
  children = [];
  attributes = new Map();
  classList = { contains: () => false };
  constructor(name, ownerDocument) {
    super();
    Object.assign(this, { tagName: name.toUpperCase(), ownerDocument });
  }
  setAttribute(name, value) { this.attributes.set(name, value); }
  removeAttribute(name) { this.attributes.delete(name); }
  hasAttribute(name) { return this.attributes.has(name); }
  toggleAttribute(name, on) { if (on) this.attributes.set(name, ''); else this.attributes.delete(name); }
  append(...children) { this.children.push(...children); }
}

const MODEL = {
  media: { mic: true, cam: true, screen: false, canShare: true, canFlip: true, interrupted: { mic: false, cam: false } },
  chat: { unread: () => 0 },
};

function makeButtons() {
  const document = { body: { dataset: {} }, createElement: (name) => new FakeElement(name, document), querySelector: (name) => places[name] };
  const places = { '.bar': new FakeElement('div', document), '#menuCall': new FakeElement('div', document), '#menuPicture': new FakeElement('div', document) };
  const pressed = [];
  const buttons = new ControlButtons({ document, translate: (key, values) => key + JSON.stringify(values ?? ''), press: ({ id }) => pressed.push(id), chordOf: makeChordOf(false) });
  for (const place of ['bar', 'menu', 'picture']) buttons.create(place);
  const [bar, menu, picture] = Object.values(places).map(({ children }) => children);
  const show = (change = {}) => buttons.show({ model: { ...MODEL, media: { ...MODEL.media, ...change.media }, chat: change.chat ?? MODEL.chat }, actions: {}, panels: { videos: { canFullscreen: true, isWhole: false, ...change.videos }, selfView: { isHidden: false, ...change.selfView } } });
  const button = (id) => [...bar, ...menu, ...picture].find((each) => each.attributes.get('data-act') === id);
  return { bar, menu, picture, pressed, show, button };
}

test('each control has an icon, texts of the locale and one place', () => {
  for (const control of controls) {
    assert.ok(control.icon in icons, control.id);
    for (const key of [control.text, control.listedAs]) assert.ok(typeof key !== 'string' || key in words, `${control.id}: ${key}`);
  }
  const keys = controls.flatMap(({ key }) => key ?? []);
  assert.equal(new Set(keys).size, keys.length, 'no letter twice');
});

test('buttons are in the order of the table, and a click acts', () => {
  const { bar, menu, picture, pressed } = makeButtons();
  const ids = (buttons) => buttons.map(({ attributes }) => attributes.get('data-act'));
  const placedIn = (place) => controls.filter((control) => control.place === place).map(({ id }) => id);
  assert.deepEqual([ids(bar), ids(menu), ids(picture)], [placedIn('bar'), placedIn('menu'), placedIn('picture')]);
  assert.deepEqual(ids(bar).slice(0, 2), ['mic', 'cam']);
  assert.equal(ids(bar).at(-1), 'leave');
  for (const button of [...bar, ...menu, ...picture]) button.dispatchEvent(new Event('click'));
  assert.deepEqual(pressed.toSorted(), controls.map(({ id }) => id).toSorted());
});

test('the name of a button is its next action, with its letter', () => {
  const { show, button } = makeButtons();
  show();
  assert.equal(button('mic').attributes.get('title'), 'bar.micOff"" (Ctrl+D, M)');
  show({ media: { mic: false }, chat: { unread: () => 2 } });
  assert.equal(button('mic').attributes.get('title'), 'bar.micOn"" (Ctrl+D, M)');
  assert.equal(button('chat').attributes.get('aria-label'), 'chat.new{"n":2}');
});

test('a muted device is crossed out, a shared screen highlighted', () => {
  const { show, button } = makeButtons();
  show({ media: { mic: false, screen: true, interrupted: { mic: false, cam: true } } });
  assert.deepEqual(['mic', 'cam', 'share'].map((id) => button(id).hasAttribute('data-off')), [true, true, false]);
  assert.equal(button('share').hasAttribute('data-on'), true);
  assert.equal(button('cam').attributes.get('aria-label'), 'bar.camOn""', 'taken by the system, it is not on');
});

test('the buttons of the pictures name what they would do', () => {
  const { show, picture } = makeButtons();
  const names = () => picture.map(({ children: [words] }) => words.textContent);
  show();
  assert.deepEqual(names().slice(0, 2), ['settings.whole""', 'self.hide""']);
  show({ videos: { isWhole: true }, selfView: { isHidden: true } });
  assert.deepEqual(names().slice(0, 2), ['settings.fill""', 'self.show""']);
  assert.deepEqual(names().slice(-2), ['settings.full""', 'settings.pip""']);
  show({ videos: { isFullscreen: true, isPictureInPicture: true } });
  assert.deepEqual(names().slice(-2), ['settings.fullExit""', 'settings.pipExit""']);
});

test('what the browser cannot do has no button', () => {
  const { show, button } = makeButtons();
  show({ media: { canShare: false, canFlip: false } });
  assert.deepEqual(['flip', 'share', 'full', 'pip', 'mic'].map((id) => button(id).hidden), [true, true, false, true, false]);
  show({ media: { screen: true } });
  assert.equal(button('flip').hidden, true, 'nor while the screen is shared');
});
