// The language in use and its words: the one that was chosen on this page before, or the one of the browser.
//
// A separate script in the HTML, so that words which are not in the HTML are fetched while the rest of the page still loads.
// `words` stays the same object and gets other texts when another language is chosen.

import { languageFor, languages } from './languages.js';

/** @import { Language } from './languages.js' */

const STORAGE_KEY = 'webrtc-box.language';

/** The languages to choose from. */
export const languageChoices = languages;
/** The language at the start. */
export const language = languageFor([savedCode(), navigator.languages, navigator.language].flat());
let current = language;
/** The latest choice, whose words may still be loading. */
let chosen = language;
/** @type {Language | null} whose words of a call are in `words` */
let detailed = null;
export const words = inlinedWords() ?? { ...(await language.call()).words };

/** Adds the words of a call; returns whether there are new ones. */
export async function addDetails() {
  const wanted = current;
  if (detailed === wanted) return false;
  const details = await wanted.details();
  if (current !== wanted) return false;
  Object.assign(words, details.words);
  detailed = wanted;
  return true;
}

/**
 * Changes to another language and remembers it; returns whether its words are now in use.
 * @param {Language} choice
 */
export async function useLanguage(choice) {
  chosen = choice;
  const [call, details] = await Promise.all([choice.call(), choice.details()]);
  if (chosen !== choice) return false;
  current = detailed = choice;
  Object.assign(words, call.words, details.words);
  try {
    localStorage.setItem(STORAGE_KEY, choice.code);
  } catch {
    // The choice then lasts until the page is closed.
  }
  return true;
}

/** The words that build.rs has put into the HTML for the language of the request. @returns {Record<string, string> | null} */
function inlinedWords() {
  const block = document.getElementById('words');
  return block?.dataset.language === language.code ? JSON.parse(block.textContent) : null;
}

function savedCode() {
  try {
    return localStorage.getItem(STORAGE_KEY);
  } catch {
    return null;
  }
}
