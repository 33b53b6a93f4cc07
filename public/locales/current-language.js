// The language of this browser and the words of the call page in it.
//
// A separate script in the HTML, so that the words are fetched while the rest of the page still loads.

import { languageFor } from './languages.js';

export const language = languageFor([navigator.languages, navigator.language].flat());
export const words = (await language.call()).words;
