// Clock: the timers of the browser behind an interface, so that tests can control time.

/**
 * @typedef {number} Timer
 * @typedef {object} Clock
 * @property {(run: () => void, ms: number) => Timer} after
 * @property {(timer: Timer | null | undefined) => void} cancel
 */

/** @type {Clock} */
export const browserClock = { after: (run, ms) => setTimeout(run, ms), cancel: (timer) => clearTimeout(timer ?? undefined) };

/**
 * The rest of a long piece of work: the browser handles input and draws first. Unlike a timer it is not delayed in a hidden tab.
 * @returns {Promise<void>}
 */
export const nextTask = () => new Promise((resolve) => {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    resolve();
  };
  port2.postMessage(null);
});
