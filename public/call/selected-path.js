// What getStats says, in two words: which way the media goes, and how well.
//
// Pure: a report comes in as a map, Chromium-shaped or Firefox-shaped; nothing is asked again.

/** @typedef {'direct' | 'relay-udp' | 'relay-tcp' | 'relay-tls'} Path */
/** @typedef {'good' | 'fair' | 'poor'} Quality */
/** @typedef {{get(id: string): any, values(): Iterable<any>}} Report */

/**
 * The candidate pair that carries media now. Chromium names it in the transport; older Firefox has no
 * transport entry and marks the pair itself.
 * @param {Report} report
 * @returns {any}
 */
export function selectedPair(report) {
  const entries = [...report.values()];
  for (const entry of entries) {
    if (entry.type !== 'transport' || !entry.selectedCandidatePairId) continue;
    const pair = report.get(entry.selectedCandidatePairId);
    if (pair) return pair;
  }
  const pairs = entries.filter((entry) => entry.type === 'candidate-pair');
  return (
    pairs.find((pair) => pair.selected) ??
    pairs.find((pair) => pair.nominated && pair.state === 'succeeded') ??
    null
  );
}

/**
 * @param {Report} report
 * @returns {Path | null} null while no pair is chosen
 */
export function pathOf(report) {
  const pair = selectedPair(report);
  if (!pair) return null;
  const local = report.get(pair.localCandidateId);
  const remote = report.get(pair.remoteCandidateId);
  if (local?.candidateType === 'relay') return `relay-${relayProtocol(local)}`;
  // How the other side reaches its relay is not ours to know.
  return isRelay(remote, report) ? 'relay-udp' : 'direct';
}

/**
 * A relayed address that is heard from before it was told of goes by the name of peer reflexive, in Firefox
 * for good. It is known by the candidate that tells of it. Until one of theirs comes, the box's address is
 * enough, which our relayed candidates have too; but not on the box itself, where everybody has it.
 * @param {any} remote
 * @param {Report} report
 */
function isRelay(remote, report) {
  if (remote?.candidateType !== 'prflx') return remote?.candidateType === 'relay';
  const address = addressOf(remote);
  if (!address) return false;
  const others = [...report.values()].filter((entry) => entry !== remote && addressOf(entry) === address);
  const told = others.filter((entry) => entry.type === 'remote-candidate' && entry.candidateType !== 'prflx');
  const same = told.find((entry) => entry.port === remote.port);
  if (same) return same.candidateType === 'relay';
  const ours = others.filter((entry) => entry.type === 'local-candidate');
  return ours.length > 0 && [...told, ...ours].every((entry) => entry.type === 'local-candidate' && entry.candidateType === 'relay');
}

/** @param {any} candidate */
function addressOf(candidate) {
  return candidate.address || candidate.ip || '';
}

/**
 * @param {any} candidate
 * @returns {'udp' | 'tcp' | 'tls'}
 */
function relayProtocol(candidate) {
  const said = candidate.relayProtocol ?? /^turns:/.exec(candidate.url ?? '')?.[0];
  if (said === 'tls' || said === 'turns:') return 'tls';
  if (said === 'tcp' || /transport=tcp/.test(candidate.url ?? '')) return 'tcp';
  return 'udp';
}

/**
 * Whether no answer came by UDP: neither a relay nor a STUN server was reached by it. Known once all candidates are
 * gathered; a pair over a stream alone says nothing, since Firefox now and then takes one with UDP open.
 * @param {Report} report
 * @returns {boolean}
 */
export function udpIsShut(report) {
  const ours = [...report.values()].filter((entry) => entry.type === 'local-candidate');
  const isOpen = ours.some((one) => (one.candidateType === 'relay' ? relayProtocol(one) : one.candidateType === 'srflx' && one.protocol) === 'udp');
  return ours.some((one) => one.candidateType === 'relay') && !isOpen;
}

