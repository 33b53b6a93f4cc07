// Language: the reader's, and its words; fetched before the rest of the page, and no other's with them.

import { languageFor } from './words.js';

export const language = languageFor([navigator.languages, navigator.language].flat());
/** @type {Record<string, string>} */
export const words = language === 'zh' ? (await import('./words.zh.js')).chinese : (await import('./words.en.js')).english;
