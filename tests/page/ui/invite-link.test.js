import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InviteLink } from '../../../public/ui/invite-link.js';
import { makeClock, settle } from '../harness/fakes.js';

class FakeElement extends EventTarget {
  ownerDocument;
  hidden = false;
  value = '';
  children = [];
  selected = 0;
  constructor(document) {
    super();
    this.ownerDocument = document;
  }
  get childElementCount() { return this.children.length; }
  append(...children) { this.children.push(...children); }
  select() { this.selected += 1; }
}

function make({ refuses = false, permission } = {}) {
  const elements = new Map();
  const clock = makeClock();
  const document = {
    defaultView: permission && { Notification: { permission } }, execCommand: () => false, createElement: () => new FakeElement(document),
    querySelector: (name) => (name.startsWith('dialog[open]') ? null : elements.get(name) ?? elements.set(name, new FakeElement(document)).get(name)),
  };
  const copied = [];
  const clipboard = { writeText: async (text) => { if (refuses) throw new Error('refused'); copied.push(text); } };
  new InviteLink({ document, translate: (key) => key, clock, navigator: { clipboard } });
  const find = document.querySelector;
  find('#link').value = 'https://h/r/den';
  const copy = async () => {
    find('#btnCopy').dispatchEvent(new Event('click'));
    await settle();
  };
  const said = () => find('#announcer').children.map(({ textContent }) => textContent);
  return { clock, copied, copy, find, said };
}

test('a copied link is announced each time, and the button says it for a while', async () => {
  const { clock, copied, copy, find, said } = make();
  await copy();
  assert.deepEqual([copied, find('#copyWord').textContent], [['https://h/r/den'], 'waiting.copied']);
  await clock.advance(2000);
  assert.equal(find('#copyWord').textContent, 'waiting.copy');
  await copy();
  assert.deepEqual(said(), ['waiting.copied', 'waiting.copied']);
});

test('a link that cannot be copied is selected, and nothing is announced', async () => {
  const { copy, find, said } = make({ refuses: true });
  await copy();
  assert.ok(find('#link').selected > 0);
  assert.deepEqual(said(), []);
});

test('space is kept for the switch of notifications where they may be shown', () => {
  const isHidden = (permission) => make({ permission }).find('#notifyPlace').hidden;
  assert.deepEqual(['default', 'granted', 'denied', undefined].map(isHidden), [false, false, true, true]);
});
