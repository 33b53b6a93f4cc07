import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Knocks } from '../../../public/ui/knocks.js';
import { TransferDialog } from '../../../public/ui/transfer-dialog.js';

/** What these parts use of an element. */
class FakeElement extends EventTarget {
  attributes = new Map();
  children = [];
  hidden = false;
  disabled = false;
  open = false;
  textContent = '';
  append(...children) { this.children.push(...children); }
  replaceChildren(...children) { this.children = children; }
  remove() {}
  contains() { return false; }
  setAttribute(name, value) { this.attributes.set(name, value); }
  getAttribute(name) { return this.attributes.get(name) ?? null; }
  get id() { return this.attributes.get('id') ?? ''; }
  removeAttribute(name) { this.attributes.delete(name); }
  toggleAttribute() {}
  select() { this.selected = true; }
  showModal() { this.open = true; }
  close() {
    this.open = false;
    this.dispatchEvent(new Event('close'));
  }
}

function makePage() {
  const page = { created: [], done: [], said: [], revealed: 0, panel: new FakeElement() };
  const track = (element) => { page.created.push(element); return element; };
  const document = { body: new FakeElement(), activeElement: null, querySelector: () => page.panel, createElementNS: () => track(new FakeElement()) };
  const createElement = (_, name, attributes = {}, text = '') => {
    const element = track(new FakeElement());
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    return element;
  };
  const action = (name) => (...args) => page.done.push([name, ...args]);
  page.parts = {
    document, createElement, translate: (key) => `(${key})`, setText: (element, text) => { element.textContent = text; },
    announce: (text) => page.said.push(text), reveal: () => { page.revealed += 1; },
    actions: { answerKnock: action('answer'), requestTransfer: action('request'), closeTransfer: action('close'), transferFailed: action('failed') },
  };
  return page;
}

const knocking = (knocks, peer = 'none') => ({ session: { knocks, peer, socketOpen: true } });
const CODE = { session: { screen: 'call' }, transfer: { token: 'one-time', until: 60_000, phase: 'valid' }, media: { screen: false }, link: 'https://h/r/den' };

test('a knock is announced and shown once, and nobody is let in while both seats are taken', () => {
  const page = makePage();
  const { parts, created, said, done, panel } = page;
  const knocks = new Knocks(parts);
  const [cleo] = [{ id: 'k1', name: '', answered: false }];
  knocks.show(knocking([cleo], 'present'));
  knocks.show(knocking([cleo], 'present'));
  const [admit, decline] = ['knocks.admit', 'knocks.decline'].map((word) => created.find(({ attributes }) => attributes.get('data-word') === word));
  const isDisabled = () => [admit, decline].map((button) => button.getAttribute('aria-disabled'));
  assert.deepEqual([said, page.revealed, isDisabled(), panel.hidden], [['(knocks.somebody)', '(knocks.full)'], 1, ['true', 'false'], false]);
  const { id } = created.find(({ attributes }) => attributes.has('dir'));
  assert.deepEqual([admit, decline].map((button) => button.getAttribute('aria-describedby')), [`${id} knocksReason`, id]);
  admit.dispatchEvent(new Event('click'));
  assert.deepEqual(done, []);
  knocks.show(knocking([cleo]));
  assert.deepEqual(isDisabled(), ['false', 'false']);
  assert.equal(admit.getAttribute('aria-describedby'), id);
  admit.dispatchEvent(new Event('click'));
  assert.deepEqual(done, [['answer', 'k1', true]]);
  knocks.show(knocking([{ ...cleo, answered: true }]));
  decline.dispatchEvent(new Event('click'));
  assert.deepEqual([isDisabled(), done.length], [['true', 'true'], 1], 'an answer is given once');
  knocks.show(knocking([]));
  assert.equal(panel.hidden, true);
  knocks.show(knocking([cleo]));
  assert.deepEqual([panel.hidden, said.length, page.revealed], [false, 2, 1], 'named again after a reconnection');
});

