// Turn: one asking after the other, since a phone opens one camera at a time: the next one begins when the one before
// has been answered, and what came with it has been kept or let go.
//
// It knows nothing of cameras. A question that is left open, maybe for ever, holds nobody up for long.

/** A camera opens within seconds: what takes longer waits for a person, and a new question may be what they need. */
const PATIENCE_MS = 10_000;

/** @typedef {<T>(task: () => Promise<T>) => Promise<T>} InTurn the task looks for itself whether it is still wanted */

/**
 * @param {import('../lib/clock.js').Clock} clock
 * @returns {InTurn}
 */
export function makeTurn(clock) {
  /** @type {Promise<void> | null} */
  let open = null;

  return async (task) => {
    // Of several that wait the first to go on may take the turn.
    while (open) await open;
    const answer = task();
    /** @type {Promise<void>} */
    const mine = new Promise((done) => {
      const timer = clock.after(done, PATIENCE_MS);
      const over = () => { clock.cancel(timer); done(); };
      answer.then(over, over);
    });
    open = mine;
    mine.then(() => { if (open === mine) open = null; });
    return answer;
  };
}
