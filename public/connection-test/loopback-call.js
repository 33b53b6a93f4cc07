// Loopback call: the test call, between two peer connections in this page, through the relay.
//
// What is sent here arrives here, after one trip to the server and back, with one clock at both ends. It takes some seconds
// and about four megabytes each way.

import { pathOf } from '../call/selected-path.js';
import { configurationFor } from './probes.js';

/**
 * @import { Path } from '../call/selected-path.js'
 * @import { Credential, Probe, ProbeParts } from './probes.js'
 *
 * @typedef {object} Figures
 * @property {Path | null} path
 * @property {number} rtt median in milliseconds, to the server and back
 * @property {number} jitter mean difference between successive delays, in milliseconds
 * @property {number} loss share of packets, 0 to 1
 * @property {number} sent packets
 * @property {number} rate bits per second, at most MAX_RATE
 *
 * @typedef {{out: RTCDataChannel, into: RTCDataChannel}} ChannelPair
 */

const OPEN_TIMEOUT_MS = 15_000;
/** Three seconds of packets, as many and as large as those of speech. */
const PINGS = 150;
const PING_INTERVAL_MS = 20;
const PING_BYTES = 160;
/** A packet later than this is lost for a call. */
const MAX_DELAY_MS = 1000;
const LOAD_MS = 3000;
/** Not measured: the rate still grows. */
const RAMP_UP_MS = 1000;
const CHUNK_BYTES = 8 * 1024;
const MAX_BUFFERED_BYTES = 256 * 1024;
/** Bits per second: more than a call takes, and little enough for a mobile plan. */
export const MAX_RATE = 10_000_000;

/**
 * @param {Probe} probe
 * @param {Credential} credential
 * @param {ProbeParts} parts
 * @returns {Promise<Figures | null>} null where no connection was established
 */
export async function measure(probe, credential, { newPeerConnection, clock, now }) {
  const near = newPeerConnection(configurationFor(probe, credential));
  const far = newPeerConnection(configurationFor(probe, credential));
  const pause = (/** @type {number} */ ms) => new Promise((resolve) => { clock.after(() => resolve(undefined), ms); });
  try {
    const ping = channelPair(near, far, 'ping', { negotiated: true, id: 0, ordered: false, maxRetransmits: 0 });
    const load = channelPair(near, far, 'load', { negotiated: true, id: 1 });
    const open = Promise.all([ping, load].map(({ out }) => new Promise((resolve) => { out.onopen = resolve; })));
    await connect(near, far);
    const timeout = pause(OPEN_TIMEOUT_MS).then(() => { throw new Error('no connection'); });
    await Promise.race([open, timeout]);
    const path = pathOf(/** @type {any} */ (await near.getStats()));
    const delays = await measureDelays(ping, pause, now);
    return { path, ...summarize(delays, PINGS), rate: await measureRate(load, pause, now) };
  } catch {
    return null;
  } finally {
    near.close();
    far.close();
  }
}

/**
 * @param {RTCPeerConnection} near @param {RTCPeerConnection} far
 * @param {string} name @param {RTCDataChannelInit} options
 * @returns {ChannelPair}
 */
function channelPair(near, far, name, options) {
  const [out, into] = [near, far].map((pc) => pc.createDataChannel(name, options));
  into.binaryType = 'arraybuffer';
  return { out, into };
}

/**
 * @param {ChannelPair} channels
 * @param {(ms: number) => Promise<unknown>} pause
 * @param {() => number} now
 * @returns {Promise<Map<number, number>>} delays by packet number, of the packets that arrived in time
 */
async function measureDelays({ out, into }, pause, now) {
  const delays = new Map();
  const sentAt = new Map();
  into.onmessage = ({ data }) => {
    const number = new DataView(data).getUint32(0);
    const delay = now() - sentAt.get(number);
    if (delay <= MAX_DELAY_MS) delays.set(number, delay);
  };
  const startedAt = now();
  for (let number = 0; number < PINGS; number += 1) {
    await pause(Math.max(0, startedAt + number * PING_INTERVAL_MS - now()));
    const packet = new DataView(new ArrayBuffer(PING_BYTES));
    packet.setUint32(0, number);
    sentAt.set(number, now());
    out.send(packet);
  }
  for (let waited = 0; waited < MAX_DELAY_MS && delays.size < PINGS; waited += PING_INTERVAL_MS) await pause(PING_INTERVAL_MS);
  return delays;
}

/**
 * @param {ChannelPair} channels
 * @param {(ms: number) => Promise<unknown>} pause
 * @param {() => number} now
 * @returns {Promise<number>} received bits per second
 */
async function measureRate({ out, into }, pause, now) {
  const startedAt = now();
  let [sent, received, lastAt] = [0, 0, startedAt + RAMP_UP_MS];
  into.onmessage = ({ data }) => {
    if (now() < startedAt + RAMP_UP_MS) return;
    received += data.byteLength;
    lastAt = now();
  };
  const chunk = new Uint8Array(CHUNK_BYTES);
  for (let elapsed = 0; elapsed < LOAD_MS && out.readyState === 'open'; elapsed = now() - startedAt) {
    const due = (MAX_RATE / 8) * (elapsed / 1000);
    for (; sent < due && out.bufferedAmount < MAX_BUFFERED_BYTES; sent += CHUNK_BYTES) out.send(chunk);
    await pause(10);
  }
  return Math.min(MAX_RATE, (received * 8000) / Math.max(LOAD_MS - RAMP_UP_MS, lastAt - startedAt - RAMP_UP_MS));
}

/** @param {RTCPeerConnection} near @param {RTCPeerConnection} far */
async function connect(near, far) {
  /** @type {() => void} */
  let resolveDescribed = () => {};
  const described = new Promise((resolve) => { resolveDescribed = () => resolve(undefined); });
  for (const [from, to] of [[near, far], [far, near]]) {
    from.onicecandidate = ({ candidate }) => {
      if (candidate) described.then(() => to.addIceCandidate(candidate)).catch(() => {});
    };
  }
  await near.setLocalDescription();
  await far.setRemoteDescription(/** @type {RTCSessionDescription} */ (near.localDescription));
  await far.setLocalDescription();
  await near.setRemoteDescription(/** @type {RTCSessionDescription} */ (far.localDescription));
  resolveDescribed();
}

/**
 * @param {Map<number, number>} delays by packet number
 * @param {number} sent packets
 */
export function summarize(delays, sent) {
  const inOrder = [...delays].sort(([one], [other]) => one - other).map(([, delay]) => delay);
  const differences = inOrder.slice(1).map((delay, i) => Math.abs(delay - inOrder[i]));
  const sorted = [...inOrder].sort((one, other) => one - other);
  return {
    rtt: sorted[Math.floor(sorted.length / 2)] ?? 0,
    jitter: differences.length ? differences.reduce((sum, each) => sum + each, 0) / differences.length : 0,
    loss: sent ? 1 - delays.size / sent : 0,
    sent,
  };
}
