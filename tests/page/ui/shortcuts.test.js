import assert from 'node:assert/strict';
import { test } from 'node:test';
import { controls } from '../../../public/ui/controls.js';
import { letterOf, makeChordOf, Shortcuts, watchComposition } from '../../../public/ui/shortcuts.js';

/** The elements that the shortcuts use. */
function makePage({ stored, isMac = false } = {}) {
  const element = (more = {}) => Object.assign(new EventTarget(), {
    hidden: true, rows: [], matches: () => false, contains: () => false, setAttribute(name, value) { this[name] = value; }, append(...rows) { this.rows.push(...rows); }, ...more,
  });
  const chat = element();
  const list = element();
  const dialog = element({ shown: 0, showModal() { this.shown += 1; }, querySelector: () => list });
  const parts = { '#keys': dialog, '#letters': element({ checked: true }), '#chat': chat };
  const document = element({
    body: element({ dataset: { screen: 'call' } }), querySelector: (name) => parts[name] ?? null, createElement: () => element(),
  });
  const page = { document, chat, list, dialog, letters: parts['#letters'], pressed: [], stored: new Map(stored), changes: 0, other: element() };
  const shortcuts = new Shortcuts({
    document,
    isMac,
    storage: { getItem: (key) => page.stored.get(key) ?? null, setItem: (key, value) => page.stored.set(key, value) },
    press: (control) => {
      page.pressed.push(control.key);
      if (control.key === '?') shortcuts.open();
    },
    escape: () => page.pressed.push('escape'),
    changed: () => { page.changes += 1; },
  });
  /** @returns what the key press did */
  page.press = (key, more = {}) => {
    const { target = page.other, prevented = false, ...rest } = more;
    const event = Object.assign(new Event('keydown', { cancelable: true }),
      { key, code: `Key${key.toUpperCase()}`, keyCode: 0, isComposing: false, getModifierState: () => false, ...rest });
    Object.defineProperty(event, 'target', { value: target });
    if (prevented) event.preventDefault();
    page.pressed.length = 0;
    page.lastEvent = event;
    document.dispatchEvent(event);
    return page.pressed.join();
  };
  return page;
}

test('only the letters of the table act, and none of them ends a call', () => {
  const page = makePage();
  const letters = controls.flatMap(({ key }) => key ?? []);
  for (const letter of 'MVSCPF') assert.ok(letters.includes(letter), letter);
  for (const key of 'abcdefghijklmnopqrstuvwxyz') {
    const letter = key.toUpperCase();
    assert.equal(page.press(key), letters.includes(letter) ? letter : '', key);
  }
  assert.equal(controls.find(({ id }) => id === 'leave').key, undefined);
});

test('outside a call only M, V, F and ? act', () => {
  const page = makePage();
  page.document.body.dataset.screen = 'lobby';
  assert.deepEqual([...'mvscpf?'].map((key) => page.press(key)), ['M', 'V', '', '', '', 'F', '?']);
});

test('the list has a row for each letter that acts', () => {
  const page = makePage();
  const rows = page.list.rows.map(({ rows: [term, text] }) => `${term.rows.map(({ textContent }) => textContent).join(' ')} ${text['data-word']}`);
  assert.equal(rows.length, controls.filter(({ listedAs }) => listedAs).length + 2);
  assert.equal(controls.every(({ key, listedAs }) => !key || listedAs), true);
  for (const row of ['M Ctrl+D settings.mic', 'V Ctrl+E settings.cam', 'S bar.share', 'C chat.title', 'P settings.numbers', 'F settings.full', '? keys.title', 'Esc keys.escape', '← → ↑ ↓ keys.arrows']) assert.ok(rows.includes(row), row);
});

test('a letter is text while the focus is in the chat, lost from it or in a field', () => {
  const page = makePage();
  page.chat.hidden = false;
  page.chat.contains = (one) => one === page.chat;
  for (const target of [page.chat, page.document.body]) {
    for (const key of 'hello mvscpf?') assert.equal(page.press(key, { target }), '', key);
  }
  assert.equal(page.dialog.shown, 0);
  assert.equal(page.press('m'), 'M', 'beside the open chat');
  assert.equal(page.press('Escape'), 'escape', 'closes the chat');
  page.chat.hidden = true;
  assert.equal(page.press('m', { target: page.document.body }), 'M');
  assert.equal(page.press('m'), 'M');
  for (const field of [{ matches: () => true }, { matches: () => false, isContentEditable: true }]) assert.equal(page.press('m', { target: field }), '');
});

test('letters with Ctrl, Alt, Meta or AltGr, repeated or composed never act', () => {
  const page = makePage();
  const variants = [{ ctrlKey: true }, { altKey: true }, { metaKey: true }, { getModifierState: (name) => name === 'AltGraph' },
    { repeat: true }, { isComposing: true }, { keyCode: 229 }];
  for (const variant of variants) assert.equal(page.press('m', variant), '', JSON.stringify(variant));
  assert.equal(page.press('M', { shiftKey: true }), 'M');
});

