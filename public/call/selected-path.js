// Selected path: from a getStats report to the path the media takes and the quality of the connection.
//
// Pure but for the reading: a report comes in as a map, of Chromium's or Firefox's shape.

/** @typedef {'direct' | 'relay-udp' | 'relay-tcp' | 'relay-tls'} Path */
/** @typedef {'good' | 'fair' | 'poor'} Quality */
/** @typedef {{get(id: string): any, values(): Iterable<any>}} Report */

/**
 * The statistics as a plain map: Chromium creates the objects of its own map again at each read.
 * @param {Pick<RTCPeerConnection, 'getStats'>} pc
 * @returns {Promise<Map<string, any>>}
 */
export async function readReport(pc) {
  return new Map(await pc.getStats());
}

/**
 * The candidate pair that carries media. Chromium names it in the transport; older Firefox has no transport entry and
 * marks the pair itself.
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
 * @returns {Path | null} null while no pair is selected
 */
export function pathOf(report) {
  const pair = selectedPair(report);
  if (!pair) return null;
  const local = report.get(pair.localCandidateId);
  const remote = report.get(pair.remoteCandidateId);
  if (local?.candidateType === 'relay') return `relay-${relayProtocol(local)}`;
  // How the peer reaches its relay is unknown.
  return isRelay(remote, report) ? 'relay-udp' : 'direct';
}

/**
 * A relayed address from which packets arrive before its candidate becomes a peer-reflexive one, in Firefox permanently.
 * The peer's candidate of the same address identifies it. Until that arrives, an address that only our own relayed
 * candidates have is the relay's; on the relay's own machine host candidates have it too.
 * @param {any} remote
 * @param {Report} report
 */
function isRelay(remote, report) {
  if (remote?.candidateType !== 'prflx') return remote?.candidateType === 'relay';
  const address = addressOf(remote);
  if (!address) return false;
  const others = [...report.values()].filter((entry) => entry !== remote && addressOf(entry) === address);
  const signaled = others.filter((entry) => entry.type === 'remote-candidate' && entry.candidateType !== 'prflx');
  const same = signaled.find((entry) => entry.port === remote.port);
  if (same) return same.candidateType === 'relay';
  const local = others.filter((entry) => entry.type === 'local-candidate');
  return local.length > 0 && signaled.length === 0 && local.every((entry) => entry.candidateType === 'relay');
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
  const protocol = candidate.relayProtocol ?? /^turns:/.exec(candidate.url ?? '')?.[0];
  if (protocol === 'tls' || protocol === 'turns:') return 'tls';
  if (protocol === 'tcp' || /transport=tcp/.test(candidate.url ?? '')) return 'tcp';
  return 'udp';
}

/**
 * Whether neither a relay nor a STUN server was reached over UDP. Valid once gathering is complete. A selected pair over
 * TCP alone proves nothing, since Firefox sometimes selects one with UDP open.
 * @param {Report} report
 * @returns {boolean}
 */
export function isUdpBlocked(report) {
  const local = [...report.values()].filter((entry) => entry.type === 'local-candidate');
  const isOpen = local.some((each) => (each.candidateType === 'relay' ? relayProtocol(each) : each.candidateType === 'srflx' && each.protocol) === 'udp');
  return local.some((each) => each.candidateType === 'relay') && !isOpen;
}

/**
 * @typedef {object} Sample one report; rates are since the previous one
 * @property {number} at milliseconds
 * @property {Path | null} path
 * @property {boolean} udpBlocked nothing was reached over UDP
 * @property {number} inBytes
 * @property {number} outBytes
 * @property {number} earlierBytes those of `outBytes` that the browser no longer counts: a new stream counts from zero
 * @property {number} received
 * @property {number} lost
 * @property {number | null} rtt milliseconds
 * @property {string} video such as `1280×720 · VP8`
 * @property {string} audio such as `opus`
 * @property {number | null} fps received frames per second; null while no video arrives
 * @property {number} frames decoded
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
    at, path: pathOf(report), udpBlocked: isUdpBlocked(report), inBytes: 0, outBytes: 0, earlierBytes: before?.earlierBytes ?? 0, received: 0, lost: 0,
    rtt: typeof pair?.currentRoundTripTime === 'number' ? pair.currentRoundTripTime * 1000 : null,
    video: '', audio: '', fps: null, frames: 0, inRate: 0, outRate: 0, lossRate: 0,
  };
  for (const entry of report.values()) addEntry(sample, entry, report);
  if (before) sample.earlierBytes += Math.max(0, before.outBytes - sample.outBytes - before.earlierBytes);
  sample.outBytes += sample.earlierBytes;
  if (!before || at <= before.at) return sample;
  const seconds = (at - before.at) / 1000;
  sample.inRate = Math.max(0, ((sample.inBytes - before.inBytes) * 8) / seconds);
  sample.outRate = Math.max(0, ((sample.outBytes - before.outBytes) * 8) / seconds);
  if (sample.video && sample.fps === null) sample.fps = Math.max(0, (sample.frames - before.frames) / seconds);
  const lost = Math.max(0, sample.lost - before.lost);
  const received = Math.max(0, sample.received - before.received);
  sample.lossRate = lost + received > 0 ? lost / (lost + received) : 0;
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
 * The cause where the quality is not good.
 * @param {Pick<Sample, 'rtt' | 'lossRate'>} sample
 * @returns {'loss' | 'delay' | null}
 */
export function qualityReason({ rtt, lossRate }) {
  if (lossRate > 0.02) return 'loss';
  return (rtt ?? 0) > 300 ? 'delay' : null;
}
