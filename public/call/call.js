// The call: at most one link to the one other person, from who is there to whose picture is seen.
//
// The only file that makes an RTCPeerConnection. It hears who is in the room and decides when a link is
// kept, mended or replaced; it knows neither the socket nor the page.

import { makePathFallback } from './path-fallback.js';
import { makeLink } from './peer-connection.js';
import { readCall } from './negotiation.js';
import { fingerprintsIn } from './verification-code.js';

/**
 * @typedef {import('../signaling/client.js').Frame} Frame
 * @typedef {import('./peer-connection.js').Tracks} Tracks
 * @typedef {import('./peer-connection.js').Switches} Switches
 *
 * What comes out: `link` with `state` (an RTCPeerConnectionState, or `none`), `trust`, `remote` with `stream`,
 * `pulse` with `state` (whether their packets come), `picture` (whether ours is sent `full`, `reduced` or is
 * `paused` for the network's sake), `switches` of the other side, `chat` with a `channel` to the
 * `peer`, `bye`, `unable` where the browser makes no connection, `no-candidates` where it finds no candidate,
 * `missing` with a `kind` for which there is no common format, `detour` where a way that carried nothing is avoided from
 * here on, and `complaint` with `why` for the engineer.
 *
 * @typedef {object} Call
 * @property {(me: string, peer: string | null, weOffer: boolean) => void} meet who is there, as the server says
 * @property {(frame: Frame) => Promise<void>} hear an offer, answer or candidate
 * @property {(servers: RTCIceServer[]) => void} useIceServers
 * @property {(tracks: Tracks) => Promise<void>} carry
 * @property {(switches: Switches) => void} show
 * @property {(atOnce?: boolean) => void} repairSoon
 * @property {() => boolean} connected
 * @property {(goodbye?: boolean) => void} hangUp
 * @property {() => RTCPeerConnection | null} connection
 */

/**
 * @param {object} parts
 * @param {(frame: Frame) => void} parts.send
 * @param {(event: Frame) => void} parts.tell
 * @param {import('../lib/clock.js').Clock} parts.clock
 * @param {() => boolean} [parts.reachable] whether the other side would hear an offer now
 * @param {boolean} [parts.relayOnly]
 * @param {() => string} [parts.newId]
 * @param {(config: RTCConfiguration) => RTCPeerConnection} [parts.connect]
 * @param {() => MediaStream} [parts.newStream]
 * @returns {Call}
 */
