import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeTranslate } from '../../../public/locales/index.js';
import { words } from '../../../public/locales/en-details.js';
import { ChatPanel } from '../../../public/ui/chat-panel.js';
import { makeClock } from '../harness/fakes.js';

/** What the panel uses of an element. */
class FakeElement extends EventTarget {
  hidden = true;
  value = '';
  textContent = '';
  dataset = {};
  children = [];
  constructor(ownerDocument) {
    super();
    this.ownerDocument = ownerDocument;
  }
  append(...children) { this.children.push(...children); }
  replaceChildren(...children) { this.children = children; }
  remove() {}
  setAttribute() {}
  focus() {}
  contains() { return false; }
  querySelector() { return this.children.at(-1); }
  get childElementCount() { return this.children.length; }
}

function makePanel() {
  const parts = new Map();
  const document = { body: null, visibilityState: 'visible', createElement: () => new FakeElement(document) };
  document.querySelector = (id) => (id.startsWith('dialog') ? null : parts.get(id) ?? parts.set(id, new FakeElement(document)).get(id));
  document.body = new FakeElement(document);
  const clock = makeClock();
  const panel = new ChatPanel({ document, translate: makeTranslate(words), locale: 'en', clock, isAndroid: false, unreadAdded() {} });
  const chat = { messages: [], unread: () => 0, markRead() {}, send: (text) => (text.length > 4000 ? 'too-long' : null) };
  const field = document.querySelector('#chatLine');
  panel.show(chat, 'Ada');
  return {
    clock, chat, show: () => panel.show(chat, 'Ada'),
    said: () => document.querySelector('#chatHeard').children.map(({ textContent }) => textContent),
    type: (text) => { field.value = text; field.dispatchEvent(new Event('input')); },
    submit: () => document.querySelector('#chatForm').dispatchEvent(new Event('submit')),
    note: () => document.querySelector('#chatNote').textContent,
  };
}

const message = (more) => ({ mine: true, n: 1, text: 'hello', at: 0, state: 'waiting', ...more });

test('a message that is not sent is announced, and one that waits for a moment is not', async () => {
  const { clock, chat, show, said } = makePanel();
  const [quick, slow] = chat.messages = [message(), message({ text: 'are you there?' })];
  show();
  await clock.advance(500);
  quick.state = 'sent';
  show();
  await clock.advance(2000);
  assert.deepEqual(said(), ['You: are you there? · will be sent when the connection is back']);
  slow.state = 'lost';
  show();
  await clock.advance(0);
  assert.equal(said().at(-1), 'You: are you there? · not delivered');
});

test('a long message is announced up to a limit, which can be heard', () => {
  const { chat, show, said } = makePanel();
  chat.messages = [message({ mine: false, state: 'sent', text: 'x'.repeat(300) }), message({ mine: false, state: 'sent' })];
  show();
  assert.deepEqual(said(), [`New message from Ada: ${'x'.repeat(200)}…`, 'New message from Ada: hello']);
});

test('a text that is too long is announced once, and again when it is sent', () => {
  const { type, submit, said, note } = makePanel();
  for (const length of [4000, 4001, 4002, 4003]) type('x'.repeat(length));
  assert.match(note(), /This one has 4003/);
  assert.equal(said().length, 1);
  submit();
  assert.equal(said().length, 2);
  type('short');
  assert.equal(note(), '');
});
