// Room names: normalization, links to rooms, and random names for private rooms.
//
// Pure: the page's address and the random bytes come in as arguments.

/** Longer input is rejected unread. */
const MAX_INPUT = 1024;
const ALLOWED = /^[\p{L}\p{M}\p{N}_.-]+$/u;
const MAX_LENGTH = 64;
const CONSONANTS = 'bdfghjklmnprstvz';
const VOWELS = 'aeiou';
const SYLLABLES = 12;

/**
 * The name as the server normalizes it, or null if it is invalid: trimmed, NFC, lower case, each run of white space as
 * one dash, without full stops at the end, NFC again. tests/room_names.json tests page and server alike.
 * @param {string} typed
 * @returns {string | null}
 */
export function roomName(typed) {
  if ([...typed].length > MAX_INPUT) return null;
  const lower = typed.normalize('NFC').toLowerCase();
  const dashed = lower.split(/\p{White_Space}+/u).filter(Boolean).join('-');
  const name = dashed.replace(/\.+$/, '').normalize('NFC');
  if (name === '.' || name === '..') return null;
  if (!ALLOWED.test(name) || [...name].length > MAX_LENGTH) return null;
  return name;
}

/**
 * The room in a path `/r/ROOM`, not normalized; '' for any other path.
 * @param {string} path
 * @returns {string}
 */
export function roomInPath(path) {
  const found = /^\/r\/([^/]+)\/?$/.exec(path);
  if (!found) return '';
  try {
    return decodeURIComponent(found[1]);
  } catch {
    return '';
  }
}

/**
 * The room in typed or pasted text: the text itself, or the room of a link to this page within it.
 * @param {string} typed
 * @param {{protocol: string, host: string}} page
 * @returns {string} not normalized
 */
export function roomInText(typed, { protocol, host }) {
  const text = typed.trim();
  if (text.startsWith('/r/')) return roomInPath(text.split(/[?#]/)[0]) || typed;
  for (const [, linkHost, path] of text.matchAll(/(?:\w+:\/\/)?([^\s/<>"'“(（《「，。：]+)(\/r\/[\p{L}\p{M}\p{N}_.%-]+)/gu)) {
    // A full stop belongs to the sentence around the link.
    if (hostOf(protocol, linkHost) === host) return roomInPath(path.replace(/\.+$/, '')) || typed;
  }
  return typed;
}

/** As the browser writes it: in lower case, without a default port. @param {string} protocol @param {string} host */
function hostOf(protocol, host) {
  try {
    return new URL(`${protocol}//${host}`).host;
  } catch {
    return null;
  }
}

/**
 * @param {string} room
 * @returns {string}
 */
export function pathOfRoom(room) {
  return `/r/${encodeURIComponent(room)}`;
}

/**
 * A random name that can be read out on the telephone: twelve syllables, 75 bits.
 * @param {(bytes: Uint8Array<ArrayBuffer>) => Uint8Array} fill fills with random bytes
 * @returns {string}
 */
export function privateRoomName(fill) {
  const syllables = [];
  while (syllables.length < SYLLABLES) {
    const byte = fill(new Uint8Array(1))[0];
    const choices = CONSONANTS.length * VOWELS.length;
    // 240 is the largest multiple of 80 in a byte: beyond it some syllables would be more likely.
    if (byte >= 240) continue;
    const pick = byte % choices;
    syllables.push(CONSONANTS[pick % CONSONANTS.length] + VOWELS[Math.floor(pick / CONSONANTS.length)]);
  }
  return syllables.join('').match(/.{4}/g)?.join('-') ?? '';
}
