// Backoff: how long a socket may take to open, and how long to wait before the next one.

const CONNECT_TIMEOUT_MS = 10_000;
/** When resuming; the first attempt may have used the network that was just going down. */
export const RECONNECT_TIMEOUT_MS = 3000;
const BACKOFF_MIN_MS = 500;
export const BACKOFF_MAX_MS = 15_000;
/** When resuming: for about one minute, or two to three where each attempt times out. */
const RESUME_BACKOFF_MAX_MS = 4000;
const RESUME_ATTEMPTS = 16;
/** By then everybody who resumes a seat has tried, as often as the server can be reached. */
export const WAITED_REJOIN_MS = 5000;

/** Each attempt to resume gets more time, for slow networks. @param {boolean} resuming @param {number} failures so far */
export function connectTimeout(resuming, failures) {
  return resuming ? Math.min(CONNECT_TIMEOUT_MS, RECONNECT_TIMEOUT_MS * 2 ** (failures - 1)) : CONNECT_TIMEOUT_MS;
}

/**
 * @param {boolean} resuming a server that can be reached gets the next attempt soon
 * @param {number} failures so far
 * @param {number} random from 0 to 1: clients of a restarted server must not come all at once
 */
export function reconnectDelay(resuming, failures, random) {
  const max = resuming && failures < RESUME_ATTEMPTS ? RESUME_BACKOFF_MAX_MS : BACKOFF_MAX_MS;
  return Math.min(max, BACKOFF_MIN_MS * 2 ** failures) * (0.5 + random / 2);
}
