// Verification code: from two fingerprints and two nonces to four emoji, the same on both sides.
//
// Pure except for the digest, which is WebCrypto's. A side commits to its nonce and both fingerprints, its own first:
// the order identifies the committing side, so that a reflected commitment never matches.
//
// A man in the middle needs two calls with two certificates, so two codes, and has committed to its nonces before it
// learns ours. It cannot search offline: each attempt is a separate call and gives both screens the same four emoji
// with probability 1 in 64^4, about 17 million (24 bits).

/** @typedef {(bytes: Uint8Array<ArrayBuffer>) => Promise<ArrayBuffer>} Digest SHA-256 */
/** @typedef {{nonce: string, prints: string}} Side nonce in hex, fingerprints as from `fingerprintsIn` */

const CONTEXT = 'webrtc-box trust 1';

/**
 * All fingerprints in a description (RFC 8122), normalized and sorted: with a fingerprint added next to the right one,
 * the two sides do not agree.
 * @param {string | undefined} sdp
 * @returns {string} empty without any
 */
export function fingerprintsIn(sdp) {
  const found = [...(sdp ?? '').matchAll(/^a=fingerprint:([\w-]+)[ \t]+([0-9a-f:]+)/gim)];
  const normalized = found.map(([, hash, print]) => `${hash.toLowerCase()} ${print.toUpperCase()}`);
  return [...new Set(normalized)].sort().join('\n');
}

/**
 * @param {Digest} digest
 * @param {Side} from the committing side
 * @param {string} toPrints fingerprints of the receiving side
 * @returns {Promise<string>} hex
 */
export async function commitment(digest, { nonce, prints }, toPrints) {
  return hex(await hash(digest, ['commit', nonce, prints, toPrints]));
}

/**
 * @param {Digest} digest
 * @param {Side} one
 * @param {Side} other in either order
 * @returns {Promise<number[]>} four numbers of 0 to 63
 */
export async function codeOf(digest, one, other) {
  const [low, high] = one.prints < other.prints ? [one, other] : [other, one];
  const [a, b, c] = await hash(digest, ['code', low.prints, high.prints, low.nonce, high.nonce]);
  return [a >> 2, ((a & 3) << 4) | (b >> 4), ((b & 15) << 2) | (c >> 6), c & 63];
}

/** @param {Uint8Array} bytes */
export function hex(bytes) {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * Over JSON, which separates the parts unambiguously.
 * @param {Digest} digest
 * @param {string[]} parts
 */
async function hash(digest, parts) {
  return new Uint8Array(await digest(new TextEncoder().encode(JSON.stringify([CONTEXT, ...parts]))));
}
