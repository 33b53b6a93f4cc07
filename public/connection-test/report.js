// Report: the results of the test as text, on the page and to send to a helper.
//
// Pure. It has no credential and no address of the person: only what is named here goes in.

import { MAX_RATE } from './loopback-call.js';
import { listenerName } from './verdict.js';

/**
 * @import { Translate } from '../locales/index.js'
 * @import { Figures } from './loopback-call.js'
 * @import { Probe, ProbeResult } from './probes.js'
 * @import { RunState } from './run.js'
 * @import { Verdict } from './verdict.js'
 *
 * @typedef {object} Findings
 * @property {RunState} run
 * @property {{camera: string, microphone: string, speaker: string}} devices each a sentence
 * @property {string} browser
 * @property {string} host of the server
 * @property {string} time
 * @property {string[]} [errors] of the page itself, a line each
 */

/**
 * @param {Findings} findings
 * @param {Translate} translate
 * @returns {string}
 */
export function reportOf({ run, devices, browser, host, time, errors = [] }, translate) {
  const { rows, figures, path, verdict } = run;
  return [
    `${translate('title')}: ${host}`,
    time,
    browser,
    '',
    ...(verdict ? verdictSentences(verdict, translate) : []),
    '',
    ...rows.map(({ probe, result }) => `${probeName(probe, translate)}: ${result ? probeResult(result, translate) : translate('test.waiting')}`),
    '',
    ...(figures && path ? callLines(figures, path.probe, translate) : []),
    `${translate('test.camera')}: ${devices.camera}`,
    `${translate('test.microphone')}: ${devices.microphone}`,
    `${translate('test.speaker')}: ${devices.speaker}`,
    ...(errors.length ? ['', `${translate('test.errors')}:`, ...errors.map((each) => `  ${each}`)] : []),
    '',
  ].join('\n');
}

/**
 * @param {Figures} figures
 * @param {Probe} probe of the path of the test call
 * @param {Translate} translate
 */
function callLines(figures, probe, translate) {
  const lines = resultTexts(figures, translate).map(([name, value]) => `  ${name}: ${value}`);
  return [`${translate('test.call')} (${probeName(probe, translate)}, ${figures.path}):`, ...lines, ''];
}

/**
 * @param {Verdict} verdict
 * @param {Translate} translate
 * @returns {string[]} the verdict, then its notes
 */
export function verdictSentences({ code, notes, ports }, translate) {
  const values = { ports: ports.join(', ') };
  return [translate(`verdict.${code}`, values), ...notes.map((note) => translate(`note.${note}`, values))];
}

/**
 * @param {Probe} probe
 * @param {Translate} translate
 */
export function probeName(probe, translate) {
  return `${listenerName(probe)} ${translate(`test.${probe.family}`)}`.trim();
}

/**
 * @param {ProbeResult} result
 * @param {Translate} translate
 */
export function probeResult({ ok, ms, code }, translate) {
  if (ok) return translate('test.reached', { ms: Math.round(ms) });
  return code ? translate('test.refused', { code }) : translate('test.silent');
}

/**
 * @param {Figures} figures
 * @param {Translate} translate
 * @returns {[string, string][]} names and values
 */
export function resultTexts({ rtt, jitter, loss, rate }, translate) {
  const megabits = (rate / 1e6).toFixed(1);
  return [
    [translate('test.rtt'), `${Math.round(rtt)} ms`],
    [translate('test.jitter'), `${jitter.toFixed(1)} ms`],
    [translate('test.loss'), `${(loss * 100).toFixed(1)} %`],
    [translate('test.rate'), rate >= 0.9 * MAX_RATE ? translate('test.enough', { rate: megabits }) : `${megabits} Mbit/s`],
  ];
}
