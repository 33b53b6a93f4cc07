// Path monitor: whether a connection's path carries media: it stalls before the DTLS handshake, loses large packets, falls
// silent, or lasts.

import { makeVideoStallDetector } from './liveness.js';
import { makeUnreportedVideoDetector } from './rtcp-feedback.js';
import { pathOf, readReport } from './selected-path.js';

/**
 * @import { Clock, Timer } from '../lib/clock.js'
 * @import { Path, Report } from './selected-path.js'
 *
 * @typedef {object} PathMonitorParts
 * @property {RTCPeerConnection} pc
 * @property {boolean} polite
 * @property {() => boolean} reachable whether the peer is connected to the server
 * @property {() => void} stalled called repeatedly while DTLS, or any large packet, does not get through
 * @property {Clock} clock
 */

/** How long the DTLS handshake may take once ICE has connected; the polite side waits for the other's offer. */
const HANDSHAKE_MS = 4000;
const STALLED_MS = { impolite: 4000, polite: 7000 };
/** After this long with media the path works; a later failure has another cause. */
const LASTED_MS = 30_000;

export class PathMonitor {
  /** @type {PathMonitorParts} */
  #parts;
  #closed = false;
  /** @type {Path | null} */
  #path = null;
  /** @type {Timer | undefined} */
  #handshakeTimer;
  #handshakeStalled = false;
  #losesLargePackets = false;
  #silent = false;
  /** Silent although the peer is connected to the server, so that the path is at fault. */
  #pathSilent = false;
  #lasted = false;
  /** @type {Timer | undefined} */
  #lastedTimer;
  #isVideoStalled = makeVideoStallDetector();
  #isVideoUnreported = makeUnreportedVideoDetector();

  /** @param {PathMonitorParts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  isRelayed() {
    return this.#path !== null && this.#path !== 'direct';
  }

  /** The path if it is up and carries no media. @returns {Path | null} */
  silentPath() {
    return this.#handshakeStalled || this.#losesLargePackets || (this.#isConnected() && this.#pathSilent) ? this.#path : null;
  }

  /** Whether it carried media for long. */
  hasLasted() {
    return this.#lasted;
  }

  isSilent() {
    return this.#silent;
  }

  iceStateChanged() {
    const { clock } = this.#parts;
    clock.cancel(this.#handshakeTimer);
    this.#handshakeStalled = false;
    if (this.#awaitsHandshake()) this.#handshakeTimer = clock.after(() => this.#checkHandshake(), HANDSHAKE_MS);
  }

  connectionStateChanged() {
    this.iceStateChanged();
    this.#measureDuration();
  }

  /** @param {Report} report @param {{video: boolean, mayPause: boolean}} peer what it sends */
  update(report, peer) {
    this.#path = pathOf(report) ?? this.#path;
    const losesVideo = [this.#isVideoStalled(report, peer), this.#isVideoUnreported(report)].includes(true);
    // Only for direct paths: the fallback of a relay is TCP, which makes a slow link slower.
    this.#losesLargePackets = this.#isConnected() && losesVideo && this.#path === 'direct';
    if (this.#losesLargePackets) this.#parts.stalled();
  }

  /** @param {boolean} silent */
  setSilent(silent) {
    this.#pathSilent = silent && this.#parts.reachable();
    if (this.#silent === silent) return;
    this.#silent = silent;
    this.#measureDuration();
  }

  close() {
    this.#closed = true;
    this.#parts.clock.cancel(this.#handshakeTimer);
    this.#parts.clock.cancel(this.#lastedTimer);
  }

  #isConnected() {
    return this.#parts.pc.connectionState === 'connected';
  }

  #awaitsHandshake() {
    const { connectionState, iceConnectionState } = this.#parts.pc;
    return !this.#closed && connectionState === 'connecting' && ['connected', 'completed'].includes(iceConnectionState);
  }

  async #checkHandshake() {
    const { pc, polite, clock } = this.#parts;
    const report = await readReport(pc).catch(() => null);
    this.#path = report && pathOf(report);
    if (!this.#awaitsHandshake()) return;
    this.#handshakeStalled = true;
    this.#handshakeTimer = clock.after(() => this.#reportStall(), polite ? STALLED_MS.polite : STALLED_MS.impolite);
  }

  #reportStall() {
    if (this.#closed) return;
    this.#handshakeTimer = this.#parts.clock.after(() => this.#reportStall(), HANDSHAKE_MS);
    this.#parts.stalled();
  }

  #measureDuration() {
    const { clock } = this.#parts;
    clock.cancel(this.#lastedTimer);
    if (this.#isConnected() && !this.#silent) this.#lastedTimer = clock.after(() => { this.#lasted = true; }, LASTED_MS);
  }
}
