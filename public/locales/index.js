// Words: which language a reader gets, and the sentence behind each key.
//
// Knows no element and no language. A key without a sentence is our mistake and shows itself as the key.

/** @typedef {(key: string, fills?: Record<string, string | number>) => string} Say */

/**
 * @param {Record<string, string>} words of one language
 * @returns {Say}
 */
export function makeSay(words) {
  return (key, fills = {}) =>
    (words[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => String(fills[name] ?? whole));
}

/**
 * @param {string} code an error's code, from the server or from our own devices
 * @param {Say} say
 * @param {string[]} [browser] names of this one, for which there may be a sentence of its own
 * @returns {string} the key of its sentence
 */
export function errorKey(code, say, browser = []) {
  const keys = [...browser.map((name) => `error.${code}.${name}`), `error.${code}`];
  return keys.find((key) => say(key) !== key) ?? 'error.unknown';
}

/**
 * `12:43`, or `1:02:03` beyond an hour.
 * @param {number} seconds
 */
export function clockTime(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (/** @type {number} */ n) => String(n).padStart(2, '0');
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/**
 * The hour and minute as this place writes them; plainly where the browser does not know it or has no words for it.
 * @param {number} at ms since 1970
 * @param {string} [locale] as navigator.language, which Intl may refuse
 */
export function timeOfDay(at, locale) {
  const time = new Date(at);
  for (const each of [locale, 'en-GB']) {
    try {
      return time.toLocaleTimeString(each, { hour: '2-digit', minute: '2-digit' });
    } catch {
      // Not a language to this browser.
    }
  }
  return `${time.getHours()}:${String(time.getMinutes()).padStart(2, '0')}`;
}
