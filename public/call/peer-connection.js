// A link: one peer connection to the other person, its tracks and its side channel.
//
// It is handed a connection and says what becomes of it; whether a new one is needed is the call's decision.
// The side channel carries three switches (microphone, camera, screen), whether the picture waits because the network
// is weak and whether it is a screen that does, whether a way is avoided that carried nothing, and a goodbye, nothing else; the trust code and the chat have channels of their own.

import { makeTrust, trustChannel } from './verification.js';
import { makeNegotiation } from './negotiation.js';
import { pathOf } from './selected-path.js';
import { makePictureWatch, makePulse, packetsReceived } from './liveness.js';
import { makeRepair } from './ice-restart.js';
import { makeSending } from './sender-control.js';

/** How long a path that answers ICE may take to carry the handshake of DTLS; the polite side waits for the other's offer. */
const HANDSHAKE_MS = 4000;
/** Who carried media for this long on end stood on a path that works; what became of it later is another matter. */
const LASTED_MS = 30_000;
const STALLED_MS = { impolite: 4000, polite: 7000 };

/**
 * @typedef {import('../signaling/client.js').Frame} Frame
 * @typedef {{audio: MediaStreamTrack | null, video: MediaStreamTrack | null}} Tracks
 * @typedef {{mic: boolean, cam: boolean, screen: boolean}} Switches
 *
 * @typedef {object} Link
 * @property {string} id
 * @property {string} peer
 * @property {string} me
 * @property {RTCPeerConnection} pc
 * @property {import('./negotiation.js').Negotiation} negotiation
 * @property {boolean} opener whether we made the first offer
 * @property {() => boolean} connected
 * @property {() => import('./selected-path.js').Path | null} silentPath the path that stands and brings nothing, if it is so
 * @property {() => boolean} wasConnected whether it was connected once
 * @property {() => boolean} lasted whether it carried media for long
 * @property {() => void} open adds our tracks, which makes the first offer
 * @property {(tracks: Tracks) => Promise<void>} carry puts these tracks on the wire in place of those before
 * @property {(switches: Switches) => void} show
 * @property {() => void} asked they want an ICE restart of it
 * @property {(atOnce?: boolean) => void} repairSoon mends what is broken; `atOnce`, also what only may be
 * @property {Promise<void>} gone settled once it is closed: what a browser was asked before then may never be
 * @property {(goodbye?: boolean) => void} close
 */

/**
 * @param {object} parts
 * @param {RTCPeerConnection} parts.pc
 * @param {string} parts.id
 * @param {string} parts.me
 * @param {string} parts.peer
 * @param {boolean} parts.opener
 * @param {boolean} [parts.detour] whether it avoids a way that carried nothing
 * @param {Tracks} parts.tracks
 * @param {Switches} parts.switches
 * @param {MediaStream} parts.stream where their tracks are gathered
 * @param {(frame: Frame) => void} parts.send
 * @param {(event: Frame) => void} parts.tell
 * @param {() => boolean} parts.reachable whether an offer would be heard now
 * @param {() => void} parts.giveUp asked for after several repairs in vain, or where two offers met
 * @param {() => void} [parts.stalled] told where the path stands and DTLS, or any large packet, does not get through
 * @param {import('../lib/clock.js').Clock} parts.clock
 * @returns {Link}
 */
