// The trust code: from two fingerprints and two nonces to four pictures, the same on both sides.
//
// Pure but for the digest, which is WebCrypto's. What a side commits to is its nonce with both fingerprints,
// its own first: who commits is part of what is hashed, and a commitment sent back fits nobody.
//
// A man in the middle needs two calls with two keys, so two codes, and has committed to his nonces before
// he learns ours. He cannot search: each try is a call of its own and ends in the same four pictures on
// both screens with a chance of 1 in 64^4, about 17 million (24 bits).

/** @typedef {(bytes: Uint8Array<ArrayBuffer>) => Promise<ArrayBuffer>} Digest SHA-256 */
/** @typedef {{nonce: string, prints: string}} Side nonce in hex, fingerprints as `fingerprintsIn` gives them */

const NAME = 'webrtc-box trust 1';

/**
 * All fingerprints a description names (RFC 8122), in one spelling and order: where somebody has slipped
 * another one in beside the right one, the two sides do not agree.
 * @param {string | undefined} sdp
 * @returns {string} empty where there is none
 */
export function fingerprintsIn(sdp) {
  const found = [...(sdp ?? '').matchAll(/^a=fingerprint:([\w-]+)[ \t]+([0-9a-f:]+)/gim)];
  const spelled = found.map(([, hash, print]) => `${hash.toLowerCase()} ${print.toUpperCase()}`);
  return [...new Set(spelled)].sort().join('\n');
}

/**
 * @param {Digest} digest
 * @param {Side} from whose commitment it is
 * @param {string} toPrints the fingerprints of whom it is for
 * @returns {Promise<string>} hex
 */
export async function commitment(digest, { nonce, prints }, toPrints) {
  return hex(await hashed(digest, ['commit', nonce, prints, toPrints]));
}

/**
 * @param {Digest} digest
 * @param {Side} one
 * @param {Side} other in either order
 * @returns {Promise<number[]>} four numbers of 0 to 63
 */
export async function codeOf(digest, one, other) {
  const [low, high] = one.prints < other.prints ? [one, other] : [other, one];
  const [a, b, c] = await hashed(digest, ['code', low.prints, high.prints, low.nonce, high.nonce]);
  return [a >> 2, ((a & 3) << 4) | (b >> 4), ((b & 15) << 2) | (c >> 6), c & 63];
}

/** @param {Uint8Array} bytes */
export function hex(bytes) {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * As JSON, so that no part can run into the next.
 * @param {Digest} digest
 * @param {string[]} parts
 */
async function hashed(digest, parts) {
  return new Uint8Array(await digest(new TextEncoder().encode(JSON.stringify([NAME, ...parts]))));
}
