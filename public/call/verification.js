// Trust: the two sides agree on a code over the call itself, each committed before either reveals, as ZRTP does.
//
//   commit HEX   SHA-256 over a nonce and both fingerprints; both sides say it first
//   reveal HEX   the nonce; said only when the other's commitment is here
//
// What comes is a stranger's word: what is malformed, repeated or out of order is dropped, nothing is
// queued. A reveal that does not fit its commitment, and keys that change later, end in a mismatch for good.
// Where the channel never opens nothing is said at all.

import { codeOf, commitment, fingerprintsIn, hex } from './verification-code.js';

/**
 * @typedef {{state: 'same', code: number[]} | {state: 'mismatch'}} Trust
 * @typedef {Pick<RTCPeerConnection, 'currentLocalDescription' | 'currentRemoteDescription' | 'onsignalingstatechange'>} Ends
 * @typedef {Pick<RTCDataChannel, 'send' | 'onopen' | 'onmessage'>} Channel
 */

/** Opens the channel of its own: the same number on both sides. @param {RTCPeerConnection} pc */
export function trustChannel(pc) {
  return pc.createDataChannel('trust', { negotiated: true, id: 1 });
}

/**
 * @param {object} parts
 * @param {Ends} parts.pc
 * @param {Channel} parts.channel
 * @param {(trust: Trust) => void} parts.tell at most a code, and at most one mismatch
 * @param {() => string} [parts.newNonce] 32 bytes as hex
 * @param {import('./verification-code.js').Digest} [parts.digest]
 */
export function makeTrust({
  pc, channel, tell,
  newNonce = () => hex(crypto.getRandomValues(new Uint8Array(32))),
  digest = (bytes) => crypto.subtle.digest('SHA-256', bytes),
}) {
  const nonce = newNonce();
  let ours = '';
  let theirs = '';
  let began = '';
  let commitSaid = '';
  let theirCommit = '';
  let theirNonce = '';
  let revealed = false;
  let failed = false;
  let open = false;

  // Where a digest cannot be had there is no code, and nothing to be alarmed about.
  channel.onopen = () => {
    open = true;
    void commit().catch(() => {});
  };
  channel.onmessage = ({ data }) => {
    const [, word, value] = typeof data === 'string' && data.length === 71 ? /^(commit|reveal) ([0-9a-f]{64})$/.exec(data) ?? [] : [];
    if (word === 'commit' && !theirCommit) {
      theirCommit = value;
      reveal();
    }
    // Nothing to check it against, or not asked for yet: not a reveal.
    if (word !== 'reveal' || !theirCommit || !revealed || theirNonce) return;
    theirNonce = value;
    judge().catch(() => {});
  };
  // A later description that names other keys would leave the code standing for a call that is gone.
  // The channel may open before the browser shows both descriptions: then this is where it begins.
  pc.onsignalingstatechange = () => {
    if (!began && open) void commit().catch(() => {});
    else if (began && keys() !== began) fail();
  };

  function keys() {
    ours = fingerprintsIn(pc.currentLocalDescription?.sdp);
    theirs = fingerprintsIn(pc.currentRemoteDescription?.sdp);
    return `${ours}|${theirs}`;
  }

  async function commit() {
    if (began) return;
    const now = keys();
    if (!ours || !theirs) return;
    began = now;
    // Our own key given back to us: a mirror, not a person.
    if (ours === theirs) return fail();
    commitSaid = await commitment(digest, { nonce, prints: ours }, theirs);
    channel.send(`commit ${commitSaid}`);
    reveal();
  }

  function reveal() {
    if (failed || revealed || !commitSaid || !theirCommit) return;
    if (theirCommit === commitSaid) return fail();
    revealed = true;
    try {
      channel.send(`reveal ${nonce}`);
    } catch {
      // The channel has closed meanwhile: no code.
    }
  }

  async function judge() {
    const them = { nonce: theirNonce, prints: theirs };
    const fits = (await commitment(digest, them, ours)) === theirCommit;
    const code = await codeOf(digest, { nonce, prints: ours }, them);
    if (failed) return;
    if (!fits || theirNonce === nonce || keys() !== began) return fail();
    tell({ state: 'same', code });
  }

  function fail() {
    if (failed) return;
    failed = true;
    tell({ state: 'mismatch' });
  }
}
