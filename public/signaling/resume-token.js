// Resume tokens: the token of each room's seat and the host key it was opened with, stored for this tab and browser.
//
// A reload resumes the same seat, and so does a new tab after the previous one was closed or killed: the browser keeps a
// copy of the token, not of the key. A token is used only while holding the Web Lock named after it: neither by a
// duplicated tab, which gets a copy of the tab's storage, nor by a second tab next to a live one, unless the person wants
// to take the call over from there.

const LOCK_TIMEOUT_MS = 800;
/** Of a reload or of Back: on a busy device the page before takes long to go, and nobody waits for an answer meanwhile. */
const RELOAD_LOCK_TIMEOUT_MS = 10_000;
/** For the token of another tab, which either is gone or keeps the lock. */
const OTHER_TAB_TIMEOUT_MS = 100;
const RETRY_MS = 100;
/** How long the browser's copy is kept; by then the server has released the seat, and a list of rooms should not remain. */
const TOKEN_AGE_LIMIT_MS = 12 * 60 * 60 * 1000;
const PREFIX = 'webrtc-box.seat.';
/** Going back to a page within this time resumes the call; later, or in a restored tab, the person may not expect it. */
const BACK_WITHIN_MS = 120_000;

/**
 * @import { Store } from '../lib/storage.js'
 *
 * @typedef {object} SavedSeat
 * @property {string} lock
 * @property {string} token
 * @property {string} [key] the host key
 * @property {string[]} [nodes] of several servers those that were known, the one with the seat first
 * @property {boolean} [left] the person left, which the server may not know
 * @property {number} [at] time of the last join, in ms since 1970; only in the browser's copy
 *
 * @typedef {object} ResumeTokenParts
 * @property {Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>} storage of this tab
 * @property {Store} shared of all tabs
 * @property {Pick<LockManager, 'request'> | undefined} locks missing outside secure contexts
 * @property {(ms: number) => Promise<void>} pause
 * @property {string} tab names this tab until its next reload
 * @property {() => number} [today] ms since 1970
 */

export class ResumeTokens {
  /** @type {ResumeTokenParts['storage']} */
  #storage;
  /** @type {Store} */
  #shared;
  /** @type {ResumeTokenParts['locks']} */
  #locks;
  /** @type {ResumeTokenParts['pause']} */
  #pause;
  /** @type {string} */
  #tab;
  /** @type {() => number} */
  #today;
  /** Releases of the locks we hold, by lock. @type {Map<string, () => void>} */
  #held = new Map();
  /** Requests under way, by lock: a second request must not wait for our own first one. @type {Map<string, Promise<boolean>>} */
  #pending = new Map();

  /** @param {ResumeTokenParts} parts */
  constructor({ storage, shared, locks, pause, tab, today = Date.now }) {
    this.#storage = storage;
    this.#shared = shared;
    this.#locks = locks;
    this.#pause = pause;
    this.#tab = tab;
    this.#today = today;
    for (const key of shared.keys()) if (key.startsWith(PREFIX)) this.#readShared(key.slice(PREFIX.length));
  }

