// The seat a tab holds: the resume token of each room, and the host key it was opened with.
//
// A reload takes the same seat back, and so does a new tab where the one before was closed or killed: the browser keeps a
// copy of the token, not of the key. A token is used only by whoever holds the lock named after it: neither by a
// duplicated tab, which gets a copy with the rest of its storage, nor by a second one beside a page that lives.

const PATIENCE_MS = 800;
/** For the token of another tab: it is dead, or sits there for good. */
const GLANCE_MS = 100;
const RETRY_MS = 100;
/** The browser does not remember for longer who was in which room; by then the box has given the seat away. */
const REMEMBERED_MS = 12 * 60 * 60 * 1000;
const PREFIX = 'webrtc-box.seat.';
/** Who comes Back to a page within this long has left it by mistake; later, or in a restored tab, the call may be history. */
const SLIP_MS = 120_000;

/**
 * @typedef {object} Kept
 * @property {string} lock
 * @property {string} token
 * @property {string} [key] the host key
 * @property {boolean} [left] given up, which the server may not have heard
 * @property {number} [at] when a page last sat down with it, in ms since 1970; of the browser's copy
 *
 * @typedef {object} Seat
 * @property {(room: string) => Promise<Kept | undefined>} take what to come back with, if it is ours
 * @property {(room: string) => Promise<string | undefined>} peek the token that `take` would give just now
 * @property {(room: string) => Promise<boolean>} interrupted whether this tab sat there until its page was reloaded
 * @property {(room: string, token: string, key?: string) => void} keep
 * @property {(room: string) => void} leave keeps it for who calls again, and for nobody else
 * @property {(room: string) => void} forget
 */

/**
 * @param {object} parts
 * @param {Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>} parts.storage of this tab
 * @param {import('../lib/storage.js').Store} parts.shared of all tabs
 * @param {Pick<LockManager, 'request'> | undefined} parts.locks absent outside secure contexts
 * @param {(ms: number) => Promise<void>} parts.pause
 * @param {string} parts.tab a name for this life of the tab, different after a reload
 * @param {() => number} [parts.today] ms since 1970
 * @returns {Seat}
 */
export function makeSeat({ storage, shared, locks, pause, tab, today = Date.now }) {
  /** @type {Map<string, () => void>} token locks we hold, and how to let go */
  const held = new Map();
  /** @type {Map<string, Promise<boolean>>} those we wait for: who asks meanwhile must not wait for ourselves */
  const awaited = new Map();

  for (const key of shared.keys()) if (key.startsWith(PREFIX)) recall(key.slice(PREFIX.length));

  /** @param {Pick<Storage, 'getItem'>} store @param {string} room @returns {Kept | undefined} */
  function read(store, room) {
    try {
      const kept = JSON.parse(store.getItem(PREFIX + room) ?? 'null');
      return typeof kept?.token === 'string' && typeof kept.lock === 'string' ? kept : undefined;
    } catch {
      return undefined;
    }
  }

  /** @param {Pick<Storage, 'setItem'>} store @param {string} room @param {Kept} kept */
  function write(store, room, kept) {
    store.setItem(PREFIX + room, JSON.stringify(kept));
  }

  /** What the browser knows of the seat of a tab that may be gone. @param {string} room */
  function recall(room) {
    const kept = read(shared, room);
    const age = today() - (kept?.at ?? 0);
    if (kept && age >= 0 && age < REMEMBERED_MS) return kept;
    shared.removeItem(PREFIX + room);
    return undefined;
  }

  /** @param {string} room */
  async function own(room) {
    const kept = read(storage, room);
    if (!kept) return undefined;
    if (await hold(kept.lock, PATIENCE_MS)) return kept;
    storage.removeItem(PREFIX + room);
    return undefined;
  }

  /** Without locks nobody knows whether the other tab lives. @param {string} room */
  const bequest = (room) => (locks ? recall(room) : undefined);

  /** @param {string} room */
  async function inherit(room) {
    const kept = bequest(room);
    if (!kept || !(await hold(kept.lock, GLANCE_MS))) return undefined;
    write(storage, room, kept);
    return kept;
  }

  /**
   * The lock outlives every token of this seat: tokens change at each join, the seat does not.
   * @param {string} lock
   * @param {number} patience
   */
  async function hold(lock, patience) {
    if (!locks || held.has(lock)) return true;
    const pending = awaited.get(lock) ?? wait(lock, patience).finally(() => awaited.delete(lock));
    awaited.set(lock, pending);
    return pending;
  }

  /** @param {string} lock @param {number} patience */
  async function wait(lock, patience) {
    for (let waited = 0; ; waited += RETRY_MS) {
      if (await tryLock(lock, true)) return true;
      // The page before a reload may take a moment to go.
      if (waited >= patience) return false;
      await pause(RETRY_MS);
    }
  }

  /**
   * Whether nobody else has it. A browser that refuses locks, in a frame that is fenced in, gives them to nobody.
   * @param {string} lock
   * @param {boolean} forGood
   * @returns {Promise<boolean>}
   */
  function tryLock(lock, forGood) {
    return new Promise((resolve) => {
      locks?.request(`webrtc-box.${lock}`, { ifAvailable: true }, (granted) => {
        resolve(granted !== null);
        if (!granted || !forGood) return undefined;
        return new Promise((/** @type {(value?: unknown) => void} */ release) => { held.set(lock, release); });
      }).catch(() => resolve(true));
    });
  }

  /** @param {string | undefined} lock */
  function letGo(lock) {
    if (!lock) return;
    held.get(lock)?.();
    held.delete(lock);
  }

  return {
    async take(room) {
      return read(storage, room) ? own(room) : inherit(room);
    },
    async peek(room) {
      const kept = read(storage, room) ?? bequest(room);
      if (!kept) return undefined;
      return !locks || held.has(kept.lock) || await tryLock(kept.lock, false) ? kept.token : undefined;
    },
    async interrupted(room) {
      const left = read(storage, room)?.left;
      return !left && await own(room) !== undefined;
    },
    keep(room, token, key) {
      const lock = read(storage, room)?.lock ?? `${tab}.${room}`;
      write(storage, room, { lock, token, key });
      write(shared, room, { lock, token, at: today() });
      hold(lock, PATIENCE_MS);
    },
    leave(room) {
      const kept = read(storage, room);
      if (kept) write(storage, room, { ...kept, left: true });
      letGo(kept?.lock);
    },
    forget(room) {
      const kept = read(storage, room);
      storage.removeItem(PREFIX + room);
      // Another tab may have taken the seat over, and keeps a token of its own.
      if (kept && read(shared, room)?.token === kept.token) shared.removeItem(PREFIX + room);
      letGo(kept?.lock);
    },
  };
}

/**
 * Whether a page is shown again so that the person is still in the call, and is on air without another click.
 * @param {string | undefined} type of the navigation
 * @param {string | null} leftAt when the page was left, in ms since 1970
 * @param {number} now
 */
export function isReloadOrBack(type, leftAt, now) {
  const away = now - Number(leftAt ?? NaN);
  return type === 'reload' || (type === 'back_forward' && away >= 0 && away < SLIP_MS);
}
