import assert from 'node:assert/strict';
import { test } from 'node:test';
import { letterOf, makeComposition, makeKeys } from '../../public/ui/shortcuts.js';

/** As much of a page as the keys look at. */
function makePage({ stored } = {}) {
  const element = (more = {}) => Object.assign(new EventTarget(), {
    hidden: true, matches: () => false, contains: () => false, ...more,
  });
  const chat = element();
  const parts = { '#keys': element({ shown: 0, showModal() { this.shown += 1; } }), '#letters': element({ checked: true }), '#chat': chat };
  const document = element({ body: element({ dataset: { screen: 'call' } }), querySelector: (name) => parts[name] ?? null });
  const page = { document, chat, parts, done: [], kept: new Map(stored), redrawn: 0, other: element() };
  makeKeys({
    document,
    storage: { getItem: (key) => page.kept.get(key) ?? null, setItem: (key, value) => page.kept.set(key, value) },
    changed: () => { page.redrawn += 1; },
    escape: () => page.done.push('escape'),
    deeds: Object.fromEntries(['m', 'v', 's', 'c', 'p', 'f'].map((key) => [key, () => page.done.push(key)])),
  });
  /** @returns what the key did */
  page.press = (key, more = {}) => {
    const { target = page.other, taken = false, ...rest } = more;
    const event = Object.assign(new Event('keydown', { cancelable: true }),
      { key, code: `Key${key.toUpperCase()}`, keyCode: 0, isComposing: false, getModifierState: () => false, ...rest });
    Object.defineProperty(event, 'target', { value: target });
    if (taken) event.preventDefault();
    page.done.length = 0;
    document.dispatchEvent(event);
    return page.done.join();
  };
  return page;
}

test('no letter ends a call', () => {
  const page = makePage();
  for (const key of 'abcdefghijklmnopqrstuvwxyz') assert.ok(page.press(key) === (/[mvscpf]/.test(key) ? key : ''), key);
});

test('while the chat is open or focused a letter is a letter', () => {
  const page = makePage();
  page.chat.hidden = false;
  for (const key of 'hello mvscpf?') assert.equal(page.press(key), '', key);
  assert.equal(page.parts['#keys'].shown, 0);
  assert.equal(page.press('Escape'), 'escape', 'and Escape closes it');
  page.chat.hidden = true;
  page.chat.contains = (one) => one === page.other;
  assert.equal(page.press('m'), '');
  page.chat.contains = () => false;
  assert.equal(page.press('m'), 'm');
  for (const field of [{ matches: () => true }, { matches: () => false, isContentEditable: true }]) assert.equal(page.press('m', { target: field }), '');
});

test('letters with Ctrl, Alt, Meta or AltGraph, held down or composed, never act', () => {
  const page = makePage();
  const ways = [{ ctrlKey: true }, { altKey: true }, { metaKey: true }, { getModifierState: (name) => name === 'AltGraph' },
    { repeat: true }, { isComposing: true }, { keyCode: 229 }];
  for (const way of ways) assert.equal(page.press('m', way), '', JSON.stringify(way));
  assert.equal(page.press('M', { shiftKey: true }), 'm');
});

test('a key press that names no key, as by autofill, does nothing', () => {
  const page = makePage();
  assert.equal(page.press('m', { key: undefined, code: undefined, getModifierState: undefined }), '');
  assert.equal(page.press('m', { getModifierState: undefined }), 'm');
});

test('an Escape that the chat has taken closes nothing else', () => {
  const page = makePage();
  assert.equal(page.press('Escape', { taken: true }), '');
  assert.equal(page.press('Escape'), 'escape');
});

test('a layout without Latin letters acts by position, one with them by what it types', () => {
  const pressed = [['ь', 'KeyM', 'm'], ['Ь', 'KeyM', 'm'], ['م', 'KeyL', 'l'], ['ק', 'KeyE', 'e'], ['ㅡ', 'KeyM', 'm'], ['м', 'KeyV', 'v'],
    // French and Dvorak: what the key types, not where it is.
    ['m', 'Semicolon', 'm'], [',', 'KeyM', ','], ['ö', 'Semicolon', 'ö'], ['p', 'KeyR', 'p'],
    ['？', 'Slash', '?'], ['؟', 'Slash', '?'], ['Process', 'KeyM', 'process']];
  for (const [key, code, letter] of pressed) assert.equal(letterOf({ key, code }), letter, key);
});

test('letters can be switched off, which the browser remembers', () => {
  const page = makePage();
  const { '#letters': letters } = page.parts;
  letters.checked = false;
  letters.dispatchEvent(new Event('change'));
  assert.deepEqual([page.press('m'), page.press('?'), page.parts['#keys'].shown, page.redrawn], ['', '', 0, 1]);
  assert.equal(page.press('Escape'), 'escape');
  const later = makePage({ stored: page.kept });
  assert.deepEqual([later.press('m'), later.parts['#letters'].checked, later.document.body.dataset.letters], ['', false, 'off']);
});

/** An Enter in a field after these events; each is a name and the time since the one before. */
function entered(events, { android = false, ...key } = {}) {
  const field = new EventTarget();
  const composes = makeComposition(field, android);
  let time = 1000;
  for (const [name, after] of events) {
    time += after;
    field.dispatchEvent(Object.defineProperty(new Event(name), 'timeStamp', { value: time }));
  }
  return composes({ key: 'Enter', isComposing: false, keyCode: 13, timeStamp: time + 2, ...key }) ? 'composes' : 'sends';
}

test('an Enter that ends a composition never sends, in any order of events', () => {
  const word = ['compositionstart', 0];
  const end = ['compositionend', 900];
  assert.equal(entered([word], { isComposing: true, keyCode: 229 }), 'composes', 'Chromium, Firefox');
  assert.equal(entered([word, end], { keyCode: 229 }), 'composes', 'Safari');
  assert.equal(entered([word]), 'composes', 'before its end, told by nothing');
  assert.equal(entered([word, end]), 'composes', 'after its end, told by nothing');
  assert.equal(entered([], { keyCode: 229 }), 'composes');
  assert.equal(entered([word], { key: 'Escape', keyCode: 27 }), 'composes', 'an Escape that leaves the word');
  assert.equal(entered([word, end], { key: 'Escape', keyCode: 27 }), 'composes');
});

test('any other Enter sends', () => {
  assert.equal(entered([]), 'sends');
  assert.equal(entered([['compositionstart', 0], ['compositionend', 500]], { timeStamp: 1600 }), 'sends', 'the next one');
  assert.equal(entered([['compositionstart', 0], ['blur', 500]]), 'sends', 'a composition that was left');
  assert.equal(entered([['compositionstart', 0], ['compositionend', 500]], { android: true }), 'sends', 'where each word is composed');
});
