// Serial queue: one request after the other, since a phone opens one camera at a time. The next task starts when the
// previous one has settled. A task that stays open, maybe forever, holds the queue only for a limited time.

/** A camera opens within seconds: what takes longer waits for a person, who may need another request. */
const TIMEOUT_MS = 10_000;

/** @typedef {<T>(task: () => Promise<T>) => Promise<T>} SerialQueue the task checks itself whether it is still wanted */

/**
 * @param {import('./clock.js').Clock} clock
 * @returns {SerialQueue}
 */
export function makeSerialQueue(clock) {
  /** @type {Promise<void> | null} */
  let running = null;

  return async (task) => {
    // Of several waiting tasks the first one to resume starts.
    while (running) await running;
    const result = task();
    /** @type {Promise<void>} */
    const current = new Promise((resolve) => {
      const timer = clock.after(resolve, TIMEOUT_MS);
      const done = () => {
        clock.cancel(timer);
        resolve();
      };
      result.then(done, done);
    });
    running = current;
    current.then(() => { if (running === current) running = null; });
    return result;
  };
}
