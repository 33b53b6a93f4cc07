// The seat a tab holds: the resume token of each room, kept for this tab only.
//
// A reload takes the same seat back. A duplicated tab gets a copy of the token with the rest of its
// storage, so a token is used only by whoever holds the lock named after it.

const PATIENCE_MS = 800;
const RETRY_MS = 100;

/**
 * @typedef {object} Seat
 * @property {(room: string) => Promise<string | undefined>} take the token to come back with, if it is ours
 * @property {(room: string, token: string) => void} keep
 * @property {(room: string) => void} forget
 */

/**
 * @param {object} parts
 * @param {Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>} parts.storage
 * @param {Pick<LockManager, 'request'> | undefined} parts.locks absent outside secure contexts
 * @param {(ms: number) => Promise<void>} parts.pause
 * @param {string} parts.tab a name for this life of the tab, different after a reload
 * @returns {Seat}
 */
export function makeSeat({ storage, locks, pause, tab }) {
  /** @type {Map<string, () => void>} token locks we hold, and how to let go */
  const held = new Map();

  /** @param {string} room */
  const key = (room) => `webrtc-box.seat.${room}`;

  /** @param {string} room */
  function read(room) {
    const [lock, token] = (storage.getItem(key(room)) ?? '').split('\n');
    return token ? { lock, token } : undefined;
  }

  /**
   * The lock outlives every token of this seat: tokens change at each join, the seat does not.
   * @param {string} lock
   * @returns {Promise<boolean>}
   */
  async function hold(lock) {
    if (!locks || held.has(lock)) return true;
    for (let waited = 0; ; waited += RETRY_MS) {
      if (await tryLock(lock)) return true;
      // The page before a reload may take a moment to go.
      if (waited >= PATIENCE_MS) return false;
      await pause(RETRY_MS);
    }
  }

  /** @param {string} lock */
  function tryLock(lock) {
    return new Promise((resolve) => {
      locks?.request(`webrtc-box.${lock}`, { ifAvailable: true }, (granted) => {
        if (!granted) return void resolve(false);
        return new Promise((/** @type {(value?: unknown) => void} */ release) => {
          held.set(lock, release);
          resolve(true);
        });
      }).catch(() => resolve(false));
    });
  }

  return {
    async take(room) {
      const kept = read(room);
      if (!kept) return undefined;
      if (await hold(kept.lock)) return kept.token;
      storage.removeItem(key(room));
      return undefined;
    },
    keep(room, token) {
      const lock = read(room)?.lock ?? tab;
      storage.setItem(key(room), `${lock}\n${token}`);
      hold(lock);
    },
    forget(room) {
      const lock = read(room)?.lock;
      storage.removeItem(key(room));
      if (lock) held.get(lock)?.();
      if (lock) held.delete(lock);
    },
  };
}
