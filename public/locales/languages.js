// The languages of the page: one line each, and the files with its words.
//
// `locales/CODE.js` has the words of the lobby and the waiting screen, `locales/CODE-details.js` those of a call and
// `locales/CODE-test.js` those of the connection test. build.rs reads this list too, line by line: it writes the HTML for
// a page that does not start, and the manifests.

/**
 * @typedef {{words: Record<string, string>}} Words
 *
 * @typedef {object} Language
 * @property {string} code of its files, and what a language tag begins with
 * @property {string} tag for `lang` (BCP 47)
 * @property {string} name in the language itself
 * @property {string[]} [also] other beginnings of a language tag, in lower case
 * @property {boolean} [fallback] also shown to readers of languages that are not in the list
 * @property {() => Promise<Words>} call loads the words of the lobby and the waiting screen
 * @property {() => Promise<Words>} details loads the words that only a call and its end have
 * @property {() => Promise<Words>} test loads the words that only the connection test has
 */

/** @type {readonly Language[]} */
export const languages = [
  { code: 'en', tag: 'en', name: 'English', fallback: true, call: () => import('./en.js'), details: () => import('./en-details.js'), test: () => import('./en-test.js') },
  { code: 'zh', tag: 'zh-CN', name: '简体中文', call: () => import('./zh.js'), details: () => import('./zh-details.js'), test: () => import('./zh-test.js') },
  { code: 'zh-Hant', tag: 'zh-Hant', name: '繁體中文', also: ['zh-tw', 'zh-hk', 'zh-mo'], call: () => import('./zh-Hant.js'), details: () => import('./zh-Hant-details.js'), test: () => import('./zh-Hant-test.js') },
];

/**
 * The first of the reader's languages that the page has; the first of the list where it has none of them.
 * @param {readonly unknown[]} wanted as navigator.languages, with any value that a browser puts there
 * @returns {Language}
 */
export function languageFor(wanted) {
  for (const each of wanted) {
    // As `zh-CN`, and as some systems write it: `zh_CN`, `en-US@posix`.
    const parts = /^[a-z]+(?:[-_][a-z\d]+)*/i.exec(String(each))?.[0].toLowerCase().split(/[-_]/) ?? [];
    // The longest beginning decides: `zh-Hant-HK` is `zh-Hant` before it is `zh`.
    for (let length = parts.length; length > 0; length -= 1) {
      const start = parts.slice(0, length).join('-');
      const found = languages.find(({ code, also }) => code.toLowerCase() === start || also?.includes(start));
      if (found) return found;
    }
  }
  return languages[0];
}
