// Keys: one letter for each deed, none while somebody writes or a dialog is open; `?` lists them.

import { find } from './view-parts.js';

/** Those that mean something outside a call too. */
const ANYWHERE = new Set(['m', 'v', 'f', '?']);

/**
 * @param {object} parts
 * @param {Document} parts.document
 * @param {Record<string, () => void>} parts.deeds by key, in lower case
 * @returns {{list: () => void}}
 */
export function makeKeys({ document, deeds }) {
  /** @type {HTMLDialogElement} */
  const sheet = find(document, '#keys');
  sheet.addEventListener('click', (event) => { if (event.target === sheet) sheet.close(); });

  /** @type {Record<string, () => void>} */
  const all = { ...deeds, '?': list };

  function list() {
    sheet.showModal();
  }

  document.addEventListener('keydown', (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.defaultPrevented) return;
    if (target.matches('input, select, textarea') || document.querySelector('dialog[open]')) return;
    const pressed = event.key.toLowerCase();
    if (!Object.hasOwn(all, pressed) || (document.body.dataset.screen !== 'call' && !ANYWHERE.has(pressed))) return;
    // The letter is not typed into what the deed opens.
    event.preventDefault();
    all[pressed]();
  });

  return { list };
}
