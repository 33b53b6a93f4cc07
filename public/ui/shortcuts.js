// Shortcuts: single letters for the controls, the list of them, and the switch that turns them off.
//
// A letter acts only where it cannot be text: no field has the focus, no dialog is open, and the chat is closed.

import { controls } from './controls.js';
import { createElement, find } from './elements.js';

/**
 * @import { Control } from './controls.js'
 */

const STORAGE_KEY = 'webrtc-box.letters';
/** Longer than from the end of a composition to the key press that ended it, shorter than between two key presses. */
const COMPOSITION_END_MS = 40;

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
   * @param {(control: Control) => void} parts.press
   * @param {() => void} parts.escape
   * @param {() => void} parts.changed letters were switched on or off
   */
  constructor({ document, storage, press, escape, changed }) {
    this.#document = document;
    this.#press = press;
    this.#escape = escape;
    const dialog = this.#dialog = find(document, '#keys');
    const enabled = this.#enabled = find(document, '#letters');
    for (const row of shortcutRows(document)) find(dialog, 'dl').append(row);
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
    if (event.ctrlKey || event.metaKey || event.altKey || event.getModifierState?.('AltGraph')) return;
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

  /** @param {HTMLElement} target */
  #isText(target) {
    const chat = find(this.#document, '#chat');
    return !chat.hidden || chat.contains(target) || target.isContentEditable || target.matches?.('input, select, textarea');
  }
}

/** @param {Document} document */
function shortcutRows(document) {
  return controls.filter(({ listedAs }) => listedAs).map(({ key, listedAs }) => {
    const [row, term] = [createElement(document, 'div'), createElement(document, 'dt')];
    term.append(createElement(document, 'kbd', {}, key));
    row.append(term, createElement(document, 'dd', { 'data-word': listedAs ?? '' }));
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
