// Fakes: a clock that the test advances, a WebSocket and an RTCPeerConnection.

import { nextTask } from '../../../public/lib/clock.js';

export function makeClock() {
  let time = 0;
  let timers = [];
  return {
    after(fn, ms) {
      const timer = { fn, at: time + ms };
      timers.push(timer);
      return timer;
    },
    cancel(timer) {
      timers = timers.filter((each) => each !== timer);
    },
    now: () => time,
    async advance(ms) {
      const end = time + ms;
      await settle();
      for (;;) {
        const next = timers.filter((each) => each.at <= end).sort((a, b) => a.at - b.at)[0];
        if (!next) break;
        time = next.at;
        timers = timers.filter((each) => each !== next);
        next.fn();
        await settle();
      }
      time = end;
    },
  };
}

/** Runs all pending microtasks, and what follows in tasks of its own. */
export async function settle() {
  for (let tasks = 0; tasks < 3; tasks += 1) {
    for (let i = 0; i < 30; i += 1) await Promise.resolve();
    await nextTask();
  }
}

export class FakeSocket {
  readyState = 0;
  sent = [];
  closedWith = null;

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close(code) {
    this.closedWith = code ?? 1005;
    this.readyState = 3;
  }

  opens() {
    this.readyState = 1;
    this.onopen?.({});
  }

  receives(frame) {
    this.onmessage?.({ data: typeof frame === 'string' ? frame : JSON.stringify(frame) });
  }

  drops(code = 1006, wasClean = false) {
    this.readyState = 3;
    this.onclose?.({ code, wasClean });
  }

  ofType(type) {
    return this.sent.filter((frame) => frame.type === type);
  }
}

/** The part of an RTCPeerConnection that the call uses: states and descriptions. */
export class FakeConnection {
  static count = 0;
  signalingState = 'stable';
  connectionState = 'new';
  localDescription = null;
  remoteDescription = null;
  currentLocalDescription = null;
  currentRemoteDescription = null;
  candidates = [];
  ids = new Set();
  transceivers = [];
  restarts = 0;
  /** Whether the test expects a rollback of the local offer. */
  allowsRollback = false;
  /** The audio section of its own descriptions. */
  audioLines = '';
  /** Whether it sets only a description that it has created itself. */
  refusesChanges = false;
  /** Remote offers applied. */
  appliedOffers = 0;
  packets = 0;
  iceConnectionState = 'new';
  /** Candidate types of the selected pair, local and remote. */
  pair = null;
  /** The receiver's report on outgoing video: `[sent, lost, fraction, round trip]`. */
  reported = null;
  closed = false;
  /** Remote descriptions are applied after this promise, and never after close. */
  busy = Promise.resolve();

  /** @param {string} origin name in the `o=` line, e.g. `mozilla` */
  constructor(config, origin = '-') {
    this.config = config;
    this.origin = origin;
    this.name = `pc${(FakeConnection.count += 1)}`;
  }

  addTransceiver(track, init) {
    const kind = typeof track === 'string' ? track : track.kind;
    const transceiver = { receiver: { track: { kind } }, direction: init.direction, streams: init.streams, currentDirection: null,
      sender: { track: typeof track === 'string' ? null : track, async replaceTrack(next) { this.track = next; }, setStreams() {} } };
    this.transceivers.push(transceiver);
    queueMicrotask(() => this.onnegotiationneeded?.());
    return transceiver;
  }

  getTransceivers() {
    return this.transceivers;
  }

  /** `channel` is the control channel. */
  createDataChannel(label, { id } = {}) {
    if (this.ids.has(id)) throw new Error(`channel ${id} already exists`);
    this.ids.add(id);
    const channel = { readyState: 'connecting', send() {} };
    if (label === 'switches') this.channel = channel;
    return channel;
  }

  /** Counts the offers, as the version in the `o=` line. */
  #offers = 0;

  #created(type) {
    const setup = type === 'offer' ? 'actpass' : 'active';
    const channels = this.ids.size ? 'm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n' : '';
    return { type, sdp: `v=0\r\no=${this.origin} ${this.#offers}\r\ns=${this.name}\r\na=setup:${setup}\r\na=ice-ufrag:${this.name}-${this.restarts}\r\n${this.audioLines}${channels}` };
  }

  async createOffer() {
    this.#offers += 1;
    return this.#created('offer');
  }

  async createAnswer() {
    return this.#created('answer');
  }

  async setLocalDescription(given) {
    await Promise.resolve();
    const type = this.signalingState === 'have-remote-offer' ? 'answer' : 'offer';
    if (given && given.type !== type) throw new Error(`no ${given.type} in ${this.signalingState}`);
    if (given && this.refusesChanges && given.sdp !== this.#created(type).sdp) throw new Error('changed description');
    this.localDescription = given ?? this.#created(type);
    this.signalingState = type === 'offer' ? 'have-local-offer' : 'stable';
    if (type === 'answer') this.#applyDescriptions();
  }

  async setRemoteDescription(description) {
    await this.busy;
    if (this.closed) await new Promise(() => {});
    if (description.type === 'offer' && this.signalingState === 'have-local-offer' && !this.allowsRollback) throw new Error('the local offer would be rolled back');
    if (/broken/.test(description.sdp)) throw new Error('broken description');
    if (description.type === 'answer' && this.signalingState !== 'have-local-offer') throw new Error('no offer to answer');
    this.remoteDescription = description;
    this.signalingState = description.type === 'offer' ? 'have-remote-offer' : 'stable';
    if (description.type === 'offer') this.appliedOffers += 1;
    if (description.type === 'answer') this.#applyDescriptions();
  }

  #applyDescriptions() {
    this.currentLocalDescription = this.localDescription;
    this.currentRemoteDescription = this.remoteDescription;
  }

  async addIceCandidate(candidate) {
    if (!this.remoteDescription) throw new Error('too early');
    this.candidates.push(candidate);
  }

  restartIce() {
    this.restarts += 1;
    queueMicrotask(() => this.onnegotiationneeded?.());
  }

  async getStats() {
    const [packetsSent, packetsLost, fractionLost, roundTripTime] = this.reported ?? [];
    const [local, remote] = this.pair ?? [];
    return new Map(Object.entries({
      ...(this.pair && { transport: { type: 'transport', selectedCandidatePairId: 'pair' },
        pair: { type: 'candidate-pair', id: 'pair', localCandidateId: 'local', remoteCandidateId: 'remote' },
        local: { type: 'local-candidate', candidateType: local, relayProtocol: 'udp' }, remote: { type: 'remote-candidate', candidateType: remote } }),
      in: { type: 'inbound-rtp', packetsReceived: this.packets },
      ...(this.reported && { out: { type: 'outbound-rtp', id: 'out', kind: 'video', packetsSent },
        report: { type: 'remote-inbound-rtp', id: 'report', localId: 'out', kind: 'video', timestamp: packetsSent, packetsLost, fractionLost, roundTripTime } }),
    }));
  }

  setConfiguration(config) {
    this.config = config;
  }

  /** ICE is connected, DTLS is not. */
  connectIce() {
    this.iceConnectionState = 'connected';
    this.connectionState = 'connecting';
    this.oniceconnectionstatechange?.();
  }

  setConnectionState(state) {
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }

  close() {
    this.closed = true;
    this.signalingState = 'closed';
  }
}
