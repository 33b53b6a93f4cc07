// Opus SDP: what the encoders of both sides are asked for (RFC 7587 section 6.1), in descriptions of Opus.
//
// A description we receive is read as if the peer asked for what we want to send: forward error correction, and for speech
// discontinuous transmission in silence (FEC and DTX) in mono, for music stereo with a high bitrate. Other parameters that the
// peer has set stay, as does a description of an unexpected shape. Our own descriptions ask for stereo, because Chromium plays
// mono otherwise.

import { MUSIC_BITRATE } from './bitrate-adaptation.js';

const SPEECH = { added: ['useinbandfec=1', 'usedtx=1'], removed: 'stereo' };
const MUSIC = { added: ['useinbandfec=1', 'stereo=1', `maxaveragebitrate=${MUSIC_BITRATE}`], removed: 'usedtx' };
const STEREO = { added: ['stereo=1'], removed: '' };

/**
 * @param {string | undefined} sdp as received
 * @param {boolean} [music] whether we send music
 * @returns {string | undefined}
 */
export function withOpusParameters(sdp, music = false) {
  return changed(sdp, music ? MUSIC : SPEECH);
}

/** @param {string | undefined} sdp our own @returns {string | undefined} */
export function withStereoPlayback(sdp) {
  return changed(sdp, STEREO);
}

/** @param {string | undefined} sdp @param {{added: string[], removed: string}} change */
function changed(sdp, change) {
  return sdp?.split(/^(?=m=)/m).map((section) => (section.startsWith('m=audio ') ? inSection(section, change) : section)).join('');
}

/** @param {string} section @param {{added: string[], removed: string}} change */
function inSection(section, { added, removed }) {
  const opus = new Set([...section.matchAll(/^a=rtpmap:(\d+) opus\/48000\b/gim)].map(([, type]) => type));
  return section.replace(/^a=fmtp:(\d+) (.*\w)/gm, (line, type, text) => {
    if (!opus.has(type)) return line;
    const parameters = String(text).split(';').filter((each) => nameOf(each) !== removed);
    const missing = added.filter((each) => !parameters.some((present) => nameOf(present) === nameOf(each)));
    return `a=fmtp:${type} ${[...parameters, ...missing].join(';')}`;
  });
}

/** @param {string} parameter */
function nameOf(parameter) {
  return parameter.split('=')[0].trim().toLowerCase();
}
