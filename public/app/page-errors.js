// Page errors: what went wrong in our own code and was caught by nobody, kept for a report and told to the person.
//
// Bounded in number, since an error may come back with every second. Errors of extensions are none of ours.

const KEPT = 'webrtc-box.errors';
const MOST_KEPT = 5;
const MOST_TOLD = 3;
const LONGEST = 200;
const FOREIGN = /[\w-]+-extension:\/\/|webkit-masked-url:/;

/**
 * @param {object} parts
 * @param {EventTarget} parts.target the window
 * @param {string} parts.origin
 * @param {Pick<Storage, 'getItem' | 'setItem'>} parts.storage
 * @param {() => string} [parts.time]
 * @param {() => void} parts.tell the person should know
 */
export function watchErrors({ target, origin, storage, time = () => new Date().toISOString(), tell }) {
  /** @type {Set<string>} */
  const seen = new Set();
  /** What an app or an extension puts into the page has the page's own address, but none of a script of ours. @param {string} text */
  const isOurs = (text) => text.split(`${origin}/`).slice(1).some((rest) => /^(?!r\/)[\w./-]+\.js\b/.test(rest));

  /** @param {any} error @param {string} [file] @param {number} [line] */
  function take(error, file = '', line) {
    const stack = String(error?.stack ?? '');
    // Their scripts run in our page, and may pass through a function of ours.
    if (FOREIGN.test(file + stack) || ![file, stack].some(isOurs)) return;
    const place = file ? `${file}:${line}` : stack.split('\n').find(isOurs) ?? '';
    const text = plain(`${error?.name ?? 'Error'}: ${error?.message ?? error} (${place.trim()})`, origin);
    if (seen.has(text) || seen.size >= MOST_KEPT) return;
    seen.add(text);
    storage.setItem(KEPT, JSON.stringify([...keptErrors(storage), `${time()} ${text}`].slice(-MOST_KEPT)));
    // An operation that was cut short is our oversight and nobody's loss.
    if (error?.name !== 'AbortError' && seen.size <= MOST_TOLD) tell();
  }

  target.addEventListener('error', (event) => {
    const { error, message, filename, lineno } = /** @type {ErrorEvent} */ (event);
    take(error ?? { message }, filename, lineno);
  });
  target.addEventListener('unhandledrejection', (event) => take(/** @type {PromiseRejectionEvent} */ (event).reason));
}

/**
 * Those of this browser, the oldest first, each as one line.
 * @param {Pick<Storage, 'getItem'>} storage
 * @returns {string[]}
 */
export function keptErrors(storage) {
  try {
    const kept = JSON.parse(storage.getItem(KEPT) ?? '[]');
    return Array.isArray(kept) ? kept.filter((each) => typeof each === 'string').map((each) => each.slice(0, LONGEST + 40)).slice(-MOST_KEPT) : [];
  } catch {
    return [];
  }
}

/** One line without addresses, of rooms or anything else: a report is sent to others.
 *  @param {string} text @param {string} origin */
function plain(text, origin) {
  return text.replaceAll(origin, '').replace(/\w+:\/\/\S+|\/r\/\S+|\d+\.\d+\.\d+\.\d+|(?:[\da-f]{0,4}:){3,}[\da-f]{0,4}/gi, '…').replace(/\s+/g, ' ').slice(0, LONGEST);
}