export function makeCall({
  send, tell, clock, reachable = () => true, relayOnly = false,
  newId = () => crypto.randomUUID(),
  connect = (config) => new RTCPeerConnection(config),
  newStream = () => new MediaStream(),
}) {
  /** @type {import('./peer-connection.js').Link | null} */
  let link = null;
  let me = '';
  /** @type {string | null} */
  let peer = null;
  /** @type {RTCIceServer[]} */
  let iceServers = [];
  /** @type {Tracks} */
  let tracks = { audio: null, video: null };
  /** @type {Switches} */
  let switches = { mic: true, cam: true, screen: false };
  /** Frames are heard one after the other: each may take several steps. */
  let hearing = Promise.resolve();

  const fallback = makePathFallback();

  /** @returns {RTCConfiguration} */
  function config() {
    const { iceTransportPolicy, ...rest } = fallback.config(iceServers);
    return { ...rest, bundlePolicy: 'max-bundle', iceTransportPolicy: relayOnly ? 'relay' : iceTransportPolicy };
  }

  /**
   * @param {string} to
   * @param {string} id
   * @param {boolean} opener
   */
  function newLink(to, id, opener) {
    const old = link;
    const silent = old?.silentPath() ?? null;
    // Of one that came to nothing, since two offers met, there is nothing to learn.
    if ((silent || old?.wasConnected()) && fallback.recordSilent(silent, iceServers, old?.lasted())) tell({ type: 'detour' });
    const pc = newConnection();
    if (!pc) return null;
    const mine = (link = makeLink({
      pc, id, me, peer: to, opener, detour: fallback.isActive(), tracks, switches, stream: newStream(), send, clock, reachable,
      tell: (event) => { if (mine === link) tell(event); },
      giveUp: () => { if (mine === link) openLink(to); },
      stalled: () => { if (mine === link && reachable() && fallback.hasFallback(mine.silentPath(), iceServers)) openLink(to); },
    }));
    // Told while the old one is still there: with it goes what was last seen of them.
    tell({ type: 'link', state: 'new' });
    old?.close();
    return mine;
  }

  /** Null where this browser makes none, whatever the servers: a setting or an extension may forbid it. */
  function newConnection() {
    const iceTransportPolicy = relayOnly ? 'relay' : 'all';
    for (const each of [config(), { ...config(), iceServers: [], iceTransportPolicy }]) {
      try {
        return connect(/** @type {RTCConfiguration} */ (each));
      } catch (why) {
        tell({ type: 'complaint', why });
      }
    }
    tell({ type: 'unable' });
    return null;
  }

  /** @param {string} to */
  function openLink(to) {
    newLink(to, newId(), true)?.open();
  }

  /** @param {Frame} frame */
  async function hear(frame) {
    if (frame.from !== peer) return;
    const { id, round, again } = readCall(frame.call);
    const from = /** @type {string} */ (peer);
    const later = again || (frame.type === 'offer' && round > 0);
    if (link && (id === '' ? waitsFor(link, frame) : link.id === id)) {
      // The answer to our first offer was lost, and they have gone on from there: what we have cannot follow.
      if (later && !link.negotiation.answered()) return openLink(from);
      return again ? link.asked() : heardBy(link, frame);
    }
    // They speak of a connection we have lost: with none of our own in the making, offer them another.
    if (later) return void (link || openLink(from));
    if (frame.type !== 'offer') return;
    if (link && stands(link)) return;
    const theirs = newLink(from, id, false);
    if (theirs) await heardBy(theirs, frame);
  }

  /** A client that names no connection has one at a time: another one has other keys. @param {import('./peer-connection.js').Link} link @param {Frame} frame */
  function waitsFor(link, { type, sdp }) {
    const keys = link.pc.remoteDescription && fingerprintsIn(link.pc.remoteDescription.sdp);
    return type !== 'offer' || keys === fingerprintsIn(String(sdp?.sdp));
  }

  /** A connection that is closed meanwhile never answers, and the next frames must not wait for it.
   *  @param {import('./peer-connection.js').Link} by @param {Frame} frame */
  function heardBy(by, frame) {
    return Promise.race([by.negotiation.hear(frame), by.gone]);
  }

  /**
   * Two first offers met: the one of the greater id stands.
   * @param {import('./peer-connection.js').Link} ours
   */
  function stands(ours) {
    return ours.opener && ours.peer === peer && !ours.negotiation.answered() && ours.me > ours.peer;
  }

  function drop(goodbye = false) {
    link?.close(goodbye);
    link = null;
    tell({ type: 'link', state: 'none' });
  }

  return {
    meet(myId, theirId, weOffer) {
      const same = link?.me === myId && link.peer === theirId;
      me = myId;
      // Nobody there, says a server that may just have been restarted: a connection that runs is proof enough.
      if (theirId === null && link?.connected()) return;
      if (peer !== theirId) fallback.forget();
      peer = theirId;
      if (same) return void link?.repairSoon();
      if (link) drop();
      if (theirId !== null && weOffer) openLink(theirId);
    },
    hear(frame) {
      hearing = hearing.then(() => hear(frame)).catch((why) => tell({ type: 'complaint', why }));
      return hearing;
    },
    useIceServers(servers) {
      if (!Array.isArray(servers)) return;
      iceServers = servers;
      try {
        link?.pc.setConfiguration(config());
      } catch (why) {
        tell({ type: 'complaint', why });
      }
    },
    async carry(next) {
      tracks = next;
      await link?.carry(next);
    },
    show(now) {
      switches = now;
      link?.show(now);
    },
    repairSoon(atOnce) {
      // The browser closes connections of a page that it puts aside.
      if (link?.pc.signalingState === 'closed') openLink(link.peer);
      else link?.repairSoon(atOnce);
    },
    connected: () => link?.connected() ?? false,
    hangUp(goodbye = false) {
      peer = null;
      fallback.forget();
      if (link) drop(goodbye);
    },
    connection: () => link?.pc ?? null,
  };
}
