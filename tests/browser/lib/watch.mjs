// What is put into every page before its own scripts run: it remembers the peer connections the page
// makes, times the first remote frame, and keeps what the status said when. It changes nothing the page can see.
//
// `watch` runs inside the page and must not use anything of this file.

export function watch() {
  const Native = globalThis.RTCPeerConnection;
  if (!Native || globalThis.__seen) return;
  const seen = { connections: [], clickedAt: null, firstFrameAt: null, words: [] };
  Object.defineProperty(globalThis, '__seen', { value: seen });
  globalThis.RTCPeerConnection = class RTCPeerConnection extends Native {
    constructor(...args) {
      super(...args);
      seen.connections.push(this);
    }
  };

  addEventListener('DOMContentLoaded', () => {
    const status = document.getElementById('status');
    const note = () => seen.words.push({ said: status.textContent, at: Date.now() });
    if (status) new MutationObserver(note).observe(status, { childList: true, characterData: true, subtree: true });
  });

  addEventListener('click', (event) => {
    if (!event.target.closest?.('#btnJoin') || seen.clickedAt !== null) return;
    seen.clickedAt = performance.now();
    const timer = setInterval(async () => {
      const connection = seen.connections.at(-1);
      if (!connection) return;
      for (const one of (await connection.getStats()).values()) {
        if (one.type === 'inbound-rtp' && one.kind === 'video' && one.framesDecoded > 0 && seen.firstFrameAt === null) {
          seen.firstFrameAt = performance.now();
          clearInterval(timer);
        }
      }
    }, 10);
  }, true);
}

/** Runs inside the page: times the frames shown of the other person from now on. */
export function timeFrames() {
  const fresh = { longest: 0, last: performance.now(), count: 0 };
  if (globalThis.__frames) return void Object.assign(globalThis.__frames, fresh);
  globalThis.__frames = fresh;
  const video = document.getElementById('remote');
  const frame = () => {
    const [seen, now] = [globalThis.__frames, performance.now()];
    seen.longest = Math.max(seen.longest, now - seen.last);
    seen.last = now;
    seen.count += 1;
    video.requestVideoFrameCallback(frame);
  };
  video.requestVideoFrameCallback(frame);
}

/** Runs inside the page: what the newest open connection has to say, in the words both browsers share. */
export async function report() {
  const connection = globalThis.__seen?.connections.filter((one) => one.connectionState !== 'closed').at(-1);
  if (!connection) return null;
  // A connection closed meanwhile may never answer.
  const late = new Promise((resolve, reject) => setTimeout(() => reject(new Error('no statistics')), 3000));
  const stats = [...(await Promise.race([connection.getStats(), late])).values()];
  const inbound = (kind) => stats.find((one) => one.type === 'inbound-rtp' && one.kind === kind);
  const chosen = stats.find((one) => one.type === 'transport' && one.selectedCandidatePairId)?.selectedCandidatePairId;
  const pair = stats.find((one) => one.id === chosen) ?? stats.find((one) => one.type === 'candidate-pair' && one.selected);
  const candidate = (id) => {
    const one = stats.find((other) => other.id === id);
    return one && { type: one.candidateType, protocol: one.protocol, relayProtocol: one.relayProtocol, address: one.address };
  };
  return {
    connection: connection.connectionState,
    frames: inbound('video')?.framesDecoded ?? 0,
    width: inbound('video')?.frameWidth ?? 0,
    audioEnergy: inbound('audio')?.totalAudioEnergy ?? 0,
    audioEmitted: inbound('audio')?.jitterBufferEmittedCount ?? 0,
    local: pair ? candidate(pair.localCandidateId) : undefined,
    remote: pair ? candidate(pair.remoteCandidateId) : undefined,
  };
}
