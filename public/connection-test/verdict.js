// The verdict: what was reached and measured, in one sentence's key and a few notes.
//
// Pure. Every code has its sentence in words-test.*.js.

import { qualityOf, qualityReason } from '../call/selected-path.js';
import { best } from './probes.js';

/** Bits per second below which a picture suffers, and below which it had better stay off. */
const TIGHT = 1_500_000;
const TOO_TIGHT = 500_000;

/**
 * @typedef {import('./probes.js').Reach} Reach
 * @typedef {import('./loopback-call.js').Figures} Figures
 * @typedef {'off' | 'no-webrtc' | 'no-candidates' | 'nothing' | 'refused' | 'no-call' | 'lossy' | 'far' | 'slow' | 'tls-only' | 'no-udp' | 'good'} Code
 * @typedef {'no-udp' | 'tls-only' | 'no-ipv6' | 'no-ipv4' | 'shut'} Note
 *
 * @typedef {object} Verdict
 * @property {Code} code
 * @property {'good' | 'fair' | 'poor'} tone
 * @property {Note[]} notes what else there is to know
 * @property {string[]} ports that did not answer, such as `UDP 3478`
 */

/**
 * @param {readonly Reach[]} reaches
 * @param {Figures | null} figures
 * @returns {Verdict}
 */
export function verdictOf(reaches, figures) {
  const ports = shut(reaches);
  const said = (/** @type {Code} */ code, /** @type {Verdict['tone']} */ tone, /** @type {Note[]} */ notes = []) => ({ code, tone, notes, ports });
  if (reaches.length === 0) return said('off', 'poor');
  const way = best(reaches)?.probe.name;
  if (!way) return said(reaches.some((each) => each.code > 0) ? 'refused' : 'nothing', 'poor');

  const families = familiesMissing(reaches);
  const detour = detourOf(way);
  /** @type {Note[]} */
  const notes = detour ? [detour, ...families] : families;
  if (!figures) return said('no-call', 'poor', notes);
  const trouble = troubleIn(figures);
  if (trouble) return said(trouble.code, trouble.tone, notes);
  if (detour) return said(detour, 'fair', families);
  return said('good', 'good', ports.length ? [...families, 'shut'] : families);
}

/**
 * The browser's own doing, which says nothing of any port.
 * @param {'no-webrtc' | 'no-candidates'} code
 * @returns {Verdict}
 */
export const browserVerdict = (code) => ({ code, tone: 'poor', notes: [], ports: [] });

/**
 * @param {import('./probes.js').Probe['name']} way
 * @returns {'no-udp' | 'tls-only' | null}
 */
function detourOf(way) {
  if (way === 'turn-udp') return null;
  return way === 'turn-tcp' ? 'no-udp' : 'tls-only';
}

/**
 * @param {Figures} figures
 * @returns {{code: 'lossy' | 'far' | 'slow', tone: 'fair' | 'poor'} | null}
 */
function troubleIn({ rtt, loss, rate }) {
  const reading = { rtt, lossRate: loss };
  const reason = qualityReason(reading);
  const tone = qualityOf(reading);
  if (tone !== 'good' && reason) return { code: reason === 'loss' ? 'lossy' : 'far', tone };
  if (rate < TIGHT) return { code: 'slow', tone: rate < TOO_TIGHT ? 'poor' : 'fair' };
  return null;
}

/**
 * Families that were tried and never answered, while something else did.
 * @param {readonly Reach[]} reaches
 * @returns {Note[]}
 */
function familiesMissing(reaches) {
  const missing = (/** @type {string} */ family) => {
    const tried = reaches.filter((each) => each.probe.family === family);
    return tried.length > 0 && tried.every((each) => !each.ok);
  };
  // Without UDP and TCP 3478 nothing tells one family from the other.
  if (reaches.every((each) => each.probe.name === 'turn-tls' || !each.ok)) return [];
  /** @type {Note[]} */
  const notes = ['no-ipv6', 'no-ipv4'];
  return notes.filter((note) => missing(note.slice('no-'.length)));
}

/**
 * @param {readonly Reach[]} reaches
 * @returns {string[]} listeners that answered over no family
 */
function shut(reaches) {
  const names = [...new Set(reaches.map(({ probe }) => listener(probe)))];
  return names.filter((name) => reaches.every((each) => listener(each.probe) !== name || !each.ok));
}

/** @param {import('./probes.js').Probe} probe */
export function listener({ name, port }) {
  return `${name === 'turn-udp' ? 'UDP' : name === 'turn-tcp' ? 'TCP' : 'TLS'} ${port}`;
}
