// Opus: what our encoder is asked for. Their description is read as asking for repair within the packets (in-band FEC)
// and for next to nothing in silence (DTX, RFC 7587 section 6.1); browsers ask for the one and not for the other.
//
// Only what we read is changed, never what we say; whatever they have asked for themselves stands, and a description
// of another shape stays as it is.

const ASKED = ['useinbandfec=1', 'usedtx=1'];

/**
 * @param {string | undefined} sdp
 * @returns {string | undefined}
 */
export function opusAsked(sdp) {
  return sdp?.split(/^(?=m=)/m).map((section) => (section.startsWith('m=audio ') ? asked(section) : section)).join('');
}

/** @param {string} section */
function asked(section) {
  const opus = new Set([...section.matchAll(/^a=rtpmap:(\d+) opus\/48000\b/gim)].map(([, type]) => type));
  return section.replace(/^a=fmtp:(\d+) (.*\w)/gm, (line, type, said) => (opus.has(type) ? [line, ...missing(said)].join(';') : line));
}

/** @param {string} said */
function missing(said) {
  const names = said.split(';').map((each) => each.split('=')[0].trim().toLowerCase());
  return ASKED.filter((each) => !names.includes(each.split('=')[0]));
}
