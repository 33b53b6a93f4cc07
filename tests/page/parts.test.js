import assert from 'node:assert/strict';
import { test } from 'node:test';
import { announce, label, setAttribute, setChildren, setText } from '../../public/ui/elements.js';

/** An element that counts what is written into it. */
function makePlace(more = {}) {
  let text = '';
  const attributes = new Map();
  return {
    writes: 0, tagName: 'P', classList: { contains: () => false }, ownerDocument: { body: { dataset: {} } },
    get textContent() { return text; },
    set textContent(value) { this.writes += 1; text = value; },
    /** What a translator does. */
    translated(value) { text = value; },
    setAttribute(name, value) { this.writes += 1; attributes.set(name, value); },
    removeAttribute(name) { this.writes += 1; attributes.delete(name); },
    getAttribute: (name) => attributes.get(name) ?? null,
    ...more,
  };
}

test('a text that a translator changed is left alone until ours changes', () => {
  const place = makePlace();
  setText(place, 'Connected');
  place.translated('Verbunden');
  for (let second = 0; second < 5; second += 1) setText(place, 'Connected');
  assert.deepEqual([place.textContent, place.writes], ['Verbunden', 1]);
  setText(place, 'Reconnecting…');
  assert.equal(place.textContent, 'Reconnecting…');
});

test('names and tooltips are written only where ours change', () => {
  const button = makePlace({ tagName: 'BUTTON' });
  for (let second = 0; second < 5; second += 1) label(button, 'Turn off microphone', 'M');
  assert.equal(button.writes, 3);
  assert.equal(button.getAttribute('title'), 'Turn off microphone (M)');
  button.ownerDocument.body.dataset.letters = 'off';
  label(button, 'Turn off microphone', 'M');
  assert.deepEqual([button.getAttribute('title'), button.getAttribute('aria-keyshortcuts')], ['Turn off microphone', null]);
  setAttribute(button, 'title', null);
  assert.equal(button.getAttribute('title'), null);
});

test('rows that a translator changed are left alone until ours change', () => {
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

test('the same message twice is announced twice, and many in their order', () => {
  const region = {
    said: [], ownerDocument: { createElement: () => ({ remove() { region.said.shift(); } }) },
    append(one) { this.said.push(one); },
    get childElementCount() { return this.said.length; },
    get firstElementChild() { return this.said[0]; },
  };
  announce(region, 'hello');
  const [first] = region.said;
  announce(region, 'hello');
  assert.deepEqual(region.said.map(({ textContent }) => textContent), ['hello', 'hello']);
  assert.equal(region.said[0], first, 'what is there is not said again');
  for (let n = 0; n < 100; n += 1) announce(region, `${n}`);
  assert.deepEqual([region.said.length, region.said.at(-1).textContent], [8, '99']);
});
