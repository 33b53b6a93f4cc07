// Store: what a browser keeps for the page, or what the page keeps for itself where it refuses to.
//
// With cookies blocked, or in a frame that is fenced in, the mere mention of sessionStorage throws; a full store
// throws when it is written to. A call needs neither: then things are remembered until the page is closed.

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
   * @param {(store: Storage) => T} deed
   * @returns {T | undefined} nothing where it is refused
   */
  function attempt(deed) {
    try {
      return deed(open());
    } catch {
      return undefined;
    }
  }

  return {
    getItem: (key) => memory.get(key) ?? attempt((store) => store.getItem(key)) ?? null,
    setItem(key, value) {
      memory.delete(key);
      if (attempt((store) => store.setItem(key, value) ?? true) === undefined) memory.set(key, value);
    },
    removeItem(key) {
      memory.delete(key);
      attempt((store) => store.removeItem(key));
    },
    keys: () => [...memory.keys(), ...(attempt((store) => Object.keys(store)) ?? [])],
  };
}
