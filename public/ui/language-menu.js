// Language menu: the choice of the page's language, in each `select` with the class `language`.

import { createElement } from './elements.js';

/** @import { Language } from '../locales/languages.js' */

export class LanguageMenu {
  /** @type {HTMLSelectElement[]} */
  #selects;

  /**
   * @param {object} parts
   * @param {Document} parts.document
   * @param {readonly Language[]} parts.languages
   * @param {(language: Language) => void} parts.choose
   */
  constructor({ document, languages, choose }) {
    this.#selects = [...document.querySelectorAll('select.language')].map((each) => /** @type {HTMLSelectElement} */ (each));
    for (const select of this.#selects) {
      // Each language is written in itself, for those who cannot read the present one.
      select.replaceChildren(...languages.map(({ code, tag, name }) => createElement(document, 'option', { value: code, lang: tag }, name)));
      select.addEventListener('change', () => {
        const chosen = languages.find(({ code }) => code === select.value);
        if (chosen) choose(chosen);
      });
    }
  }

  /** @param {Language} language in use */
  show({ code }) {
    for (const select of this.#selects) select.value = code;
  }
}
