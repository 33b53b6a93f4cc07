// Shortcuts: single letters and chords for the controls, the list of them, and the switch that turns letters off.
//
// A letter acts only where it cannot be text: no field has the focus, no dialog is open, and the focus is neither in the open
// chat nor lost from it. A chord, such as Ctrl+D, is never text and acts everywhere until the call has ended; it replaces what
// the browser does with it.

import { controls } from './controls.js';
import { createElement, find } from './elements.js';

/**
 * @import { Control } from './controls.js'
 *
 * @typedef {{shown: string, name: string}} Chord as people write it, and as `aria-keyshortcuts` does
 */

const STORAGE_KEY = 'webrtc-box.letters';
/** Longer than from the end of a composition to the key press that ended it, shorter than between two key presses. */
const COMPOSITION_END_MS = 40;

/**
 * On a Mac it is Command: with Control the letters move the cursor in text.
 * @param {boolean} isMac
 * @returns {(letter: string | undefined) => Chord | undefined}
 */
export const makeChordOf = (isMac) => (letter) => letter && (isMac
  ? { shown: `⌘${letter}`, name: `Meta+${letter}` } : { shown: `Ctrl+${letter}`, name: `Control+${letter}` }) || undefined;

/** The ways in which browsers mark a key press as part of a composition. @param {Pick<KeyboardEvent, 'isComposing' | 'keyCode'>} event */
const isComposing = (event) => event.isComposing || event.keyCode === 229;

/**
 * The letter of a key press: the one it types or, on layouts without Latin letters, the one at its place on the keyboard.
 * @param {Pick<KeyboardEvent, 'key' | 'code'>} event
 */
export function letterOf({ key, code }) {
  if (key === '？' || key === '؟') return '?';
  const isForeign = /^\p{L}$/u.test(key) && !/\p{Script=Latin}/u.test(key);
  return (isForeign ? code.replace(/^Key(?=[A-Z]$)/, '') : key).toUpperCase();
}

export class Shortcuts {
  #document;
  #isMac;
  #press;
  #escape;
  /** @type {HTMLDialogElement} */
  #dialog;
  /** @type {HTMLInputElement} */
  #enabled;

  /**
   * @param {object} parts
   * @param {Document} parts.document
   * @param {Pick<Storage, 'getItem' | 'setItem'>} parts.storage
   * @param {boolean} parts.isMac
   * @param {(control: Control) => void} parts.press
   * @param {() => void} parts.escape
   * @param {() => void} parts.changed letters were switched on or off
   */
  constructor({ document, storage, isMac, press, escape, changed }) {
    this.#document = document;
    this.#isMac = isMac;
    this.#press = press;
    this.#escape = escape;
    const dialog = this.#dialog = find(document, '#keys');
    const enabled = this.#enabled = find(document, '#letters');
    for (const row of shortcutRows(document, makeChordOf(isMac))) find(dialog, 'dl').append(row);
    enabled.checked = storage.getItem(STORAGE_KEY) !== 'off';
    this.#update();
    enabled.addEventListener('change', () => {
      storage.setItem(STORAGE_KEY, enabled.checked ? 'on' : 'off');
      this.#update();
      changed();
    });
    dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
    document.addEventListener('keydown', (event) => this.#keydown(event));
  }

  open() {
    this.#dialog.showModal();
  }

  #update() {
    this.#document.body.dataset.letters = this.#enabled.checked ? 'on' : 'off';
  }

  /** @param {KeyboardEvent} event */
  #keydown(event) {
    // The key press of an autofill has no key.
    if (typeof event.key !== 'string') return;
    if (event.altKey || event.getModifierState?.('AltGraph')) return;
    if (event.ctrlKey || event.metaKey) return this.#chordPressed(event);
    if (event.repeat || event.defaultPrevented || isComposing(event) || this.#document.querySelector('dialog[open]')) return;
    if (event.key === 'Escape') return this.#escape();
    const letter = letterOf(event);
    const control = controls.find(({ key }) => key === letter);
    if (!control || !this.#enabled.checked || this.#isText(/** @type {HTMLElement} */ (event.target))) return;
    if (this.#document.body.dataset.screen !== 'call' && !control.keyOutsideCall) return;
    // What the action opens does not receive the letter.
    event.preventDefault();
    this.#press(control);
  }

  /** @param {KeyboardEvent} event */
  #chordPressed(event) {
    const isOther = event.shiftKey || (this.#isMac ? event.ctrlKey : event.metaKey);
    if (isOther || isComposing(event) || this.#document.body.dataset.screen === 'ended') return;
    const letter = letterOf(event);
    const control = controls.find(({ chord }) => chord === letter);
    if (!control) return;
    // The browser would set a bookmark, or go to the address bar.
    event.preventDefault();
    if (!event.repeat) this.#press(control);
  }

  /** @param {HTMLElement} target */
  #isText(target) {
    const chat = find(this.#document, '#chat');
    // Some browsers move the focus from the chat to nowhere.
    return chat.contains(target) || (!chat.hidden && target === this.#document.body) || target.isContentEditable || target.matches?.('input, select, textarea');
  }
}

/** @param {Document} document @param {ReturnType<typeof makeChordOf>} chordOf */
function shortcutRows(document, chordOf) {
  const listed = controls.map(({ key, chord, listedAs = '' }) => ({ keys: [key, chordOf(chord)?.shown], word: listedAs }));
  return [...listed, { keys: ['Esc'], word: 'keys.escape' }, { keys: ['← →', '↑ ↓'], word: 'keys.arrows' }].filter(({ word }) => word).map(({ keys, word }) => {
    const [row, term] = [createElement(document, 'div'), createElement(document, 'dt')];
    for (const each of keys) if (each) term.append(createElement(document, 'kbd', {}, each));
    row.append(term, createElement(document, 'dd', { 'data-word': word }));
    return row;
  });
}

/**
 * Returns a function that checks whether a key press belongs to a word under composition. Browsers differ: the key press
 * comes before the end of the composition or just after it, with `isComposing`, with the key code 229, or with neither.
 * @param {HTMLElement} field
 * @param {boolean} isAndroid where every word is composed, and Enter is meant as Enter
 * @returns {(event: KeyboardEvent) => boolean}
 */
export function watchComposition(field, isAndroid) {
  let open = false;
  let endedAt = -Infinity;
  field.addEventListener('compositionstart', () => { open = true; });
  field.addEventListener('compositionend', (event) => {
    open = false;
    endedAt = event.timeStamp;
  });
  field.addEventListener('blur', () => { open = false; });
  return (event) => open || isComposing(event) || (!isAndroid && event.timeStamp - endedAt < COMPOSITION_END_MS);
}
