// Page errors: uncaught errors of our own code, saved for a report and shown to the person.
//
// Limited in number, since an error may repeat every second. Errors of extensions are ignored.

const KEY = 'webrtc-box.errors';
const MAX_SAVED = 5;
const MAX_SHOWN = 3;
const MAX_LENGTH = 200;
const EXTENSION = /[\w-]+-extension:\/\/|webkit-masked-url:/;

/**
 * @param {object} parts
 * @param {EventTarget} parts.target the window
 * @param {string} parts.origin
 * @param {Pick<Storage, 'getItem' | 'setItem'>} parts.storage
 * @param {() => string} [parts.time]
 * @param {() => void} parts.show shows that there was an error
 */
export function watchErrors({ target, origin, storage, time = () => new Date().toISOString(), show }) {
  /** @type {Set<string>} */
  const seen = new Set();
  /** Scripts injected by an app or extension have the page's address, not that of one of our modules. @param {string} text */
  const isOurs = (text) => text.split(`${origin}/`).slice(1).some((rest) => /^(?!r\/)[\w./-]+\.js\b/.test(rest));

  /** @param {any} error @param {string} [file] @param {number} [line] */
  function record(error, file = '', line) {
    const stack = String(error?.stack ?? '');
    // Scripts of extensions may call a function of ours.
    if (EXTENSION.test(file + stack) || ![file, stack].some(isOurs)) return;
    const location = file ? `${file}:${line}` : stack.split('\n').find(isOurs) ?? '';
    const text = anonymized(`${error?.name ?? 'Error'}: ${error?.message ?? error} (${location.trim()})`, origin);
    if (seen.has(text) || seen.size >= MAX_SAVED) return;
    seen.add(text);
    storage.setItem(KEY, JSON.stringify([...savedErrors(storage), `${time()} ${text}`].slice(-MAX_SAVED)));
    // An aborted operation has no visible effect.
    if (error?.name !== 'AbortError' && seen.size <= MAX_SHOWN) show();
  }

  target.addEventListener('error', (event) => {
    const { error, message, filename, lineno } = /** @type {ErrorEvent} */ (event);
    record(error ?? { message }, filename, lineno);
  });
  target.addEventListener('unhandledrejection', (event) => record(/** @type {PromiseRejectionEvent} */ (event).reason));
}

/**
 * The errors saved in this browser, oldest first, one line each.
 * @param {Pick<Storage, 'getItem'>} storage
 * @returns {string[]}
 */
export function savedErrors(storage) {
  try {
    const saved = JSON.parse(storage.getItem(KEY) ?? '[]');
    return Array.isArray(saved) ? saved.filter((each) => typeof each === 'string').map((each) => each.slice(0, MAX_LENGTH + 40)).slice(-MAX_SAVED) : [];
  } catch {
    return [];
  }
}

/** One line without room names and addresses, since a report is passed on.
 *  @param {string} text @param {string} origin */
function anonymized(text, origin) {
  return text.replaceAll(origin, '').replace(/\w+:\/\/\S+|\/r\/\S+|\d+\.\d+\.\d+\.\d+|(?:[\da-f]{0,4}:){3,}[\da-f]{0,4}/gi, '…').replace(/\s+/g, ' ').slice(0, MAX_LENGTH);
}
