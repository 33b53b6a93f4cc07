// The languages of the page: one line each, and the files with its words.
//
// `locales/CODE.js` has the words of the call page and `locales/CODE-test.js` those of the connection test. build.rs
// reads this list too, line by line: it writes the HTML for a page that does not start, and the manifests.

/**
 * @typedef {object} Language
 * @property {string} code of its files, and what a language tag begins with
 * @property {string} tag for `lang` (BCP 47)
 * @property {boolean} [fallback] also shown to readers of languages that are not in the list
 * @property {() => Promise<{words: Record<string, string>}>} call loads the words of the call page
 * @property {() => Promise<{words: Record<string, string>}>} test loads the words that only the connection test has
 */

/** @type {readonly Language[]} */
export const languages = [
  { code: 'en', tag: 'en', call: () => import('./en.js'), test: () => import('./en-test.js'), fallback: true },
  { code: 'zh', tag: 'zh-CN', call: () => import('./zh.js'), test: () => import('./zh-test.js') },
];

/**
 * The first of the reader's languages that the page has; the first of the list where it has none of them.
 * @param {readonly unknown[]} wanted as navigator.languages, with any value that a browser puts there
 * @returns {Language}
 */
export function languageFor(wanted) {
  for (const each of wanted) {
    // As `zh-CN`, and as some systems write it: `zh_CN`, `en-US@posix`.
    const code = /^[a-z]*/i.exec(String(each))?.[0].toLowerCase();
    const found = languages.find((language) => language.code === code);
    if (found) return found;
  }
  return languages[0];
}
