// Storage: the browser's storage, or memory where the browser refuses it.
//
// With cookies blocked, or in a sandboxed frame, even reading `sessionStorage` throws; full storage throws on write. A call
// needs neither: values then last until the page is closed.

/**
 * @typedef {Pick<Storage, 'getItem' | 'setItem' | 'removeItem'> & {keys: () => string[]}} Store
 */

/**
 * @param {() => Storage} open
 * @returns {Store}
 */
export function makeStore(open) {
  /** @type {Map<string, string>} */
  const memory = new Map();

  /**
   * @template T
   * @param {(storage: Storage) => T} use
   * @returns {T | undefined} undefined where storage is refused
   */
  function attempt(use) {
    try {
      return use(open());
    } catch {
      return undefined;
    }
  }

  return {
    getItem: (key) => memory.get(key) ?? attempt((storage) => storage.getItem(key)) ?? null,
    setItem(key, value) {
      memory.delete(key);
      if (attempt((storage) => storage.setItem(key, value) ?? true) === undefined) memory.set(key, value);
    },
    removeItem(key) {
      memory.delete(key);
      attempt((storage) => storage.removeItem(key));
    },
    keys: () => [...memory.keys(), ...(attempt((storage) => Object.keys(storage)) ?? [])],
  };
}
