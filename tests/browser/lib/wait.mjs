// Waiting for a condition with a deadline.

import { setTimeout as delay } from 'node:timers/promises';

export { delay };

/** Time between two evaluations of a condition. */
const POLL_INTERVAL_MS = 50;

/**
 * Evaluates `condition` until it returns a truthy value, and returns that value. After `timeoutMs` it throws an error that
 * names the condition and its last result. A condition that throws counts as not met: a page may be reloading.
 */
export async function waitFor(description, condition, timeoutMs = 30_000) {
  const deadline = Date.now() + timeoutMs;
  let last;
  for (;;) {
    try {
      const result = await condition();
      if (result) return result;
      last = result;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) {
      throw new Error(`waited ${timeoutMs} ms for ${description}; last result: ${last instanceof Error ? last.message : JSON.stringify(last)}`);
    }
    await delay(POLL_INTERVAL_MS);
  }
}
