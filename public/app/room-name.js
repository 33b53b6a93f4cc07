// Room names: what may be one, how a link carries it, and how a private one is made.
//
// Nothing here looks at the page or asks the server; the address and the dice come in as arguments.

/** Longer ones are not even looked at. */
const LONGEST_TYPED = 1024;
const ALLOWED = /^[\p{L}\p{M}\p{N}_.-]+$/u;
const LONGEST = 64;
const CONSONANTS = 'bdfghjklmnprstvz';
const VOWELS = 'aeiou';
const SYLLABLES = 12;

/**
 * The name as the server will know it, or null where it cannot be a room's name: trimmed, NFC, lower case, each run of
 * white space one dash, without full stops at the end, NFC again. tests/room_names.json holds page and server to it.
 * @param {string} typed
 * @returns {string | null}
 */
export function roomName(typed) {
  if ([...typed].length > LONGEST_TYPED) return null;
  const lower = typed.normalize('NFC').toLowerCase();
  const dashed = lower.split(/\p{White_Space}+/u).filter(Boolean).join('-');
  const name = dashed.replace(/\.+$/, '').normalize('NFC');
  if (name === '.' || name === '..') return null;
  if (!ALLOWED.test(name) || [...name].length > LONGEST) return null;
  return name;
}

/**
 * The room named by `/r/ROOM`, as typed; '' for any other path.
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
 * The room in what was typed or pasted: a name as it is, or the one in a link of this page with whatever stands around it.
 * @param {string} typed
 * @param {{protocol: string, host: string}} page
 * @returns {string} not yet looked at by `roomName`
 */
export function roomTyped(typed, { protocol, host }) {
  const text = typed.trim();
  if (text.startsWith('/r/')) return roomInPath(text.split(/[?#]/)[0]) || typed;
  for (const [, theirs, path] of text.matchAll(/(?:\w+:\/\/)?([^\s/<>"'“(（《「，。：]+)(\/r\/[\p{L}\p{M}\p{N}_.%-]+)/gu)) {
    // The full stop is the sentence's.
    if (hostOf(protocol, theirs) === host) return roomInPath(path.replace(/\.+$/, '')) || typed;
  }
  return typed;
}

/** As the browser writes it: in lower case, without the port that goes without saying. @param {string} protocol @param {string} host */
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
 * A name nobody can guess, yet one that can be read out on the telephone: twelve syllables, 75 bits.
 * @param {(bytes: Uint8Array<ArrayBuffer>) => Uint8Array} fill fills with random bytes
 * @returns {string}
 */
export function privateRoomName(fill) {
  const syllables = [];
  while (syllables.length < SYLLABLES) {
    const byte = fill(new Uint8Array(1))[0];
    const choices = CONSONANTS.length * VOWELS.length;
    // 240 is the largest multiple of 80 in a byte: beyond it some syllables would come up more often.
    if (byte >= 240) continue;
    const pick = byte % choices;
    syllables.push(CONSONANTS[pick % CONSONANTS.length] + VOWELS[Math.floor(pick / CONSONANTS.length)]);
  }
  return syllables.join('').match(/.{4}/g)?.join('-') ?? '';
}
