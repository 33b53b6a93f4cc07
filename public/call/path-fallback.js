// Path fallback: which way the next connection avoids, because two in a row stood on it and brought nothing.
//
// Pure. Some networks answer ICE and drop the rest, or pass small packets only. A direct path is avoided by relaying, a
// relayed one over UDP by TCP and TLS; there is nothing beyond these.

/** @typedef {import('./selected-path.js').Path} Path */

const IN_A_ROW = 2;

/**
 * @typedef {object} PathFallback
 * @property {(silent: Path | null, servers: RTCIceServer[], lasted?: boolean) => boolean} recordSilent a connection is replaced, which stood
 *   on this path and brought nothing, or `lasted` before it did; whether that way is avoided from here on
 * @property {(silent: Path | null, servers: RTCIceServer[]) => boolean} hasFallback whether there is another way to take
 * @property {(servers: RTCIceServer[]) => {iceServers: RTCIceServer[], iceTransportPolicy: RTCIceTransportPolicy}} config
 * @property {() => boolean} isActive
 * @property {() => void} forget another call
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
    return (silent === 'direct' && urlsOf(servers, isRelay).length > 0) || (silent === 'relay-udp' && urlsOf(servers, isStream).length > 0);
  }

  return {
    hasFallback,
    isActive: () => avoided.size > 0,
    recordSilent(silent, servers, lasted = false) {
      // What worked for long is no sequel of what was silent before it.
      count = silent !== null && silent === last && !lasted ? count + 1 : 1;
      last = silent;
      if (silent === null || count < IN_A_ROW || !hasFallback(silent, servers)) return false;
      avoided.add(silent);
      return true;
    },
    config(servers) {
      const iceServers = avoided.has('relay-udp') ? urlsOf(servers, isStream) : servers;
      return { iceServers, iceTransportPolicy: avoided.size ? 'relay' : 'all' };
    },
    forget() {
      last = null;
      count = 0;
      avoided.clear();
    },
  };
}

/** @param {RTCIceServer[]} servers @param {(url: string) => boolean} fits */
function urlsOf(servers, fits) {
  return servers.map((one) => ({ ...one, urls: [one.urls].flat().filter(fits) })).filter(({ urls }) => urls.length);
}

/** @param {string} url */
const isRelay = (url) => /^turns?:/.test(url);
/** @param {string} url */
const isStream = (url) => /^turns:|^turn:.*[?&]transport=tcp/.test(url);
