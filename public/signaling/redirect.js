// Redirect: which servers to connect to, where several serve one name and one of them has the room.
//
// The page's own host leads to any of them. Each has a name below it, which the server tells. A redirect is followed only to
// such a name, and only a few times in a row: servers that disagree would send us around in circles. Once a server is lost it
// is tried again beside the others, since the network may be at fault and only that server has our seat.

/**
 * @import { ServerMessage } from '../types.js'
 * @import { Host } from './socket-race.js'
 * @import { Socket } from './transport.js'
 * @typedef {Extract<ServerMessage, {type: 'redirect'}>} RedirectMessage
 */

const MAX_IN_A_ROW = 3;
const PAUSE_MS = 1000;
/** Before a server that has just not opened: by then another one may have the room. */
const LATE_PAUSE_MS = 500;
const MAX_NODES = 8;
/**
 * How long one server is waited for before the next is tried beside it. `redirected`: one that another server has named is
 * likely to live. If it is slow because many pages arrive, they must not connect to all the others as well.
 */
const HEAD_START_MS = { lost: 1000, redirected: 2500 };

/**
 * @param {unknown} url of a redirect
 * @param {string} hostname of the page
 * @returns {string | null} host and port of the server; null: not to be followed
 */
export function redirectHost(url, hostname) {
  try {
    const { protocol, host, pathname, username, password, search, hash } = new URL(String(url));
    const isPlain = protocol === 'wss:' && pathname === '/ws' && !(username || password || search || hash);
    return isPlain && isOwnHost(host, hostname) ? host : null;
  } catch {
    return null;
  }
}

/**
 * @param {unknown} host of a server, with a port or without
 * @param {string} hostname of the page
 */
export function isOwnHost(host, hostname) {
  const name = /^([a-z0-9.-]+)(:\d{1,5})?$/.exec(String(host))?.[1];
  return name !== undefined && (name === hostname || name.endsWith(`.${hostname}`));
}

export class Redirects {
  #hostname;
  #count = 0;
  /** The server of the last redirect, or that has opened since. @type {Host} */
  #target = undefined;
  /** The servers that are known, the one with our seat first. @type {string[]} */
  #nodes = [];
  /** Those that did not open while another one did. @type {Set<Host>} */
  #late = new Set();
  /** Of the last redirect, until its server has answered. @type {number | undefined} */
  #fence = undefined;
  /** The time of each socket before the next. */
  headStartMs = HEAD_START_MS.lost;

  /** @param {() => string} hostname of the page */
  constructor(hostname) {
    this.#hostname = hostname;
  }

  /** The server that has our seat, or will have; undefined: not known. */
  get host() {
    return this.#target ?? this.#nodes[0];
  }

  /** The servers that are known, the one with our seat first. @returns {string[]} */
  get nodes() {
    return this.#nodes;
  }

  /** Where to connect to, the best first. @returns {Host[]} */
  get hosts() {
    const [seat, ...others] = this.#nodes;
    const known = [this.#target, seat].filter((host) => host !== undefined);
    const all = [...new Set([...known, undefined, ...others])];
    return [...all.filter((host) => !this.#late.has(host)), ...all.filter((host) => this.#late.has(host))];
  }

  /** Whether the socket is not to the server that had our seat. */
  get isElsewhere() {
    return this.#nodes.length > 0 && this.#target !== this.#nodes[0];
  }

  /** Until the last of the `hosts` is tried. */
  get raceMs() {
    return this.headStartMs * (this.hosts.length - 1);
  }

  /** The servers as one of them tells them. @param {unknown} nodes */
  learn(nodes) {
    if (!Array.isArray(nodes) || !nodes.length) return;
    const hostname = this.#hostname();
    this.#nodes = nodes.filter((host) => typeof host === 'string' && host !== hostname && isOwnHost(host, hostname)).slice(0, MAX_NODES);
  }

  /** @param {RedirectMessage} message @returns {number | null} the pause before the next socket; null: a server that is none of ours */
  follow({ url, fence }) {
    const host = redirectHost(url, this.#hostname());
    this.#count += 1;
    if (host === null || this.#count > MAX_IN_A_ROW) {
      this.reset();
      return host === null ? null : PAUSE_MS;
    }
    this.#target = host;
    this.#fence = Number.isSafeInteger(fence) && fence > 0 ? fence : undefined;
    const wasLate = this.#late.delete(host);
    // A server to which we are sent again and again may only be slow.
    this.headStartMs = wasLate ? HEAD_START_MS.lost * this.#count : HEAD_START_MS.redirected;
    return wasLate ? LATE_PAUSE_MS : 0;
  }

  /** A socket to one of the `hosts` is open. @param {NonNullable<Socket['race']>} race */
  opened({ host, late }) {
    for (const each of late) this.#late.add(each);
    this.#late.delete(host);
    if (host !== this.#target) this.#fence = undefined;
    this.#target = host;
  }

  /** What a join says of the redirect: a server that has just lost the room then knows. @returns {{fence?: number}} */
  proof() {
    return this.#fence === undefined ? {} : { fence: this.#fence };
  }

  /** The server has answered: it has the room. */
  arrived() {
    this.#count = 0;
    this.headStartMs = HEAD_START_MS.lost;
    this.#fence = undefined;
    this.#late.clear();
  }

  /** The socket is lost. @returns {boolean} whether there may be another server */
  reset() {
    const wasElsewhere = this.host !== undefined;
    this.#count = 0;
    this.headStartMs = HEAD_START_MS.lost;
    this.#target = this.#fence = undefined;
    this.#late.clear();
    return wasElsewhere;
  }

  /** We have left. */
  forget() {
    this.reset();
    this.#nodes = [];
  }
}