/**
 * @typedef {object} Sample one reading; rates are since the reading before
 * @property {number} at milliseconds
 * @property {Path | null} path
 * @property {boolean} udpShut nothing was reached by UDP
 * @property {number} inBytes
 * @property {number} outBytes
 * @property {number} unsaid bytes among them that the browser says no more: a stream that begins anew counts from nothing
 * @property {number} received
 * @property {number} lost
 * @property {number | null} rtt milliseconds
 * @property {string} video such as `1280×720 · VP8`
 * @property {string} audio such as `opus`
 * @property {number | null} fps frames of theirs a second; null while no picture comes
 * @property {number} frames
 * @property {number} inRate bits per second
 * @property {number} outRate bits per second
 * @property {number} lossRate share of packets, 0 to 1
 */

/**
 * @param {Report} report
 * @param {number} at
 * @param {Sample} [before]
 * @returns {Sample}
 */
export function sampleOf(report, at, before) {
  const pair = selectedPair(report);
  /** @type {Sample} */
  const sample = {
    at, path: pathOf(report), udpShut: udpIsShut(report), inBytes: 0, outBytes: 0, unsaid: before?.unsaid ?? 0, received: 0, lost: 0,
    rtt: typeof pair?.currentRoundTripTime === 'number' ? pair.currentRoundTripTime * 1000 : null,
    video: '', audio: '', fps: null, frames: 0, inRate: 0, outRate: 0, lossRate: 0,
  };
  for (const entry of report.values()) addEntry(sample, entry, report);
  if (before) sample.unsaid += Math.max(0, before.outBytes - sample.outBytes - before.unsaid);
  sample.outBytes += sample.unsaid;
  if (!before || at <= before.at) return sample;
  const seconds = (at - before.at) / 1000;
  sample.inRate = Math.max(0, ((sample.inBytes - before.inBytes) * 8) / seconds);
  sample.outRate = Math.max(0, ((sample.outBytes - before.outBytes) * 8) / seconds);
  if (sample.video && sample.fps === null) sample.fps = Math.max(0, (sample.frames - before.frames) / seconds);
  const lost = Math.max(0, sample.lost - before.lost);
  const came = Math.max(0, sample.received - before.received);
  sample.lossRate = lost + came > 0 ? lost / (lost + came) : 0;
  return sample;
}

/**
 * @param {Sample} sample
 * @param {any} entry
 * @param {Report} report
 */
function addEntry(sample, entry, report) {
  if (entry.type === 'outbound-rtp') sample.outBytes += entry.bytesSent ?? 0;
  if (entry.type === 'remote-inbound-rtp' && sample.rtt === null && typeof entry.roundTripTime === 'number') {
    sample.rtt = entry.roundTripTime * 1000;
  }
  if (entry.type !== 'inbound-rtp') return;
  sample.inBytes += entry.bytesReceived ?? 0;
  sample.received += entry.packetsReceived ?? 0;
  sample.lost += entry.packetsLost ?? 0;
  const codec = String(report.get(entry.codecId)?.mimeType ?? '').split('/')[1] ?? '';
  if (entry.kind === 'audio') sample.audio = codec;
  if (entry.kind !== 'video' || !entry.frameWidth) return;
  sample.video = [`${entry.frameWidth}×${entry.frameHeight}`, codec].filter(Boolean).join(' · ');
  sample.frames = entry.framesDecoded ?? 0;
  if (typeof entry.framesPerSecond === 'number') sample.fps = entry.framesPerSecond;
}

/**
 * @param {Pick<Sample, 'rtt' | 'lossRate'>} sample
 * @returns {Quality}
 */
export function qualityOf({ rtt, lossRate }) {
  if (lossRate > 0.08 || (rtt ?? 0) > 600) return 'poor';
  if (lossRate > 0.02 || (rtt ?? 0) > 300) return 'fair';
  return 'good';
}

/**
 * A line that does not carry our picture is not a good one, however well the rest arrives.
 * @param {Quality} quality
 * @param {import('./sender-control.js').Picture} picture
 * @returns {Quality}
 */
export function qualityWith(quality, picture) {
  if (picture === 'paused') return 'poor';
  return picture === 'reduced' && quality === 'good' ? 'fair' : quality;
}

/**
 * What is to blame where the quality is not good.
 * @param {Pick<Sample, 'rtt' | 'lossRate'>} sample
 * @returns {'loss' | 'delay' | null}
 */
export function reasonOf({ rtt, lossRate }) {
  if (lossRate > 0.02) return 'loss';
  return (rtt ?? 0) > 300 ? 'delay' : null;
}
