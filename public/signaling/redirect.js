// Redirect: which server to connect to, where several serve one name and another one has the room.
//
// The page's own host leads to any of them. A redirect is followed only to that host's subdomains, and only a few times in a
// row: servers that disagree would send us around in circles. Once a server is lost, the page's own host knows another one.

/**
 * @import { ServerMessage } from '../types.js'
 * @typedef {Extract<ServerMessage, {type: 'redirect'}>} RedirectMessage
 */

const MAX_IN_A_ROW = 3;
const PAUSE_MS = 1000;

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
  /** The server to connect to; undefined: the page's own host. @type {string | undefined} */
  host = undefined;
  /** Of the last redirect, until its server has answered. @type {number | undefined} */
  #fence = undefined;

  /** @param {() => string} hostname of the page */
  constructor(hostname) {
    this.#hostname = hostname;
  }

  /** @param {RedirectMessage} message @returns {number | null} the pause before the next socket; null: a server that is none of ours */
  follow({ url, fence }) {
    const host = redirectHost(url, this.#hostname());
    this.#count += 1;
    if (host === null || this.#count > MAX_IN_A_ROW) {
      this.reset();
      return host === null ? null : PAUSE_MS;
    }
    this.host = host;
    this.#fence = Number.isSafeInteger(fence) && fence > 0 ? fence : undefined;
    return 0;
  }

  /** What a join says of the redirect: a server that has just lost the room then knows. @returns {{fence?: number}} */
  proof() {
    return this.#fence === undefined ? {} : { fence: this.#fence };
  }

  /** The server has answered: it has the room. */
  arrived() {
    this.#count = 0;
    this.#fence = undefined;
  }

  /** The page's own host is next. @returns {boolean} whether another one was */
  reset() {
    const wasElsewhere = this.host !== undefined;
    this.#count = 0;
    this.host = this.#fence = undefined;
    return wasElsewhere;
  }
}
