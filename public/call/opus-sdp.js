// Opus SDP: asks our encoder for in-band forward error correction and for discontinuous transmission in silence (FEC and
// DTX, RFC 7587 section 6.1), by reading the peer's description as if it asked for them. Browsers ask for FEC only.
//
// Only descriptions we receive are changed, never those we send. Parameters the peer has set itself stay, as does a
// description of an unexpected shape.

const REQUESTED = ['useinbandfec=1', 'usedtx=1'];

/**
 * @param {string | undefined} sdp
 * @returns {string | undefined}
 */
export function withOpusParameters(sdp) {
  return sdp?.split(/^(?=m=)/m).map((section) => (section.startsWith('m=audio ') ? inSection(section) : section)).join('');
}

/** @param {string} section */
function inSection(section) {
  const opus = new Set([...section.matchAll(/^a=rtpmap:(\d+) opus\/48000\b/gim)].map(([, type]) => type));
  return section.replace(/^a=fmtp:(\d+) (.*\w)/gm, (line, type, parameters) => (opus.has(type) ? [line, ...missing(parameters)].join(';') : line));
}

/** @param {string} parameters */
function missing(parameters) {
  const names = parameters.split(';').map((each) => each.split('=')[0].trim().toLowerCase());
  return REQUESTED.filter((each) => !names.includes(each.split('=')[0]));
}