  /** The seat to resume, if this tab may. @param {string} room @returns {Promise<SavedSeat | undefined>} */
  async take(room) {
    return read(this.#storage, room) ? this.#takeOwn(room) : this.#takeOther(room);
  }

  /** The token that `take` would return now. @param {string} room @returns {Promise<string | undefined>} */
  async peek(room) {
    const saved = read(this.#storage, room) ?? this.#otherTab(room);
    if (!saved) return undefined;
    return !this.#locks || this.#held.has(saved.lock) || await this.#tryLock(saved.lock, false) ? saved.token : undefined;
  }

  /** Whether another tab of this browser has a seat in the room; without locks that is unknown. @param {string} room */
  async isElsewhere(room) {
    const saved = this.#otherTab(room);
    return saved !== undefined && !this.#held.has(saved.lock) && !(await this.#tryLock(saved.lock, false));
  }

  /** The seat of another tab, which the server then closes; the lock stays with that tab. @param {string} room */
  async takeOver(room) {
    const saved = this.#otherTab(room);
    if (!saved) return this.take(room);
    this.#storage.removeItem(PREFIX + room);
    return { token: saved.token };
  }

  /** Whether this tab was in the room until its page was reloaded. @param {string} room */
  async wasInterrupted(room) {
    return !read(this.#storage, room)?.left && await this.#takeOwn(room, RELOAD_LOCK_TIMEOUT_MS) !== undefined;
  }

  /** The servers that were known when the seat was saved, unless the person has left it. @param {string} room @returns {unknown} */
  nodes(room) {
    const saved = read(this.#storage, room) ?? this.#otherTab(room);
    return saved?.left ? undefined : saved?.nodes;
  }

  /** @param {string} room @param {string} token @param {Pick<SavedSeat, 'key' | 'nodes'>} [seat] */
  save(room, token, { key, nodes = [] } = {}) {
    const lock = read(this.#storage, room)?.lock ?? `${this.#tab}.${room}`;
    const saved = { lock, token, ...(nodes.length && { nodes }) };
    write(this.#storage, room, { ...saved, key });
    write(this.#shared, room, { ...saved, at: this.#today() });
    this.#hold(lock, LOCK_TIMEOUT_MS);
  }

  /** Keeps the token for a later call to the same room. @param {string} room */
  release(room) {
    const saved = read(this.#storage, room);
    if (saved) write(this.#storage, room, { ...saved, left: true });
    this.#unlock(saved?.lock);
  }

  /** @param {string} room */
  forget(room) {
    const saved = read(this.#storage, room);
    this.#storage.removeItem(PREFIX + room);
    // Another tab may have resumed the seat and saved its own token.
    if (saved && read(this.#shared, room)?.token === saved.token) this.#shared.removeItem(PREFIX + room);
    this.#unlock(saved?.lock);
  }

  /** Removes an expired copy. @param {string} room */
  #readShared(room) {
    const saved = read(this.#shared, room);
    const age = this.#today() - (saved?.at ?? 0);
    if (saved && age >= 0 && age < TOKEN_AGE_LIMIT_MS) return saved;
    this.#shared.removeItem(PREFIX + room);
    return undefined;
  }

  /** @param {string} room @param {number} [timeout] */
  async #takeOwn(room, timeout = LOCK_TIMEOUT_MS) {
    const saved = read(this.#storage, room);
    if (!saved) return undefined;
    if (await this.#hold(saved.lock, timeout)) return saved;
    this.#storage.removeItem(PREFIX + room);
    return undefined;
  }

  /** The seat of a tab that may be gone; without locks it is unknown whether it is. @param {string} room */
  #otherTab(room) {
    return this.#locks ? this.#readShared(room) : undefined;
  }

  /** @param {string} room */
  async #takeOther(room) {
    const saved = this.#otherTab(room);
    if (!saved || !(await this.#hold(saved.lock, OTHER_TAB_TIMEOUT_MS))) return undefined;
    write(this.#storage, room, saved);
    return saved;
  }

  /**
   * The lock belongs to the seat and not to a token, which changes with each join.
   * @param {string} lock
   * @param {number} timeout
   */
  async #hold(lock, timeout) {
    if (!this.#locks || this.#held.has(lock)) return true;
    const pending = this.#pending.get(lock) ?? this.#waitForLock(lock, timeout).finally(() => this.#pending.delete(lock));
    this.#pending.set(lock, pending);
    return pending;
  }

  /** @param {string} lock @param {number} timeout */
  async #waitForLock(lock, timeout) {
    for (let waited = 0; ; waited += RETRY_MS) {
      if (await this.#tryLock(lock, true)) return true;
      // The page before a reload may take a moment to release it.
      if (waited >= timeout) return false;
      await this.#pause(RETRY_MS);
    }
  }

  /**
   * Counts as granted where the browser refuses locks altogether, as in a sandboxed frame.
   * @param {string} lock
   * @param {boolean} keep
   * @returns {Promise<boolean>}
   */
  #tryLock(lock, keep) {
    return new Promise((resolve) => {
      // Looking must not keep others, or ourselves, from looking at the same time.
      this.#locks?.request(`webrtc-box.${lock}`, { ifAvailable: true, mode: keep ? 'exclusive' : 'shared' }, (granted) => {
        resolve(granted !== null);
        if (!granted || !keep) return undefined;
        return new Promise((/** @type {(value?: unknown) => void} */ release) => { this.#held.set(lock, release); });
      }).catch(() => resolve(true));
    });
  }

  /** @param {string | undefined} lock */
  #unlock(lock) {
    if (!lock) return;
    this.#held.get(lock)?.();
    this.#held.delete(lock);
  }
}

/** @param {Pick<Storage, 'getItem'>} store @param {string} room @returns {SavedSeat | undefined} */
function read(store, room) {
  try {
    const saved = JSON.parse(store.getItem(PREFIX + room) ?? 'null');
    return typeof saved?.token === 'string' && typeof saved.lock === 'string' ? saved : undefined;
  } catch {
    return undefined;
  }
}

/** @param {Pick<Storage, 'setItem'>} store @param {string} room @param {SavedSeat} saved */
function write(store, room, saved) {
  store.setItem(PREFIX + room, JSON.stringify(saved));
}

/**
 * Whether a page is shown again in such a way that the call should resume without another click.
 * @param {string | undefined} type of the navigation
 * @param {string | null} leftAt when the page was left, in ms since 1970
 * @param {number} now
 */
export function isReloadOrBack(type, leftAt, now) {
  const away = now - Number(leftAt ?? NaN);
  return type === 'reload' || (type === 'back_forward' && away >= 0 && away < BACK_WITHIN_MS);
}
