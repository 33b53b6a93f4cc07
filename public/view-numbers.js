// The numbers: the last minute of the connection as thin lines, the value of this moment at the right edge.
//
// It draws readings; where they come from it does not know.

import { setText, svg } from './view-parts.js';
import { clockTime } from './words.js';

const WIDTH = 60;
const HEIGHT = 28;

/**
 * @typedef {import('./path.js').Sample} Sample
 * @typedef {{key: string, of?: (sample: Sample) => number, atLeast?: number, value: (sample: Sample) => string}} Row
 */

/** @type {Row[]} */
const ROWS = [
  { key: 'rtt', of: (s) => s.rtt ?? 0, atLeast: 100, value: (s) => (s.rtt === null ? '–' : `${Math.round(s.rtt)} ms`) },
  { key: 'loss', of: (s) => s.lossRate, atLeast: 0.05, value: (s) => `${(s.lossRate * 100).toFixed(1)} %` },
  { key: 'in', of: (s) => s.inRate, atLeast: 500_000, value: (s) => rate(s.inRate) },
  { key: 'out', of: (s) => s.outRate, atLeast: 500_000, value: (s) => rate(s.outRate) },
  { key: 'video', value: (s) => s.video || '–' },
];

/**
 * @param {object} parts
 * @param {Document} parts.document
 * @param {HTMLElement} parts.list
 * @param {import('./words.js').Say} parts.say
 * @returns {(samples: Sample[], seconds: number) => void}
 */
export function makeNumbers({ document, list, say }) {
  const rows = ROWS.map((row) => {
    const made = addRow(document, list, say(`numbers.${row.key}`), row.of !== undefined);
    return { ...row, ...made };
  });
  const time = addRow(document, list, say('numbers.time'), false);

  return (samples, seconds) => {
    const last = samples.at(-1);
    for (const { of, atLeast, value, line, dd } of rows) {
      setText(dd, last ? value(last) : '–');
      if (of && line) line.setAttribute('points', points(samples.map(of), atLeast ?? 1));
    }
    setText(time.dd, clockTime(seconds));
  };
}

/**
 * @param {Document} document
 * @param {HTMLElement} list
 * @param {string} name
 * @param {boolean} drawn
 */
function addRow(document, list, name, drawn) {
  const row = document.createElement('div');
  const dt = document.createElement('dt');
  const dd = document.createElement('dd');
  const graph = svg(document, 'svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  const line = drawn ? svg(document, 'polyline', {}) : null;
  if (line) graph.append(line);
  dt.textContent = name;
  row.append(dt, graph, dd);
  list.append(row);
  return { dd, line };
}

/**
 * @param {number[]} values
 * @param {number} atLeast what fills the height while nothing is larger
 */
function points(values, atLeast) {
  const highest = Math.max(atLeast, ...values);
  const first = WIDTH - values.length;
  return values.map((value, i) => `${first + i + 0.5},${(HEIGHT - 1 - (value / highest) * (HEIGHT - 3)).toFixed(1)}`).join(' ');
}

/** @param {number} bps */
function rate(bps) {
  return bps >= 1e6 ? `${(bps / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bps / 1e3)} kbit/s`;
}
