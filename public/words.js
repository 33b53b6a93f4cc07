// Words: which language this browser gets, and the sentence behind each key.
//
// Knows no element. A key without a sentence is our mistake and shows itself as the key.

import { english } from './words.en.js';
import { chinese } from './words.zh.js';

/** @typedef {(key: string, fills?: Record<string, string | number>) => string} Say */

/**
 * The first of the reader's languages that we speak; English where we speak none of them.
 * @param {readonly string[]} languages as navigator.languages
 * @returns {'en' | 'zh'}
 */
export function languageFor(languages) {
  for (const language of languages) {
    if (/^zh\b/i.test(language)) return 'zh';
    if (/^en\b/i.test(language)) return 'en';
  }
  return 'en';
}

/**
 * @param {'en' | 'zh'} language
 * @param {Record<string, string>} [more] words of another page, which come first
 * @returns {Say}
 */
export function makeSay(language, more) {
  const words = { ...(language === 'zh' ? chinese : english), ...more };
  return (key, fills = {}) =>
    (words[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => String(fills[name] ?? whole));
}

/**
 * @param {string} code an error's code, from the server or from our own devices
 * @returns {string} the key of its sentence
 */
export function errorKey(code) {
  return `error.${code}` in english ? `error.${code}` : 'error.unknown';
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
