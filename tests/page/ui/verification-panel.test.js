import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VerificationPanel } from '../../../public/ui/verification-panel.js';

class FakeElement {
  hidden = true;
  dataset = {};
  classList = { contains: () => false };
  scrolls = 0;
  constructor(document) { this.ownerDocument = document; }
  append() {}
  contains() { return false; }
  setAttribute() {}
  removeAttribute() {}
  replaceChildren(...children) { this.children = children; }
  scrollIntoView() { this.scrolls += 1; }
}

function make() {
  const elements = new Map();
  const page = { opened: 0, isBusy: false };
  const document = {
    body: { dataset: {} }, activeElement: null, createElement: () => new FakeElement(document),
    querySelector: (name) => {
      if (name.startsWith('dialog[open]')) return page.isBusy && name.includes('focus') ? new FakeElement(document) : null;
      return elements.get(name) ?? elements.set(name, new FakeElement(document)).get(name);
    },
  };
  page.find = document.querySelector;
  page.panel = new VerificationPanel({ document, translate: (key) => (key === 'trust.pictures' ? 'dog, cat' : key), open: () => { page.opened += 1; } });
  return page;
}

test('a failed check opens its explanation once, and not over what is being typed', () => {
  const page = make();
  const { panel, find } = page;
  panel.show({ state: 'same', code: [0, 1, 0, 1] });
  assert.deepEqual([page.opened, find('#trustPart').hidden, find('#trustCode').children.length], [0, false, 4]);
  const failed = { state: 'mismatch' };
  page.isBusy = true;
  panel.show(failed);
  assert.deepEqual([page.opened, find('#trust').dataset.state, find('#trustHow').textContent], [0, 'mismatch', 'trust.mismatch']);
  page.isBusy = false;
  for (const shown of [failed, failed, null, failed]) panel.show(shown);
  assert.deepEqual([page.opened, find('#trustPart').scrolls], [1, 1]);
  panel.show({ state: 'mismatch' });
  assert.equal(page.opened, 2, 'the check of the next connection failed as well');
});
