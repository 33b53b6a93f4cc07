// Backoff: how long a socket may take to open, how long to wait before the next one, and how often to ask again.

const CONNECT_TIMEOUT_MS = 10_000;
/** When resuming; the first attempt may have used the network that was just going down. */
export const RECONNECT_TIMEOUT_MS = 3000;
const BACKOFF_MIN_MS = 500;
export const BACKOFF_MAX_MS = 15_000;
/** When resuming: for about one minute, or two to three where each attempt times out. */
const RESUME_BACKOFF_MAX_MS = 4000;
const RESUME_ATTEMPTS = 16;
const NODE_BACKOFF_MAX_MS = 750;
const NODE_ATTEMPTS = 8;
/**
 * When resuming, another socket is opened this long after one that has not opened. Not sooner: browsers slow down a page
 * with many failed sockets, and Firefox connects one at a time.
 */
export const FRESH_SOCKET_MS = 2500;
/** By then everybody who resumes a seat has tried, as often as the server can be reached. */
export const WAITED_REJOIN_MS = 5000;
/** When resuming into a room that is gone and needs a host key, the host may reopen it; these attempts take about a minute. */
export const KEY_ATTEMPTS = 8;
export const TOKEN_ATTEMPTS = 3;
/**
 * The first room name is looked up soon, a changed one when typing has stopped: the server limits these requests.
 * `limitedMs`: after the server's rate limit, which counts all clients behind one address.
 */
export const PEEK = { firstMs: 300, changedMs: 1000, intervalMs: 5000, timeoutMs: 2500, limitedMs: 60_000 };

/**
 * When resuming, every other attempt is short: TCP repeats the packets of one from before the network's return at longer and
 * longer intervals. The others get more time, for slow networks.
 * @param {boolean} resuming
 * @param {number} failures so far
 */
export function connectTimeout(resuming, failures) {
  if (!resuming) return CONNECT_TIMEOUT_MS;
  return failures % 2 || !failures ? RECONNECT_TIMEOUT_MS : Math.min(CONNECT_TIMEOUT_MS, RECONNECT_TIMEOUT_MS * failures);
}

/** Whether another socket is worth it beside one that does not open. @param {boolean} resuming @param {number} failures so far */
export const triesFresh = (resuming, failures) => resuming && failures < RESUME_ATTEMPTS;

/**
 * @param {boolean} resuming a server that can be reached gets the next attempt soon
 * @param {number} failures so far
 * @param {number} random from 0 to 1: clients of a restarted server must not come all at once
 * @param {boolean} [wasElsewhere] a server was lost that had the room: another one gets it three seconds later
 */
export function reconnectDelay(resuming, failures, random, wasElsewhere = false) {
  const max = wasElsewhere && failures < NODE_ATTEMPTS ? NODE_BACKOFF_MAX_MS : triesFresh(resuming, failures) ? RESUME_BACKOFF_MAX_MS : BACKOFF_MAX_MS;
  return Math.min(max, BACKOFF_MIN_MS * 2 ** failures) * (0.5 + random / 2);
}
