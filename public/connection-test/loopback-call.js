// The test call: two ends of one connection in this page, relayed by the box, and what passes between them.
//
// What leaves here and arrives here has gone to the box and back once, with one clock at both ends: no echo is
// needed for its delay. Bounded: some seconds, some four megabytes each way.

import { pathOf } from '../call/selected-path.js';
import { onlyBy } from './probes.js';

const OPEN_WITHIN_MS = 15_000;
/** As many packets as a voice has, for three seconds. */
const PINGS = 150;
const PING_EVERY_MS = 20;
const PING_BYTES = 160;
/** What comes later is lost to a call. */
const LATE_MS = 1000;
const LOAD_MS = 3000;
/** The first second is for getting up to speed. */
const WARM_MS = 1000;
const CHUNK = 8 * 1024;
const AHEAD = 256 * 1024;
/** Bits per second at most: more than a call takes, and kind to a mobile plan. */
export const TOP_RATE = 10_000_000;

/**
 * @typedef {object} Figures
 * @property {import('../call/selected-path.js').Path | null} path
 * @property {number} rtt milliseconds to the box and back, the median
 * @property {number} jitter milliseconds between one delay and the next, the mean
 * @property {number} loss share of packets, 0 to 1
 * @property {number} sent how many packets that was measured with
 * @property {number} rate bits per second, at most TOP_RATE
 */

/**
 * @param {import('./probes.js').Probe} probe
 * @param {import('./probes.js').Credential} credential
 * @param {import('./probes.js').Edge} edge
 * @returns {Promise<Figures | null>} null where no connection came about
 */
export async function measure(probe, credential, { newPeer, clock, now }) {
  const near = newPeer(onlyBy(probe, credential));
  const far = newPeer(onlyBy(probe, credential));
  const pause = (/** @type {number} */ ms) => new Promise((done) => { clock.after(() => done(undefined), ms); });
  try {
    const ping = pair('ping', { negotiated: true, id: 0, ordered: false, maxRetransmits: 0 });
    const load = pair('load', { negotiated: true, id: 1 });
    const open = Promise.all([ping, load].map(({ out }) => new Promise((done) => { out.onopen = done; })));
    await connect(near, far);
    const late = pause(OPEN_WITHIN_MS).then(() => { throw new Error('no connection'); });
    await Promise.race([open, late]);
    const path = pathOf(/** @type {any} */ (await near.getStats()));
    const delays = await pings(ping.out, ping.into);
    return { path, ...summary(delays, PINGS), rate: await pour(load.out, load.into) };
  } catch {
    return null;
  } finally {
    near.close();
    far.close();
  }

  /** @param {string} name @param {RTCDataChannelInit} init */
  function pair(name, init) {
    const [out, into] = [near, far].map((peer) => peer.createDataChannel(name, init));
    into.binaryType = 'arraybuffer';
    return { out, into };
  }

  /**
   * @param {RTCDataChannel} out @param {RTCDataChannel} into
   * @returns {Promise<Map<number, number>>} delay by number, of those that came in time
   */
  async function pings(out, into) {
    const delays = new Map();
    const sentAt = new Map();
    into.onmessage = ({ data }) => {
      const number = new DataView(data).getUint32(0);
      const delay = now() - sentAt.get(number);
      if (delay <= LATE_MS) delays.set(number, delay);
    };
    const began = now();
    for (let number = 0; number < PINGS; number += 1) {
      await pause(Math.max(0, began + number * PING_EVERY_MS - now()));
      const packet = new DataView(new ArrayBuffer(PING_BYTES));
      packet.setUint32(0, number);
      sentAt.set(number, now());
      out.send(packet);
    }
    for (let waited = 0; waited < LATE_MS && delays.size < PINGS; waited += PING_EVERY_MS) await pause(PING_EVERY_MS);
    return delays;
  }

  /**
   * @param {RTCDataChannel} out @param {RTCDataChannel} into
   * @returns {Promise<number>} bits per second that arrived
   */
  async function pour(out, into) {
    const began = now();
    let [sent, arrived, last] = [0, 0, began + WARM_MS];
    into.onmessage = ({ data }) => {
      if (now() < began + WARM_MS) return;
      arrived += data.byteLength;
      last = now();
    };
    const chunk = new Uint8Array(CHUNK);
    for (let passed = 0; passed < LOAD_MS && out.readyState === 'open'; passed = now() - began) {
      const due = (TOP_RATE / 8) * (passed / 1000);
      for (; sent < due && out.bufferedAmount < AHEAD; sent += CHUNK) out.send(chunk);
      await pause(10);
    }
    return Math.min(TOP_RATE, (arrived * 8000) / Math.max(LOAD_MS - WARM_MS, last - began - WARM_MS));
  }
}

/** @param {RTCPeerConnection} near @param {RTCPeerConnection} far */
async function connect(near, far) {
  /** @type {() => void} */
  let done = () => {};
  const described = new Promise((resolve) => { done = () => resolve(undefined); });
  for (const [from, to] of [[near, far], [far, near]]) {
    from.onicecandidate = ({ candidate }) => {
      if (candidate) described.then(() => to.addIceCandidate(candidate)).catch(() => {});
    };
  }
  await near.setLocalDescription();
  await far.setRemoteDescription(/** @type {RTCSessionDescription} */ (near.localDescription));
  await far.setLocalDescription();
  await near.setRemoteDescription(/** @type {RTCSessionDescription} */ (far.localDescription));
  done();
}

/**
 * @param {Map<number, number>} delays by number
 * @param {number} sent
 */
export function summary(delays, sent) {
  const inOrder = [...delays].sort(([one], [other]) => one - other).map(([, delay]) => delay);
  const steps = inOrder.slice(1).map((delay, i) => Math.abs(delay - inOrder[i]));
  const sorted = [...inOrder].sort((one, other) => one - other);
  return {
    rtt: sorted[Math.floor(sorted.length / 2)] ?? 0,
    jitter: steps.length ? steps.reduce((sum, step) => sum + step, 0) / steps.length : 0,
    loss: sent ? 1 - delays.size / sent : 0,
    sent,
  };
}
