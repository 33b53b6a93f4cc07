// Path fallback: which kind of path the next connection avoids, because two connections in a row used it without media.
//
// Pure. Some networks answer ICE and drop the rest, or pass only small packets. A direct path is replaced by a relay, a
// relay over UDP by one over TCP or TLS; there is no fallback beyond these.

/** @typedef {import('./selected-path.js').Path} Path */

const FAILURES = 2;

/**
 * @typedef {object} PathFallback
 * @property {(silent: Path | null, servers: RTCIceServer[], lasted?: boolean) => boolean} recordSilent a connection is replaced that
 *   carried no media over this path, or stopped after it `lasted`; returns whether the path is now avoided
 * @property {(silent: Path | null, servers: RTCIceServer[]) => boolean} hasFallback
 * @property {(servers: RTCIceServer[]) => {iceServers: RTCIceServer[], iceTransportPolicy: RTCIceTransportPolicy}} config
 * @property {() => boolean} isActive
 * @property {() => void} reset for another call
 */

/** @returns {PathFallback} */
export function makePathFallback() {
  /** @type {Path | null} */
  let last = null;
  let count = 0;
  /** @type {Set<Path>} */
  const avoided = new Set();

  /** @param {Path | null} silent @param {RTCIceServer[]} servers */
  function hasFallback(silent, servers) {
    if (silent === null || avoided.has(silent)) return false;
    return (silent === 'direct' && withUrls(servers, isRelay).length > 0) || (silent === 'relay-udp' && withUrls(servers, isStream).length > 0);
  }

  return {
    hasFallback,
    isActive: () => avoided.size > 0,
    recordSilent(silent, servers, lasted = false) {
      // A connection that worked for long is unrelated to failures before it.
      count = silent !== null && silent === last && !lasted ? count + 1 : 1;
      last = silent;
      if (silent === null || count < FAILURES || !hasFallback(silent, servers)) return false;
      avoided.add(silent);
      return true;
    },
    config(servers) {
      const iceServers = avoided.has('relay-udp') ? withUrls(servers, isStream) : servers;
      return { iceServers, iceTransportPolicy: avoided.size ? 'relay' : 'all' };
    },
    reset() {
      last = null;
      count = 0;
      avoided.clear();
    },
  };
}

/** @param {RTCIceServer[]} servers @param {(url: string) => boolean} matches */
function withUrls(servers, matches) {
  return servers.map((server) => ({ ...server, urls: [server.urls].flat().filter(matches) })).filter(({ urls }) => urls.length);
}

/** @param {string} url */
const isRelay = (url) => /^turns?:/.test(url);
/** @param {string} url */
const isStream = (url) => /^turns:|^turn:.*[?&]transport=tcp/.test(url);
