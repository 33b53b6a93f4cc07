// Display name: what a participant is called, cleaned as the server does it. tests/display_names.json tests page and server alike.
//
// Names come from the person here, from the server and from the other participant: all of them are cleaned.

/** Longer input is cut unread. */
const MAX_INPUT = 4096;
const MAX_LENGTH = 64;
/** Control and format characters, which could turn text around or hide; the joiners are needed within words and emoji. */
const REMOVED = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}]/gu;
const SPACES = /\p{White_Space}+/gu;
const OUTER = /^[ \u200c\u200d]+|[ \u200c\u200d]+$/gu;

/**
 * @param {unknown} value
 * @returns {string} '' where there is no name
 */
export function displayName(value) {
  if (typeof value !== 'string') return '';
  const visible = value.slice(0, MAX_INPUT).replace(REMOVED, (each) => (/\p{White_Space}/u.test(each) ? ' ' : ''));
  const spaced = visible.normalize('NFC').replace(SPACES, ' ').replace(OUTER, '');
  return [...spaced].slice(0, MAX_LENGTH).join('').replace(OUTER, '');
}
