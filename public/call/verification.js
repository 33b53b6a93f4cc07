// Verification: both sides agree on a code over the call itself; each commits before either reveals, as in ZRTP (RFC 6189).
//
//   commit HEX   SHA-256 over a nonce and both fingerprints; both sides send it first
//   reveal HEX   the nonce; sent only after the peer's commitment has arrived
//
// Messages that are malformed, repeated or out of order are dropped; nothing is queued. A reveal that does not match its
// commitment, and fingerprints that change later, end in a mismatch. If the channel never opens there is no result.

import { codeOf, commitment, fingerprintsIn, hex } from './verification-code.js';

/**
 * @typedef {{state: 'same', code: number[]} | {state: 'mismatch'}} Verification
 *
 * @typedef {object} VerificationParts
 * @property {Pick<RTCPeerConnection, 'currentLocalDescription' | 'currentRemoteDescription' | 'onsignalingstatechange'>} pc
 * @property {Pick<RTCDataChannel, 'send' | 'onopen' | 'onmessage'>} channel
 * @property {(verification: Verification) => void} emit called at most once with a code and once with a mismatch
 * @property {string} [nonce] 32 bytes in hex
 * @property {import('./verification-code.js').Digest} [digest]
 */

/** Opens the verification channel and runs the exchange. @param {RTCPeerConnection} pc @param {VerificationParts['emit']} emit */
export function startVerification(pc, emit) {
  return new VerificationExchange({ pc, emit, channel: pc.createDataChannel('trust', { negotiated: true, id: 1 }) });
}

export class VerificationExchange {
  /** @type {Required<VerificationParts>} */
  #parts;
  #isOpen = false;
  #ownFingerprints = '';
  #peerFingerprints = '';
  /** The fingerprints we committed to. */
  #committedTo = '';
  #ownCommitment = '';
  #peerCommitment = '';
  #peerNonce = '';
  #revealed = false;
  #failed = false;

  /** @param {VerificationParts} parts */
  constructor(parts) {
    this.#parts = {
      nonce: hex(crypto.getRandomValues(new Uint8Array(32))),
      digest: (bytes) => crypto.subtle.digest('SHA-256', bytes),
      ...parts,
    };
    const { pc, channel } = parts;
    channel.onopen = () => {
      this.#isOpen = true;
      this.#startCommit();
    };
    channel.onmessage = ({ data }) => this.#handle(data);
    // Other fingerprints in a later description would make the code wrong. The channel may open before the browser
    // exposes both descriptions; then the exchange starts here.
    pc.onsignalingstatechange = () => {
      if (!this.#committedTo && this.#isOpen) this.#startCommit();
      else if (this.#committedTo && this.#readFingerprints() !== this.#committedTo) this.#fail();
    };
  }

  /** @param {unknown} data */
  #handle(data) {
    const [, type, value] = typeof data === 'string' && data.length === 71 ? /^(commit|reveal) ([0-9a-f]{64})$/.exec(data) ?? [] : [];
    if (type === 'commit' && !this.#peerCommitment) {
      this.#peerCommitment = value;
      this.#reveal();
    }
    // A reveal before both commitments proves nothing.
    if (type !== 'reveal' || !this.#peerCommitment || !this.#revealed || this.#peerNonce) return;
    this.#peerNonce = value;
    this.#verify().catch(() => {});
  }

  #readFingerprints() {
    this.#ownFingerprints = fingerprintsIn(this.#parts.pc.currentLocalDescription?.sdp);
    this.#peerFingerprints = fingerprintsIn(this.#parts.pc.currentRemoteDescription?.sdp);
    return `${this.#ownFingerprints}|${this.#peerFingerprints}`;
  }

  /** Without a digest there is no code, which is no mismatch. */
  #startCommit() {
    this.#commit().catch(() => {});
  }

  async #commit() {
    if (this.#committedTo) return;
    const fingerprints = this.#readFingerprints();
    if (!this.#ownFingerprints || !this.#peerFingerprints) return;
    this.#committedTo = fingerprints;
    // Our own certificate reflected to us.
    if (this.#ownFingerprints === this.#peerFingerprints) return this.#fail();
    const { digest, nonce, channel } = this.#parts;
    this.#ownCommitment = await commitment(digest, { nonce, prints: this.#ownFingerprints }, this.#peerFingerprints);
    channel.send(`commit ${this.#ownCommitment}`);
    this.#reveal();
  }

  #reveal() {
    if (this.#failed || this.#revealed || !this.#ownCommitment || !this.#peerCommitment) return;
    if (this.#peerCommitment === this.#ownCommitment) return this.#fail();
    this.#revealed = true;
    try {
      this.#parts.channel.send(`reveal ${this.#parts.nonce}`);
    } catch {
      // The channel has closed: no code.
    }
  }

  async #verify() {
    const { digest, nonce } = this.#parts;
    const own = { nonce, prints: this.#ownFingerprints };
    const peer = { nonce: this.#peerNonce, prints: this.#peerFingerprints };
    const matches = (await commitment(digest, peer, own.prints)) === this.#peerCommitment;
    const code = await codeOf(digest, own, peer);
    if (this.#failed) return;
    if (!matches || this.#peerNonce === nonce || this.#readFingerprints() !== this.#committedTo) return this.#fail();
    this.#parts.emit({ state: 'same', code });
  }

  #fail() {
    if (this.#failed) return;
    this.#failed = true;
    this.#parts.emit({ state: 'mismatch' });
  }
}
