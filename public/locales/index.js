// Text: the sentence of each key in one language, and times as people write them.
//
// It knows no element and no language. A key without a sentence is a mistake of the page and is shown as the key.

/** @typedef {(key: string, values?: Record<string, string | number>) => string} Translate */

/**
 * @param {Record<string, string>} words of one language
 * @returns {Translate}
 */
export function makeTranslate(words) {
  return (key, values = {}) =>
    (words[key] ?? key).replace(/\{(\w+)\}/g, (placeholder, name) => String(values[name] ?? placeholder));
}

/**
 * Several sentences one after the other.
 * @param {Translate} translate
 * @param {string[]} keys
 * @param {Record<string, string>} [values]
 */
export function joinSentences(translate, keys, values) {
  return keys.map((key) => translate(key, values)).join(translate('sentence.gap'));
}

/**
 * @param {string} code of an error, from the server or from the devices
 * @param {Translate} translate
 * @param {string[]} [browser] names of this browser, for which there may be a sentence of its own
 * @returns {string} the key of its sentence
 */
export function errorKey(code, translate, browser = []) {
  const keys = [...browser.map((name) => `error.${code}.${name}`), `error.${code}`];
  return keys.find((key) => translate(key) !== key) ?? 'error.unknown';
}

/**
 * `12:43`, or `1:02:03` from an hour on.
 * @param {number} seconds
 */
export function formatDuration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const twoDigits = (/** @type {number} */ n) => String(n).padStart(2, '0');
  return h ? `${h}:${twoDigits(m)}:${twoDigits(s)}` : `${m}:${twoDigits(s)}`;
}

/**
 * Hour and minute as the locale writes them; `9:07` where the browser supports neither the locale nor Intl.
 * @param {number} at ms since 1970
 * @param {string} [locale] as navigator.language, which Intl may reject
 */
export function formatTime(at, locale) {
  const time = new Date(at);
  for (const each of [locale, 'en-GB']) {
    try {
      return time.toLocaleTimeString(each, { hour: '2-digit', minute: '2-digit' });
    } catch {
      // The browser does not support this locale.
    }
  }
  return `${time.getHours()}:${String(time.getMinutes()).padStart(2, '0')}`;
}
