// The report: everything the page found, as plain text to send to whoever helps.
//
// Pure. No credential, no address of the person: nothing goes in that is not named here.

import { TOP_RATE } from './loopback-call.js';
import { listener } from './verdict.js';

/** @typedef {import('../locales/index.js').Say} Say */

/**
 * @typedef {object} Found
 * @property {import('./run.js').State} run
 * @property {{camera: string, microphone: string, speaker: string}} devices each a sentence
 * @property {string} browser
 * @property {string} host of the server
 * @property {string} time
 * @property {string[]} [errors] of the page itself, each a line
 */

/**
 * @param {Found} found
 * @param {Say} say
 * @returns {string}
 */
export function reportOf({ run, devices, browser, host, time, errors = [] }, say) {
  const { rows, figures, way, verdict } = run;
  return [
    `${say('title')}: ${host}`,
    time,
    browser,
    '',
    ...(verdict ? sentencesOf(verdict, say) : []),
    '',
    ...rows.map(({ probe, reach }) => `${nameOf(probe, say)}: ${reach ? resultOf(reach, say) : say('test.waiting')}`),
    '',
    ...(figures && way ? callOf(figures, way.probe, say) : []),
    `${say('test.camera')}: ${devices.camera}`,
    `${say('test.microphone')}: ${devices.microphone}`,
    `${say('test.speaker')}: ${devices.speaker}`,
    ...(errors.length ? ['', `${say('test.errors')}:`, ...errors.map((each) => `  ${each}`)] : []),
    '',
  ].join('\n');
}

/**
 * @param {import('./loopback-call.js').Figures} figures
 * @param {import('./probes.js').Probe} probe it was made over
 * @param {Say} say
 */
function callOf(figures, probe, say) {
  const lines = figuresOf(figures, say).map(([name, value]) => `  ${name}: ${value}`);
  return [`${say('test.call')} (${nameOf(probe, say)}, ${figures.path}):`, ...lines, ''];
}

/**
 * @param {import('./verdict.js').Verdict} verdict
 * @param {Say} say
 * @returns {string[]} the verdict, then its notes
 */
export function sentencesOf({ code, notes, ports }, say) {
  const fills = { ports: ports.join(', ') };
  return [say(`verdict.${code}`, fills), ...notes.map((note) => say(`note.${note}`, fills))];
}

/**
 * @param {import('./probes.js').Probe} probe
 * @param {Say} say
 */
export function nameOf(probe, say) {
  return `${listener(probe)} ${say(`test.${probe.family}`)}`.trim();
}

/**
 * @param {import('./probes.js').Reach} reach
 * @param {Say} say
 */
export function resultOf({ ok, ms, code }, say) {
  if (ok) return say('test.reached', { ms: Math.round(ms) });
  return code ? say('test.refused', { code }) : say('test.silent');
}

/**
 * @param {import('./loopback-call.js').Figures} figures
 * @param {Say} say
 * @returns {[string, string][]} names and values
 */
export function figuresOf({ rtt, jitter, loss, rate }, say) {
  const megabits = (rate / 1e6).toFixed(1);
  return [
    [say('test.rtt'), `${Math.round(rtt)} ms`],
    [say('test.jitter'), `${jitter.toFixed(1)} ms`],
    [say('test.loss'), `${(loss * 100).toFixed(1)} %`],
    [say('test.rate'), rate >= 0.9 * TOP_RATE ? say('test.enough', { rate: megabits }) : `${megabits} Mbit/s`],
  ];
}
