import assert from 'node:assert/strict';
import { test } from 'node:test';
import { announce, announceInDialog, setAttribute, setChildren, setHidden, setLabel, setText } from '../../../public/ui/elements.js';

/** An element that counts what is written into it. */
function makeElement(more = {}) {
  let text = '';
  const attributes = new Map();
  return {
    writes: 0, tagName: 'P', classList: { contains: () => false }, ownerDocument: { body: { dataset: {} } },
    get textContent() { return text; },
    set textContent(value) { this.writes += 1; text = value; },
    /** What a browser's translation does. */
    translate(value) { text = value; },
    setAttribute(name, value) { this.writes += 1; attributes.set(name, value); },
    removeAttribute(name) { this.writes += 1; attributes.delete(name); },
    getAttribute: (name) => attributes.get(name) ?? null,
    ...more,
  };
}

test('a translated text stays until the page changes it', () => {
  const element = makeElement();
  setText(element, 'Connected');
  element.translate('Verbunden');
  for (let second = 0; second < 5; second += 1) assert.equal(setText(element, 'Connected'), false);
  assert.deepEqual([element.textContent, element.writes], ['Verbunden', 1]);
  setText(element, 'Reconnecting…');
  assert.equal(element.textContent, 'Reconnecting…');
});

test('a focus on what is hidden moves to the headline, or to the video', () => {
  const focused = [];
  const target = (name) => ({ focus: () => focused.push(name) });
  const document = { activeElement: 'inside', body: { dataset: {} }, querySelector: (name) => ({ '[data-for=lobby] h1': target('headline'), '#stage': target('stage') })[name] ?? null };
  const element = { ownerDocument: document, hidden: false, contains: (other) => other === 'inside' };
  for (const screen of ['lobby', 'call']) {
    document.body.dataset.screen = screen;
    setHidden(element, false);
    setHidden(element, true);
    setHidden(element, true);
    assert.equal(element.hidden, true);
  }
  document.activeElement = 'elsewhere';
  setHidden(element, false);
  setHidden(element, true);
  assert.deepEqual(focused, ['headline', 'stage']);
});

test('names and tooltips are set only when they change', () => {
  const button = makeElement({ tagName: 'BUTTON' });
  for (let second = 0; second < 5; second += 1) setLabel(button, 'Turn off microphone', 'M');
  assert.equal(button.writes, 3);
  assert.equal(button.getAttribute('title'), 'Turn off microphone (M)');
  button.ownerDocument.body.dataset.letters = 'off';
  setLabel(button, 'Turn off microphone', 'M');
  assert.deepEqual([button.getAttribute('title'), button.getAttribute('aria-keyshortcuts')], ['Turn off microphone', null]);
  const chord = { shown: 'Ctrl+D', name: 'Control+D' };
  setLabel(button, 'Turn off microphone', 'M', chord);
  assert.deepEqual([button.getAttribute('title'), button.getAttribute('aria-keyshortcuts')], ['Turn off microphone (Ctrl+D)', 'Control+D']);
  button.ownerDocument.body.dataset.letters = 'on';
  setLabel(button, 'Turn off microphone', 'M', chord);
  assert.deepEqual([button.getAttribute('title'), button.getAttribute('aria-keyshortcuts')], ['Turn off microphone (Ctrl+D, M)', 'Control+D M']);
  setAttribute(button, 'title', null);
  assert.equal(button.getAttribute('title'), null);
});

test('translated rows stay until the page changes them', () => {
  const row = (text) => ({ text, isEqualNode: (other) => other.text === text, cloneNode: () => row(text) });
  const table = { shown: [], replaceChildren(...rows) { this.shown = rows; } };
  setChildren(table, [row('Trying…')]);
  const [first] = table.shown;
  first.text = 'Versuch…';
  setChildren(table, [row('Trying…')]);
  assert.equal(table.shown[0], first);
  setChildren(table, [row('Open')]);
  assert.equal(table.shown[0].text, 'Open');
});

/** A live region of a document; `document.dialogRegion` is that of the open dialog. */
function makeRegion(document = { dialogRegion: null, querySelector: () => document.dialogRegion }) {
  const region = {
    messages: [], ownerDocument: document,
    append(one) { this.messages.push(one); },
    get childElementCount() { return this.messages.length; },
    get firstElementChild() { return this.messages[0]; },
  };
  document.createElement = () => ({ remove() { region.messages.shift(); } });
  return region;
}

test('an open dialog announces what the page would', () => {
  const outside = makeRegion();
  const document = outside.ownerDocument;
  announceInDialog(document, 'Connected');
  document.dialogRegion = makeRegion(document);
  announce(outside, 'hello');
  for (const text of ['Reconnecting…', '']) announceInDialog(document, text);
  assert.deepEqual(document.dialogRegion.messages.map(({ textContent }) => textContent), ['hello', 'Reconnecting…']);
  document.dialogRegion = null;
  announce(outside, 'hello again');
  assert.deepEqual(outside.messages.map(({ textContent }) => textContent), ['hello again']);
});

test('the same message twice is announced twice, many in their order', () => {
  const region = makeRegion();
  announce(region, 'hello');
  const [first] = region.messages;
  announce(region, 'hello');
  assert.deepEqual(region.messages.map(({ textContent }) => textContent), ['hello', 'hello']);
  assert.equal(region.messages[0], first, 'an earlier message is not announced again');
  for (let n = 0; n < 100; n += 1) announce(region, `${n}`);
  assert.deepEqual([region.messages.length, region.messages.at(-1).textContent], [8, '99']);
});