export function makeLink({ pc, id, me, peer, opener, detour = false, tracks, switches, stream, send, tell, reachable, giveUp, stalled = () => {}, clock }) {
  const polite = me < peer;
  /** @type {RTCDataChannel | null} */
  let channel = null;
  let closed = false;
  let theySend = true;
  let theirs = { picture: false, mayRest: false };
  /** It was connected once. */
  let wasConnected = false;
  let broken = false;
  /** @type {import('./selected-path.js').Path | null} */
  let path = null;
  /** @type {any} */
  let handshake;
  let isStalled = false;
  let losesLarge = false;
  /** Nothing comes, and not because the other side is away, which is no fault of the path. */
  let pathSilent = false;
  let lasted = false;
  /** @type {any} */
  let lasting;
  /** @type {MediaStreamTrack | null} their picture, of which nothing has come */
  let pending = null;
  const losesPicture = makePictureWatch();
  /** @type {() => void} */
  let leave = () => {};
  /** @type {Promise<void>} */
  const gone = new Promise((done) => { leave = done; });

  const negotiation = makeNegotiation({
    pc, id, polite, beforeAnswer,
    heardOffer: () => repair.heardOffer(), collided: giveUp,
    // Where only the relay is asked, it may be the relay that does not answer.
    noCandidates: () => { if (!closed && pc.getConfiguration?.().iceTransportPolicy !== 'relay') tell({ type: 'no-candidates' }); },
    send: (frame) => { if (!closed) send({ ...frame, target: peer }); },
    complain: (why) => { if (!closed) tell({ type: 'complaint', why }); },
  });

  const sending = makeSending({ sender: (kind) => transceiver(kind)?.sender, changed: tellPicture });

  const pulse = makePulse({
    clock, read: lookAround, expected: () => theySend,
    tell(state) {
      if (closed) return;
      // Who listens in silence sends little, and a gap in that says nothing of what becomes of ours.
      if (state === 'silent' || broken) sending.excuse();
      pathSilent = state === 'silent' && reachable();
      const changes = broken !== (state === 'silent');
      broken = state === 'silent';
      if (changes) watchSteady();
      if (state === 'silent') repair.broke();
      if (state === 'beating' && pc.connectionState === 'connected') repair.mended();
      tell({ type: 'pulse', state });
    },
  });

  const repair = makeRepair({
    pc, negotiation, polite, reachable, giveUp, clock,
    ask: () => send({ type: 'candidate', candidate: null, call: `${id}/again`, target: peer }),
    silent: () => pulse.state() === 'silent',
  });

  pc.ontrack = ({ track }) => {
    // Chromium plays no sound of a stream whose picture has not come yet, which it never does of who has no camera.
    if (track.kind === 'video' && track.muted) pending = track;
    else gather(track);
    track.onunmute = () => gather(track);
    tell({ type: 'remote', stream });
  };

  /** @param {MediaStreamTrack | null} track */
  function gather(track) {
    if (closed || !track) return;
    if (track === pending) pending = null;
    if (!stream.getTracks().includes(track)) stream.addTrack(track);
  }

  pc.onconnectionstatechange = () => {
    if (closed) return;
    watchHandshake();
    watchSteady();
    if (pc.connectionState === 'connected') {
      wasConnected = true;
      // A path that is back is mended once packets come over it.
      repair.goOn();
      sending.excuse();
      pulse.start();
      const kind = refusedIn(pc);
      if (kind) tell({ type: 'missing', kind });
    }
    if (['disconnected', 'failed'].includes(pc.connectionState)) repair.broke();
    tell({ type: 'link', state: pc.connectionState });
  };

  pc.oniceconnectionstatechange = watchHandshake;

  function watchHandshake() {
    clock.cancel(handshake);
    isStalled = false;
    if (closed || !waitsForKeys()) return;
    handshake = clock.after(async () => {
      const report = /** @type {any} */ (await pc.getStats().catch(() => null));
      path = report && pathOf(report);
      if (closed || !waitsForKeys()) return;
      isStalled = true;
      handshake = clock.after(stallsOn, polite ? STALLED_MS.polite : STALLED_MS.impolite);
    }, HANDSHAKE_MS);
  }

  function stallsOn() {
    if (closed) return;
    handshake = clock.after(stallsOn, HANDSHAKE_MS);
    stalled();
  }

  function watchSteady() {
    clock.cancel(lasting);
    if (pc.connectionState === 'connected' && !broken) lasting = clock.after(() => { lasted = true; }, LASTED_MS);
  }

  const waitsForKeys = () => pc.connectionState === 'connecting' && ['connected', 'completed'].includes(pc.iceConnectionState);

  /** One look serves both: what comes, and what becomes of what we send. */
  async function lookAround() {
    const report = /** @type {any} */ (await pc.getStats());
    if (pending && [...report.values()].some((one) => one.type === 'inbound-rtp' && one.kind === 'video' && one.framesDecoded > 0)) gather(pending);
    path = pathOf(report) ?? path;
    // Of a relay it is not said: TCP, which would be next, makes a thin line thinner.
    losesLarge = pc.connectionState === 'connected' && losesPicture(report, theirs) && path === 'direct';
    if (losesLarge) stalled();
    if (!closed) sending.hear(report);
    return packetsReceived(report);
  }

  /** @param {'audio' | 'video'} kind */
  function transceiver(kind) {
    return pc.getTransceivers().find((each) => each.receiver.track.kind === kind && each.currentDirection !== 'stopped');
  }

  function open() {
    openChannel();
    // Both kinds in both directions even with nothing to send yet: a device or a screen then joins by
    // replaceTrack, without another round of offers.
    for (const kind of /** @type {const} */ (['audio', 'video'])) {
      pc.addTransceiver(tracks[kind] ?? kind, { direction: 'sendrecv', streams: ownStreams() });
    }
  }

  async function beforeAnswer() {
    if (/^m=application /m.test(pc.remoteDescription?.sdp ?? '')) openChannel();
    for (const kind of /** @type {const} */ (['audio', 'video'])) {
      const there = transceiver(kind);
      if (!there) continue;
      there.direction = 'sendrecv';
      const streams = ownStreams();
      if (streams.length) there.sender.setStreams?.(...streams);
      await there.sender.replaceTrack(tracks[kind]);
    }
  }

  function ownStreams() {
    const own = Object.values(tracks).filter((track) => track !== null);
    return own.length ? [new (Object.getPrototypeOf(stream).constructor)(own)] : [];
  }

  function openChannel() {
    channel = pc.createDataChannel('switches', { negotiated: true, id: 0 });
    channel.onopen = () => show(switches);
    channel.onmessage = ({ data }) => hearChannel(data);
    tell({ type: 'chat', channel: pc.createDataChannel('chat', { negotiated: true, id: 2 }), peer });
    makeTrust({ pc, channel: trustChannel(pc), tell: (trust) => tell({ type: 'trust', trust }) });
  }

  /** @param {unknown} data */
  function hearChannel(data) {
    const said = readJson(data);
    if (said?.bye === true) return tell({ type: 'bye' });
    if (!said) return;
    if (said.detour === true) tell({ type: 'detour' });
    theySend = said.mic !== false || said.cam !== false || said.screen === true;
    theirs = { picture: said.cam !== false || said.screen === true || said.weak === true, mayRest: said.weak === true || said.screen === true };
    tell({ type: 'switches', mic: said.mic !== false, cam: said.cam !== false, screen: said.screen === true, weak: said.weak === true, still: said.still === true });
  }

  /** @param {Switches} now */
  function show(now) {
    switches = now;
    const weak = sending.waits() && (now.cam || now.screen);
    // A picture that waits for a better network is none, also for a page that does not know the word for it.
    const none = weak && sending.picture() === 'paused' && { cam: false, screen: false, ...(now.screen && { still: true }) };
    if (channel?.readyState === 'open') channel.send(JSON.stringify({ ...now, ...none, ...(weak && { weak }), ...(detour && { detour }) }));
  }

  function tellPicture() {
    if (closed) return;
    show(switches);
    tell({ type: 'picture', picture: !tracks.video ? 'full' : sending.waits() ? 'paused' : sending.picture() });
  }

  return {
    id, me, peer, pc, negotiation, opener, gone, open, show,
    connected: () => !closed && pc.connectionState === 'connected',
    wasConnected: () => wasConnected,
    lasted: () => lasted,
    silentPath: () => (isStalled || losesLarge || (pc.connectionState === 'connected' && pathSilent) ? path : null),
    async carry(next) {
      tracks = next;
      await Promise.all([transceiver('audio')?.sender.replaceTrack(next.audio),
        transceiver('video')?.sender.replaceTrack(next.video)]);
      await sending.dress();
      tellPicture();
    },
    asked: repair.asked,
    repairSoon: (atOnce = false) => repair.soon(atOnce),
    close(goodbye = false) {
      if (goodbye && channel?.readyState === 'open') channel.send('{"bye":true}');
      closed = true;
      leave();
      repair.stop();
      pulse.stop();
      clock.cancel(handshake);
      clock.cancel(lasting);
      // The goodbye needs a moment on the wire before the connection under it goes.
      if (goodbye && channel?.readyState === 'open') clock.after(() => pc.close(), 150);
      else pc.close();
    },
  };
}

/** What one side has refused for want of a common format. @param {RTCPeerConnection} pc */
function refusedIn({ localDescription, remoteDescription }) {
  return /** @type {const} */ (['audio', 'video']).find((kind) => [localDescription, remoteDescription].some((one) => one?.type === 'answer' && new RegExp(`^m=${kind} 0 `, 'm').test(one.sdp)));
}

/**
 * @param {unknown} data
 * @returns {Record<string, unknown> | null}
 */
function readJson(data) {
  try {
    const said = JSON.parse(String(data));
    return typeof said === 'object' ? said : null;
  } catch {
    return null;
  }
}
