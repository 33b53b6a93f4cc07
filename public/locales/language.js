// Language: the reader's, and its words; fetched before the rest of the page, and no other's with them.

import { languageFor } from './index.js';

export const language = languageFor([navigator.languages, navigator.language].flat());
/** @type {Record<string, string>} */
export const words = language === 'zh' ? (await import('./zh.js')).chinese : (await import('./en.js')).english;