test('Ctrl+D and Ctrl+E act in text, in dialogs and without letters, until the call has ended', () => {
  const page = makePage({ stored: new Map([['webrtc-box.letters', 'off']]) });
  page.chat.hidden = false;
  const field = { matches: () => true };
  for (const screen of ['lobby', 'waiting', 'call']) {
    page.document.body.dataset.screen = screen;
    assert.deepEqual([page.press('d', { ctrlKey: true, target: field }), page.press('e', { ctrlKey: true })], ['M', 'V'], screen);
    assert.equal(page.lastEvent.defaultPrevented, true, 'no bookmark');
  }
  assert.equal(page.press('d', { ctrlKey: true, repeat: true }), '');
  assert.equal(page.lastEvent.defaultPrevented, true, 'nor by a held key');
  for (const more of [{ metaKey: true }, { shiftKey: true }, { altKey: true }, { isComposing: true }, { getModifierState: () => true }]) {
    assert.equal(page.press('d', { ctrlKey: true, ...more }), '', JSON.stringify(more));
    assert.equal(page.lastEvent.defaultPrevented, false);
  }
  assert.deepEqual([page.press('в', { ctrlKey: true, code: 'KeyD' }), page.press('m', { ctrlKey: true })], ['M', '']);
  page.document.body.dataset.screen = 'ended';
  assert.equal(page.press('d', { ctrlKey: true }), '');
  assert.equal(page.lastEvent.defaultPrevented, false, 'the browser may set its bookmark');
});

test('on a Mac it is Command, and Control stays with the text', () => {
  const page = makePage({ isMac: true });
  assert.deepEqual([page.press('d', { metaKey: true }), page.press('d', { ctrlKey: true })], ['M', '']);
  assert.deepEqual([makeChordOf(true)('D'), makeChordOf(false)('D'), makeChordOf(true)(undefined)],
    [{ shown: '⌘D', name: 'Meta+D' }, { shown: 'Ctrl+D', name: 'Control+D' }, undefined]);
});

test('a key press without a key, as by autofill, does nothing', () => {
  const page = makePage();
  assert.equal(page.press('m', { key: undefined, code: undefined, getModifierState: undefined }), '');
  assert.equal(page.press('m', { getModifierState: undefined }), 'M');
});

test('an Escape that the chat has handled closes nothing else', () => {
  const page = makePage();
  assert.equal(page.press('Escape', { prevented: true }), '');
  assert.equal(page.press('Escape'), 'escape');
});

test('layouts without Latin letters act by position, others by letter', () => {
  const pressed = [['ь', 'KeyM', 'M'], ['Ь', 'KeyM', 'M'], ['م', 'KeyL', 'L'], ['ק', 'KeyE', 'E'], ['ㅡ', 'KeyM', 'M'], ['м', 'KeyV', 'V'],
    // French and Dvorak: the letter that is typed, not its position.
    ['m', 'Semicolon', 'M'], [',', 'KeyM', ','], ['ö', 'Semicolon', 'Ö'], ['p', 'KeyR', 'P'],
    ['？', 'Slash', '?'], ['؟', 'Slash', '?'], ['Process', 'KeyM', 'PROCESS']];
  for (const [key, code, letter] of pressed) assert.equal(letterOf({ key, code }), letter, key);
});

test('letters can be switched off, and the browser remembers it', () => {
  const page = makePage();
  page.letters.checked = false;
  page.letters.dispatchEvent(new Event('change'));
  assert.deepEqual([page.press('m'), page.press('?'), page.dialog.shown, page.changes], ['', '', 0, 1]);
  assert.equal(page.press('Escape'), 'escape');
  const later = makePage({ stored: page.stored });
  assert.deepEqual([later.press('m'), later.letters.checked, later.document.body.dataset.letters], ['', false, 'off']);
});

/** What an Enter in a field does after these events; each is a name and the time since the one before. */
function pressEnter(events, { android = false, ...key } = {}) {
  const field = new EventTarget();
  const composes = watchComposition(field, android);
  let time = 1000;
  for (const [name, after] of events) {
    time += after;
    field.dispatchEvent(Object.defineProperty(new Event(name), 'timeStamp', { value: time }));
  }
  return composes({ key: 'Enter', isComposing: false, keyCode: 13, timeStamp: time + 2, ...key }) ? 'composes' : 'sends';
}

test('an Enter that ends a composition never sends, in any order of events', () => {
  const start = ['compositionstart', 0];
  const end = ['compositionend', 900];
  assert.equal(pressEnter([start], { isComposing: true, keyCode: 229 }), 'composes', 'Chromium, Firefox');
  assert.equal(pressEnter([start, end], { keyCode: 229 }), 'composes', 'Safari');
  assert.equal(pressEnter([start]), 'composes', 'before its end, unmarked');
  assert.equal(pressEnter([start, end]), 'composes', 'after its end, unmarked');
  assert.equal(pressEnter([], { keyCode: 229 }), 'composes');
  assert.equal(pressEnter([start], { key: 'Escape', keyCode: 27 }), 'composes', 'an Escape that cancels it');
  assert.equal(pressEnter([start, end], { key: 'Escape', keyCode: 27 }), 'composes');
});

test('any other Enter sends', () => {
  assert.equal(pressEnter([]), 'sends');
  assert.equal(pressEnter([['compositionstart', 0], ['compositionend', 500]], { timeStamp: 1600 }), 'sends', 'the next one');
  assert.equal(pressEnter([['compositionstart', 0], ['blur', 500]]), 'sends', 'after the field has lost the focus');
  assert.equal(pressEnter([['compositionstart', 0], ['compositionend', 500]], { android: true }), 'sends', 'where each word is composed');
});
