// Probes: whether a path to the relay works, by an allocation over it, and how the page reaches the server's signaling.
//
// The browser sends the request: a peer connection with one URL and `relay` as its only policy gathers candidates.

const TIMEOUT_MS = 10_000;
/** From here on, error codes are the browser's own: 701 for a server that does not answer (W3C WebRTC §4.8.3). */
const FIRST_BROWSER_CODE = 700;

/**
 * @import { Clock } from '../lib/clock.js'
 * @import { Transport, Way } from '../signaling/transport.js'
 *
 * @typedef {object} Probe a row of /test.json
 * @property {'turn-udp' | 'turn-tcp' | 'turn-tls'} name
 * @property {'ipv4' | 'ipv6' | 'any'} family any: the one that the host name resolves to
 * @property {number} port
 * @property {string[]} urls
 *
 * @typedef {{username: string, credential: string}} Credential
 *
 * @typedef {object} ProbeResult
 * @property {Probe} probe
 * @property {boolean} ok
 * @property {number} ms
 * @property {number} code of the relay's error response; 0 without one
 * @property {boolean} [tried] false where the browser refused to try
 *
 * @typedef {(configuration: RTCConfiguration) => RTCPeerConnection} NewPeerConnection
 * @typedef {{newPeerConnection: NewPeerConnection, clock: Clock, now: () => number}} ProbeParts
 */

/**
 * @param {Probe} probe
 * @param {Credential} credential
 * @returns {RTCConfiguration} of a peer connection that can use only the path of `probe`
 */
export function configurationFor(probe, { username, credential }) {
  return { iceServers: [{ urls: probe.urls, username, credential }], iceTransportPolicy: 'relay' };
}

/**
 * @param {Probe} probe
 * @param {Credential} credential
 * @param {ProbeParts} parts
 * @returns {Promise<ProbeResult>}
 */
export async function runProbe(probe, credential, parts) {
  const startedAt = parts.now();
  let code = 0;
  const { found, tried } = await gather(configurationFor(probe, credential), parts, {
    isFound: (candidate) => / typ relay/.test(candidate),
    onError: (errorCode) => { if (errorCode < FIRST_BROWSER_CODE) code = errorCode; },
  });
  return { probe, ok: found, ms: parts.now() - startedAt, code: found ? 0 : code, ...(tried ? {} : { tried }) };
}

/**
 * Whether the browser gathers any candidate without a server. If it does not, a setting, an extension or a proxy forbids it.
 * @param {Pick<ProbeParts, 'newPeerConnection' | 'clock'>} parts
 * @returns {Promise<boolean>}
 */
export async function gathersCandidates(parts) {
  return (await gather({}, parts, { isFound: (candidate) => candidate !== '', onError() {} })).found;
}

/**
 * Gathers candidates until one is `isFound`, and closes the peer connection, which ends its allocation.
 * @param {RTCConfiguration} configuration
 * @param {Pick<ProbeParts, 'newPeerConnection' | 'clock'>} parts
 * @param {{isFound: (candidate: string) => boolean, onError: (code: number) => void}} on
 * @returns {Promise<{found: boolean, tried: boolean}>}
 */
async function gather(configuration, { newPeerConnection, clock }, { isFound, onError }) {
  /** @type {RTCPeerConnection | undefined} */
  let pc;
  /** @type {import('../lib/clock.js').Timer | undefined} */
  let timer;
  let tried = true;
  const found = await new Promise((resolve) => {
    try {
      const created = pc = newPeerConnection(configuration);
      timer = clock.after(() => resolve(false), TIMEOUT_MS);
      created.onicecandidate = ({ candidate }) => {
        if (candidate === null) resolve(false);
        else if (isFound(candidate.candidate)) resolve(true);
      };
      created.onicecandidateerror = ({ errorCode }) => onError(errorCode);
      created.createDataChannel('probe');
      created.setLocalDescription().catch(() => resolve(false));
    } catch {
      tried = false;
      resolve(false);
    }
  });
  clock.cancel(timer);
  pc?.close();
  return { found, tried };
}

/**
 * How a call would be set up. Null: not at all.
 * @param {Pick<Transport, 'open'>} transport
 * @param {Clock} clock
 * @returns {Promise<Way | null>}
 */
export async function signalingWay(transport, clock) {
  const first = await openOnce(transport, clock);
  // HTTP requests are tried once two WebSockets have failed.
  return first === 'closed' ? openOnce(transport, clock).then((way) => (way === 'closed' ? null : way)) : first;
}

/** @param {Pick<Transport, 'open'>} transport @param {Clock} clock @returns {Promise<Way | 'closed' | null>} null at the time limit */
function openOnce(transport, clock) {
  return new Promise((resolve) => {
    const socket = transport.open();
    const end = (/** @type {Way | 'closed' | null} */ result) => {
      clock.cancel(timer);
      socket.onopen = socket.onclose = null;
      socket.close();
      resolve(result);
    };
    const timer = clock.after(() => end(null), TIMEOUT_MS);
    socket.onopen = () => end(socket.way);
    socket.onclose = () => end('closed');
  });
}

/**
 * The path that a call would take: UDP before TCP before TLS, and the faster address family.
 * @param {readonly ProbeResult[]} results
 * @returns {ProbeResult | null}
 */
export function bestOf(results) {
  for (const name of ['turn-udp', 'turn-tcp', 'turn-tls']) {
    const open = results.filter((each) => each.ok && each.probe.name === name);
    if (open.length) return open.reduce((one, other) => (other.ms < one.ms ? other : one));
  }
  return null;
}
