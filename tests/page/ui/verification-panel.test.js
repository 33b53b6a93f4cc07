import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as elements from '../../../public/ui/elements.js';
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
  const parts = new Map();
  const page = { opened: 0, isBusy: false };
  const document = {
    body: { dataset: {} }, activeElement: null, createElement: () => new FakeElement(document),
    querySelector: (name) => {
      if (name.startsWith('dialog[open]')) return page.isBusy && name.includes('focus') ? new FakeElement(document) : null;
      return parts.get(name) ?? parts.set(name, new FakeElement(document)).get(name);
    },
  };
  page.find = document.querySelector;
  const panel = new VerificationPanel({
    document, page: elements, translate: (key) => (key === 'trust.pictures' ? 'dog, cat' : key), open: () => { page.opened += 1; },
  });
  page.show = (verification, status = 'connected') => panel.show({ status, session: { verification } });
  return page;
}

test('a failed check opens its explanation once, and not over what is being typed', () => {
  const page = make();
  const { show, find } = page;
  show({ state: 'same', code: [0, 1, 0, 1] });
  assert.deepEqual([page.opened, find('#trustPart').hidden, find('#trustCode').children.length], [0, false, 4]);
  const failed = { state: 'mismatch' };
  page.isBusy = true;
  show(failed);
  assert.deepEqual([page.opened, find('#trust').dataset.state, find('#trustHow').textContent], [0, 'mismatch', 'trust.mismatch']);
  page.isBusy = false;
  for (const shown of [failed, failed, null, failed]) show(shown);
  assert.deepEqual([page.opened, find('#trustPart').scrolls], [1, 1]);
  show({ state: 'mismatch' }, 'reconnecting');
  assert.deepEqual([page.opened, find('#trustPart').hidden], [1, true], 'nothing is known during an interruption');
  show({ state: 'mismatch' });
  assert.equal(page.opened, 2, 'the check of the next connection failed as well');
});
