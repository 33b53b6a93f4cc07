// Instrumentation that every page gets before its own scripts run: it records peer connections, the time of the first
// remote frame, and each text of the status line. It changes nothing that the page can observe.
//
// The functions run in the page and must not use anything else of this file.

export function installInstrumentation() {
  const Native = globalThis.RTCPeerConnection;
  if (!Native || globalThis.__observed) return;
  const observed = { connections: [], joinClickedAt: null, connectedAt: null, firstFrameAt: null, statusTexts: [], steps: {} };
  /** The first time of each step of a join. */
  const reached = (step) => { observed.steps[step] ??= performance.now(); };
  Object.defineProperty(globalThis, '__observed', { value: observed });
  globalThis.RTCPeerConnection = class RTCPeerConnection extends Native {
    constructor(...args) {
      super(...args);
      observed.connections.push(this);
      this.addEventListener('connectionstatechange', () => { if (this.connectionState === 'connected') observed.connectedAt ??= performance.now(); });
      this.addEventListener('signalingstatechange', () => reached({ 'have-local-offer': 'offer', stable: 'answer' }[this.signalingState] ?? this.signalingState));
      this.addEventListener('iceconnectionstatechange', () => { if (['connected', 'completed'].includes(this.iceConnectionState)) reached('ICE connected'); });
      this.addEventListener('track', ({ track }) => { if (track.kind === 'video') track.addEventListener('unmute', () => reached('first packet')); });
    }
  };

  addEventListener('DOMContentLoaded', () => {
    const status = document.getElementById('status');
    const record = () => observed.statusTexts.push({ text: status.textContent, at: Date.now() });
    if (status) new MutationObserver(record).observe(status, { childList: true, characterData: true, subtree: true });
  });

  addEventListener('click', (event) => {
    if (!event.target.closest?.('#btnJoin') || observed.joinClickedAt !== null) return;
    observed.joinClickedAt = performance.now();
    let reading = null;
    // Statistics cost time: they are read only once media can flow, and not before the last answer.
    const timer = setInterval(async () => {
      const connection = observed.connections.at(-1);
      if (connection?.connectionState !== 'connected' || reading === connection) return;
      reading = connection;
      for (const stat of (await connection.getStats()).values()) {
        if (stat.type === 'inbound-rtp' && stat.kind === 'video' && stat.framesDecoded > 0 && observed.firstFrameAt === null) {
          observed.firstFrameAt = performance.now();
          clearInterval(timer);
        }
      }
      reading = null;
    }, 10);
  }, true);
}

/** Times the frames of the remote video that are presented from now on. */
export function startFrameTiming() {
  const initial = { longest: 0, last: performance.now(), count: 0 };
  if (globalThis.__frames) return void Object.assign(globalThis.__frames, initial);
  globalThis.__frames = initial;
  const video = document.getElementById('remote');
  const onFrame = () => {
    const [timing, now] = [globalThis.__frames, performance.now()];
    timing.longest = Math.max(timing.longest, now - timing.last);
    timing.last = now;
    timing.count += 1;
    video.requestVideoFrameCallback(onFrame);
  };
  video.requestVideoFrameCallback(onFrame);
}

/** Statistics of the newest connection that is not closed, in names that both browsers share. */
export async function readStats() {
  const connection = globalThis.__observed?.connections.filter((each) => each.connectionState !== 'closed').at(-1);
  if (!connection) return null;
  // A connection that is closed meanwhile may never answer.
  const timeout = new Promise((resolve, reject) => setTimeout(() => reject(new Error('no statistics')), 3000));
  const stats = [...(await Promise.race([connection.getStats(), timeout])).values()];
  const inbound = (kind) => stats.find((stat) => stat.type === 'inbound-rtp' && stat.kind === kind);
  const selectedId = stats.find((stat) => stat.type === 'transport' && stat.selectedCandidatePairId)?.selectedCandidatePairId;
  const pair = stats.find((stat) => stat.id === selectedId) ?? stats.find((stat) => stat.type === 'candidate-pair' && stat.selected);
  const candidate = (id) => {
    const stat = stats.find((each) => each.id === id);
    return stat && { type: stat.candidateType, protocol: stat.protocol, relayProtocol: stat.relayProtocol, address: stat.address };
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
