// Probes: whether one way to the relay is open, told by an allocation that comes about on it or does not.
//
// The browser does the asking: a peer connection that may only relay, with one URL, gathers candidates.

const PATIENCE_MS = 10_000;

/**
 * @typedef {object} Probe one line of /test.json
 * @property {'turn-udp' | 'turn-tcp' | 'turn-tls'} name
 * @property {'ipv4' | 'ipv6' | 'any'} family any: whichever the name leads to
 * @property {number} port
 * @property {string[]} urls
 *
 * @typedef {{username: string, credential: string}} Credential
 * @typedef {{probe: Probe, ok: boolean, ms: number, code: number, tried?: boolean}} Reach code: the relay's refusal; 0 where
 *   none came; `tried`: false where the browser refused to
 * @typedef {(configuration: RTCConfiguration) => RTCPeerConnection} NewPeer
 * @typedef {{newPeer: NewPeer, clock: import('../lib/clock.js').Clock, now: () => number}} Edge
 */

/**
 * @param {Probe} probe
 * @param {Credential} credential
 * @returns {RTCConfiguration} of a connection that has this way and no other
 */
export function onlyBy(probe, { username, credential }) {
  return { iceServers: [{ urls: probe.urls, username, credential }], iceTransportPolicy: 'relay' };
}

/**
 * @param {Probe} probe
 * @param {Credential} credential
 * @param {Edge} edge
 * @returns {Promise<Reach>}
 */
export async function reach(probe, credential, { newPeer, clock, now }) {
  const began = now();
  let code = 0;
  let tried = /** @type {boolean} */ (true);
  /** @type {RTCPeerConnection | null} */
  let peer = null;
  /** @type {import('../lib/clock.js').Timer | undefined} */
  let timer;
  const ok = await new Promise((resolve) => {
    try {
      const made = peer = newPeer(onlyBy(probe, credential));
      timer = clock.after(() => resolve(false), PATIENCE_MS);
      made.onicecandidate = ({ candidate }) => {
        if (candidate === null) resolve(false);
        else if (/ typ relay/.test(candidate.candidate)) resolve(true);
      };
      // 701 is the browser's own, for a server that does not answer (W3C WebRTC §4.8.3).
      made.onicecandidateerror = ({ errorCode }) => { if (errorCode < 700) code = errorCode; };
      made.createDataChannel('probe');
      made.setLocalDescription().catch(() => resolve(false));
    } catch {
      tried = false;
      resolve(false);
    }
  });
  clock.cancel(timer);
  // Gives the allocation back.
  /** @type {RTCPeerConnection | null} */ (peer)?.close();
  return { probe, ok, ms: now() - began, code: ok ? 0 : code, ...(tried ? {} : { tried }) };
}

/**
 * Whether the browser gathers anything at all, with no server to ask: then a setting, an extension or a proxy forbids it.
 * @param {Pick<Edge, 'newPeer' | 'clock'>} edge
 * @returns {Promise<boolean>}
 */
export async function gathers({ newPeer, clock }) {
  /** @type {RTCPeerConnection | null} */
  let peer = null;
  /** @type {import('../lib/clock.js').Timer | undefined} */
  let timer;
  const found = await new Promise((resolve) => {
    try {
      const made = peer = newPeer({});
      timer = clock.after(() => resolve(false), PATIENCE_MS);
      made.onicecandidate = ({ candidate }) => {
        if (candidate?.candidate) resolve(true);
        else if (!candidate) resolve(false);
      };
      made.createDataChannel('probe');
      made.setLocalDescription().catch(() => resolve(false));
    } catch {
      resolve(false);
    }
  });
  clock.cancel(timer);
  /** @type {RTCPeerConnection | null} */ (peer)?.close();
  return found;
}

/**
 * The way a call would take of those that are open: UDP before TCP before TLS, and of its families the faster.
 * @param {readonly Reach[]} reaches
 * @returns {Reach | null}
 */
export function best(reaches) {
  for (const name of ['turn-udp', 'turn-tcp', 'turn-tls']) {
    const open = reaches.filter((each) => each.ok && each.probe.name === name);
    if (open.length) return open.reduce((one, other) => (other.ms < one.ms ? other : one));
  }
  return null;
}