test('the link of a code is copied, or shown where it cannot be copied', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  const { parts, created, said } = makePage();
  const clipboard = { texts: [], async writeText(text) { this.texts.push(text); } };
  const dialog = new TransferDialog({ ...parts, clipboard, drawCode: async () => {} });
  const find = (id) => created.find((element) => element.id === id);
  const [copy, link] = [find('btnTransferCopy'), find('transferLink')];
  const press = async () => {
    copy.dispatchEvent(new Event('click'));
    await Promise.resolve();
    await Promise.resolve();
  };
  dialog.show({ ...CODE, transfer: { ...CODE.transfer, token: null, phase: 'requested' } });
  await press();
  assert.deepEqual([clipboard.texts, copy.getAttribute('aria-disabled')], [[], 'true'], 'nothing to copy yet');
  dialog.show(CODE);
  await press();
  assert.deepEqual([clipboard.texts, said, copy.textContent, copy.getAttribute('aria-disabled')], [['https://h/r/den#t=one-time'], ['(waiting.copied)'], '(waiting.copied)', 'false']);
  context.mock.timers.tick(2000);
  assert.deepEqual([copy.textContent, link.hidden], ['(waiting.copy)', true]);
  clipboard.writeText = async () => { throw new DOMException('refused', 'NotAllowedError'); };
  await press();
  assert.deepEqual([link.hidden, link.value, link.selected], [false, 'https://h/r/den#t=one-time', true]);
  dialog.show({ ...CODE, transfer: { ...CODE.transfer, token: null, phase: 'expired' } });
  assert.deepEqual([link.hidden, link.value], [true, ''], 'gone with its code');
});

test('the words of late parts follow the language of the page', () => {
  const { parts, created } = makePage();
  new Knocks(parts).show(knocking([{ id: 'k1', name: 'Cleo', answered: false }], 'present'));
  new TransferDialog({ ...parts, drawCode: async () => {} });
  const worded = created.filter(({ textContent, attributes }) => textContent || attributes.has('aria-label'));
  assert.ok(worded.length > 6);
  for (const { textContent, attributes } of worded) {
    const key = attributes.get('data-word') ?? attributes.get('data-label');
    // A sentence with a name in it is set with each update.
    if (textContent !== '(named.knocks)') assert.equal(textContent || attributes.get('aria-label'), `(${key})`);
  }
});

test('while a code is made, its button keeps the focus and asks for no second one', () => {
  const { parts, created, done } = makePage();
  const dialog = new TransferDialog({ ...parts, drawCode: async () => {} });
  const again = created.find(({ attributes }) => attributes.get('id') === 'btnTransferAgain');
  for (const phase of ['requested', 'expired']) {
    dialog.show({ ...CODE, transfer: { token: null, until: 0, phase } });
    again.dispatchEvent(new Event('click'));
  }
  assert.deepEqual([done, again.disabled], [[['request']], false]);
  parts.document.body.children[0].close();
});

test('a code that cannot be drawn is given up, and one that is drawn too late is removed', async () => {
  const failing = makePage();
  new TransferDialog({ ...failing.parts, drawCode: async () => { throw new TypeError('not loaded'); } }).show(CODE);
  await new Promise(setImmediate);
  assert.deepEqual(failing.done, [['failed']]);
  failing.parts.document.body.children[0].close();

  const late = makePage();
  let drawn;
  const dialog = new TransferDialog({ ...late.parts, drawCode: (code) => new Promise((resolve) => { drawn = () => { code.append('code'); resolve(); }; }) });
  dialog.show(CODE);
  dialog.show({ ...CODE, transfer: null });
  drawn();
  await new Promise(setImmediate);
  const code = late.created.find(({ attributes }) => attributes.get('id') === 'transferCode');
  assert.deepEqual([code.children, late.done], [[], [['close']]]);
});
