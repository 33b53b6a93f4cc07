// Verdict: the key of one sentence and a few notes for what was reached and measured.
//
// Pure. Each code has its sentence in locales/*-test.js.

import { qualityOf, qualityReason } from '../call/selected-path.js';
import { bestOf } from './probes.js';

/** Bits per second below which video gets worse, and below which it should stay off. */
const LOW_RATE = 1_500_000;
const VERY_LOW_RATE = 500_000;

/**
 * @import { Figures } from './loopback-call.js'
 * @import { Probe, ProbeResult } from './probes.js'
 * @import { Way } from '../signaling/transport.js'
 *
 * @typedef {'off' | 'no-webrtc' | 'no-signaling' | 'no-candidates' | 'nothing' | 'refused' | 'no-call' | 'lossy' | 'far' | 'slow' | 'tls-only' | 'no-udp'
 *   | 'good'} Code
 * @typedef {'no-udp' | 'tls-only' | 'no-ipv6' | 'no-ipv4' | 'shut' | 'no-websocket'} Note
 * @typedef {'good' | 'fair' | 'poor'} Tone
 *
 * @typedef {object} Verdict
 * @property {Code} code
 * @property {Tone} tone
 * @property {Note[]} notes
 * @property {string[]} ports that did not answer, such as `UDP 3478`
 */

/**
 * @param {readonly ProbeResult[]} results
 * @param {Figures | null} figures
 * @param {Way | null} signaling how a call would be set up
 * @returns {Verdict}
 */
export function verdictOf(results, figures, signaling) {
  const verdict = mediaVerdict(results, figures);
  if (signaling === null) return { ...verdict, code: 'no-signaling', tone: 'poor' };
  return signaling === 'polling' ? { ...verdict, notes: [...verdict.notes, 'no-websocket'] } : verdict;
}

/**
 * @param {readonly ProbeResult[]} results
 * @param {Figures | null} figures
 * @returns {Verdict}
 */
function mediaVerdict(results, figures) {
  const ports = silentListeners(results);
  const verdict = (/** @type {Code} */ code, /** @type {Tone} */ tone, /** @type {Note[]} */ notes = []) => ({ code, tone, notes, ports });
  if (results.length === 0) return verdict('off', 'poor');
  const best = bestOf(results)?.probe.name;
  if (!best) return verdict(results.some((each) => each.code > 0) ? 'refused' : 'nothing', 'poor');

  const families = missingFamilies(results);
  const detour = detourOf(best);
  /** @type {Note[]} */
  const notes = detour ? [detour, ...families] : families;
  if (!figures) return verdict('no-call', 'poor', notes);
  const problem = problemOf(figures);
  if (problem) return verdict(problem.code, problem.tone, notes);
  if (detour) return verdict(detour, 'fair', families);
  return verdict('good', 'good', ports.length ? [...families, 'shut'] : families);
}

/**
 * The verdict where the browser itself prevents calls. Nothing is known of any port.
 * @param {'no-webrtc' | 'no-candidates'} code
 * @returns {Verdict}
 */
export const browserVerdict = (code) => ({ code, tone: 'poor', notes: [], ports: [] });

/**
 * @param {Probe['name']} name
 * @returns {'no-udp' | 'tls-only' | null}
 */
function detourOf(name) {
  if (name === 'turn-udp') return null;
  return name === 'turn-tcp' ? 'no-udp' : 'tls-only';
}

/**
 * @param {Figures} figures
 * @returns {{code: 'lossy' | 'far' | 'slow', tone: 'fair' | 'poor'} | null}
 */
function problemOf({ rtt, loss, rate }) {
  const sample = { rtt, lossRate: loss };
  const reason = qualityReason(sample);
  const tone = qualityOf(sample);
  if (tone !== 'good' && reason) return { code: reason === 'loss' ? 'lossy' : 'far', tone };
  if (rate < LOW_RATE) return { code: 'slow', tone: rate < VERY_LOW_RATE ? 'poor' : 'fair' };
  return null;
}

/**
 * Address families without any answer, while the other one had one.
 * @param {readonly ProbeResult[]} results
 * @returns {Note[]}
 */
function missingFamilies(results) {
  const isMissing = (/** @type {string} */ family) => {
    const tried = results.filter((each) => each.probe.family === family);
    return tried.length > 0 && tried.every((each) => !each.ok);
  };
  // Where only TLS was reached, nothing is known of a single family.
  if (results.every((each) => each.probe.name === 'turn-tls' || !each.ok)) return [];
  /** @type {Note[]} */
  const notes = ['no-ipv6', 'no-ipv4'];
  return notes.filter((note) => isMissing(note.slice('no-'.length)));
}

/**
 * @param {readonly ProbeResult[]} results
 * @returns {string[]} listeners that answered over no address family
 */
function silentListeners(results) {
  const names = [...new Set(results.map(({ probe }) => listenerName(probe)))];
  return names.filter((name) => results.every((each) => listenerName(each.probe) !== name || !each.ok));
}

/** @param {Probe} probe @returns {string} such as `UDP 3478` */
export function listenerName({ name, port }) {
  return `${name === 'turn-udp' ? 'UDP' : name === 'turn-tcp' ? 'TCP' : 'TLS'} ${port}`;
}
