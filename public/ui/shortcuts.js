// Keys: single letters for the buttons of the call; `?` lists them. None of them ends a call.
//
// A letter acts only where it cannot be meant as writing: no field, no dialog and nothing of the chat is open or focused.

import { find } from './elements.js';

/** Those that mean something outside a call too. */
const ANYWHERE = new Set(['m', 'v', 'f', '?']);
const LETTERS_KEPT = 'webrtc-box.letters';
/** More than between the end of a composition and the key press that ended it, less than between two key presses. */
const COMPOSED_JUST_NOW_MS = 40;

/** Every way an input method or a browser says that this key press belongs to a word under composition.
 *  @param {Pick<KeyboardEvent, 'isComposing' | 'keyCode'>} event */
export const composes = ({ isComposing, keyCode }) => isComposing || keyCode === 229;

/**
 * The letter a key stands for: what it types or, where the layout has no Latin letters, what is printed at its place.
 * @param {Pick<KeyboardEvent, 'key' | 'code'>} event
 */
export function letterOf({ key, code }) {
  if (key === '？' || key === '؟') return '?';
  const foreign = /^\p{L}$/u.test(key) && !/\p{Script=Latin}/u.test(key);
  return (foreign ? code.replace(/^Key(?=[A-Z]$)/, '') : key).toLowerCase();
}

/**
 * @param {object} parts
 * @param {Document} parts.document
 * @param {Pick<Storage, 'getItem' | 'setItem'>} parts.storage
 * @param {() => void} parts.changed letters were switched on or off
 * @param {() => void} parts.escape
 * @param {Record<string, () => void>} parts.deeds by key, in lower case
 * @returns {{list: () => void}}
 */
export function makeKeys({ document, storage, changed, escape, deeds }) {
  const { body } = document;
  /** @type {HTMLDialogElement} */
  const sheet = find(document, '#keys');
  /** @type {HTMLInputElement} */
  const letters = find(document, '#letters');
  letters.checked = storage.getItem(LETTERS_KEPT) !== 'off';
  mark();
  letters.addEventListener('change', () => {
    storage.setItem(LETTERS_KEPT, letters.checked ? 'on' : 'off');
    mark();
    changed();
  });
  sheet.addEventListener('click', (event) => { if (event.target === sheet) sheet.close(); });

  /** @type {Record<string, () => void>} */
  const all = { ...deeds, '?': list };

  function list() {
    sheet.showModal();
  }

  function mark() {
    body.dataset.letters = letters.checked ? 'on' : 'off';
  }

  /** @param {HTMLElement} target */
  function isWritten(target) {
    const chat = find(document, '#chat');
    return !chat.hidden || chat.contains(target) || target.isContentEditable || target.matches?.('input, select, textarea');
  }

  document.addEventListener('keydown', (event) => {
    // What a browser fills in by itself comes with a key press that names no key.
    if (typeof event.key !== 'string') return;
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey || event.getModifierState?.('AltGraph')) return;
    if (event.repeat || event.defaultPrevented || composes(event) || document.querySelector('dialog[open]')) return;
    if (event.key === 'Escape') return escape();
    const pressed = letterOf(event);
    if (!letters.checked || isWritten(target) || !Object.hasOwn(all, pressed)) return;
    if (body.dataset.screen !== 'call' && !ANYWHERE.has(pressed)) return;
    // The letter is not typed into what its action opens.
    event.preventDefault();
    all[pressed]();
  });

  return { list };
}

/**
 * Whether a key press belongs to a word under composition. Engines differ in the order: the press comes before the end of
 * the composition or just after it, with `isComposing`, with the key code 229, or with neither.
 * @param {HTMLElement} field
 * @param {boolean} android there every word is composed, and Enter ends one and then means Enter
 * @returns {(event: KeyboardEvent) => boolean}
 */
export function makeComposition(field, android) {
  let open = false;
  let endedAt = -Infinity;
  field.addEventListener('compositionstart', () => { open = true; });
  field.addEventListener('compositionend', (event) => {
    open = false;
    endedAt = event.timeStamp;
  });
  field.addEventListener('blur', () => { open = false; });
  return (event) => open || composes(event) || (!android && event.timeStamp - endedAt < COMPOSED_JUST_NOW_MS);
}
