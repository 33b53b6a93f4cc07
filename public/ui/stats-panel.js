// The numbers: the last minute of the connection as thin lines, the value of this moment at the right edge.
//
// It draws readings, and only when it is asked to; where they come from it does not know.

import { pointsOf, rangeOf, topOf } from './graph.js';
import { setAttribute, setText } from './elements.js';
import { clockTime } from '../locales/index.js';

const MINUTE = 60;

/**
 * @typedef {import('../call/selected-path.js').Sample} Sample
 * @typedef {{key: string, of: (sample: Sample) => number | null, atLeast: number, value: (number: number) => string}} Graph
 */

/** @type {Graph[]} */
const GRAPHS = [
  { key: 'in', of: (s) => s.inRate, atLeast: 500_000, value: rate },
  { key: 'out', of: (s) => s.outRate, atLeast: 500_000, value: rate },
  { key: 'fps', of: (s) => s.fps, atLeast: 30, value: (n) => `${Math.round(n)} fps` },
  { key: 'rtt', of: (s) => s.rtt, atLeast: 100, value: (n) => `${Math.round(n)} ms` },
  { key: 'loss', of: (s) => s.lossRate, atLeast: 0.05, value: (n) => `${(n * 100).toFixed(1)} %` },
];
/** @type {{key: string, value: (sample: Sample) => string}[]} */
const FACTS = [
  { key: 'video', value: (s) => s.video },
  { key: 'audio', value: (s) => s.audio },
];

/**
 * @param {object} parts
 * @param {Document} parts.document
 * @param {HTMLElement} parts.list
 * @param {import('../locales/index.js').Say} parts.say
 * @returns {(samples: Sample[], seconds: number) => void}
 */
export function makeNumbers({ document, list, say }) {
  const graphs = GRAPHS.map((graph) => {
    const canvas = document.createElement('canvas');
    canvas.setAttribute('role', 'img');
    const name = say(`numbers.${graph.key}`);
    return { ...graph, name, canvas, dd: addRow(document, list, name, canvas) };
  });
  const facts = FACTS.map((fact) => ({ ...fact, dd: addRow(document, list, say(`numbers.${fact.key}`)) }));
  const time = addRow(document, list, say('numbers.time'));

  return (samples, seconds) => {
    const last = samples.at(-1);
    for (const { of, atLeast, value, name, canvas, dd } of graphs) {
      const values = samples.map(of);
      const now = values.at(-1) ?? null;
      const range = rangeOf(values);
      setText(dd, now === null ? '–' : value(now));
      setAttribute(canvas, 'aria-label', range ? say('numbers.graph', { name, low: value(range.low), high: value(range.high) }) : name);
      drawLine(canvas, values, topOf(values, atLeast));
    }
    for (const { value, dd } of facts) setText(dd, (last && value(last)) || '–');
    setText(time, clockTime(seconds));
  };
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {(number | null)[]} values
 * @param {number} top
 */
function drawLine(canvas, values, top) {
  const view = canvas.ownerDocument.defaultView;
  const ink = canvas.getContext('2d');
  if (!view || !ink) return;
  const ratio = view.devicePixelRatio || 1;
  const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const style = view.getComputedStyle(canvas);
  ink.clearRect(0, 0, width, height);
  ink.fillStyle = style.borderTopColor;
  ink.fillRect(0, height - Math.ceil(ratio / 2), width, Math.ceil(ratio / 2));
  ink.strokeStyle = style.color;
  ink.lineWidth = 1.5 * ratio;
  ink.lineJoin = 'round';
  ink.lineCap = 'round';
  ink.beginPath();
  for (const piece of pointsOf(values, { width, height, slots: MINUTE, top, line: 1.5 * ratio })) {
    ink.moveTo(piece[0].x, piece[0].y);
    // A point alone is a line of no length, which the round cap shows.
    for (const { x, y } of piece) ink.lineTo(x, y);
  }
  ink.stroke();
}

/**
 * @param {Document} document
 * @param {HTMLElement} list
 * @param {string} name
 * @param {HTMLElement} [graph]
 * @returns {HTMLElement} where the value goes
 */
function addRow(document, list, name, graph) {
  const row = document.createElement('div');
  const dt = document.createElement('dt');
  const dd = document.createElement('dd');
  dt.textContent = name;
  row.append(dt);
  if (graph) {
    const drawn = document.createElement('dd');
    drawn.className = 'drawn';
    drawn.append(graph);
    row.append(drawn);
  }
  // Figures change each second, and are the same in every language.
  dd.translate = false;
  row.append(dd);
  list.append(row);
  return dd;
}

/** @param {number} bps */
function rate(bps) {
  return bps >= 1e6 ? `${(bps / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bps / 1e3)} kbit/s`;
}
