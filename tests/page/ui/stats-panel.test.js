import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StatsPanel } from '../../../public/ui/stats-panel.js';

function makePanel() {
  const parts = new Map();
  const document = { createElement: () => new FakeElement(), querySelector: (id) => parts.get(id) ?? parts.set(id, new FakeElement()).get(id) };
  class FakeElement {
    hidden = false;
    append() {}
    setAttribute() {}
    focus() { if (!this.hidden) document.activeElement = this; }
    contains(element) { return this === parts.get('#numbers') && element === parts.get('#numbersTitle'); }
  }
  document.activeElement = document.body = new FakeElement();
  const panel = new StatsPanel({ document, translate: (key) => key });
  const find = document.querySelector;
  find('#numbers').hidden = true;
  return { document, panel, find };
}

test('the panel takes the focus and gives it back to what opened it', () => {
  const { document, panel, find } = makePanel();
  const more = find('[data-act=settings]');
  more.focus();
  panel.setOpen(true);
  assert.equal(document.activeElement, find('#numbersTitle'));
  panel.setOpen(true);
  panel.setOpen(false);
  assert.equal(document.activeElement, more);
});

test('without an opener the focus goes to the badge, and to the page where that is hidden', () => {
  const { document, panel, find } = makePanel();
  for (const [hidden, to] of [[false, '#path'], [true, '#stage']]) {
    document.activeElement = document.body;
    panel.setOpen(true);
    find('#path').hidden = hidden;
    panel.setOpen(false);
    assert.equal(document.activeElement, find(to), to);
  }
  panel.setOpen(true);
  find('#chatLine').focus();
  panel.setOpen(false);
  assert.equal(document.activeElement, find('#chatLine'), 'a focus elsewhere stays');
});
