// Stats panel: the badge with path and quality of the connection, and the panel with the last minute of it as graphs.
//
// The graphs are drawn only while the panel is open.

import { formatDuration, joinSentences } from '../locales/index.js';
import { createElement, find, setAttribute, setHidden, setLabel, setText } from './elements.js';
import { pointsOf, rangeOf, topOf } from './graph.js';

/**
 * @import { Sample } from '../call/selected-path.js'
 * @import { Translate } from '../locales/index.js'
 * @import { Model } from './view.js'
 *
 * @typedef {object} Graph
 * @property {string} key `numbers.KEY` is its name
 * @property {(sample: Sample) => number | null} of
 * @property {number} atLeast the scale goes at least up to this
 * @property {(value: number) => string} format
 */

/** Samples in a graph, one a second. */
const SLOTS = 60;

/** @type {Graph[]} */
const GRAPHS = [
  { key: 'in', of: (s) => s.inRate, atLeast: 500_000, format: formatRate },
  { key: 'out', of: (s) => s.outRate, atLeast: 500_000, format: formatRate },
  { key: 'fps', of: (s) => s.fps, atLeast: 30, format: (n) => `${Math.round(n)} fps` },
  { key: 'rtt', of: (s) => s.rtt, atLeast: 100, format: (n) => `${Math.round(n)} ms` },
  { key: 'loss', of: (s) => s.lossRate, atLeast: 0.05, format: (n) => `${(n * 100).toFixed(1)} %` },
];
/** @type {{key: string, of: (sample: Sample) => string}[]} */
const FACTS = [
  { key: 'video', of: (s) => s.video },
  { key: 'audio', of: (s) => s.audio },
];

export class StatsPanel {
  #document;
  #translate;
  #panel;
  #badge;
  #rows;
  /** What had the focus when the panel was opened. @type {Element | null} */
  #opener = null;
  /** @type {Model | null} */
  #model = null;

  /** @param {{document: Document, translate: Translate}} parts */
  constructor({ document, translate }) {
    this.#document = document;
    this.#translate = translate;
    this.#panel = find(document, '#numbers');
    this.#badge = find(document, '#path');
    const list = find(document, '#figures');
    const graphs = GRAPHS.map((graph) => {
      const canvas = /** @type {HTMLCanvasElement} */ (createElement(document, 'canvas', { role: 'img' }));
      return { ...graph, canvas, value: addRow(document, list, graph.key, canvas) };
    });
    const facts = FACTS.map((fact) => ({ ...fact, value: addRow(document, list, fact.key) }));
    this.#rows = { graphs, facts, duration: addRow(document, list, 'time') };
  }

  get isOpen() {
    return !this.#panel.hidden;
  }

  /** @param {boolean} open */
  setOpen(open) {
    if (open === this.isOpen) return;
    const { activeElement, body } = this.#document;
    const hadFocus = this.#panel.contains(activeElement);
    this.#panel.hidden = !open;
    for (const id of ['#path', '#trust']) find(this.#document, id).setAttribute('aria-expanded', String(open));
    if (open) {
      this.#opener = activeElement === body ? this.#badge : activeElement;
      if (this.#model) this.#draw(this.#model);
      find(this.#document, '#numbersTitle').focus();
    } else if (hadFocus) this.#returnFocus();
  }

  /** To the opener or, where that is hidden now, to the page. */
  #returnFocus() {
    const opener = /** @type {HTMLElement | null} */ (this.#opener);
    opener?.focus();
    if (this.#document.activeElement !== opener) find(this.#document, '#stage').focus();
  }

  /** @param {Model} model */
  show(model) {
    this.#model = model;
    this.#showPath(model);
    if (this.isOpen) this.#draw(model);
  }

  /** @param {Model} model */
  #showPath({ showsPath, path, udpBlocked, quality, reason, session }) {
    const badge = this.#badge;
    const translate = this.#translate;
    setHidden(badge, !showsPath || path === null);
    if (!path) return void delete badge.dataset.path;
    badge.dataset.path = path;
    badge.dataset.quality = quality;
    const way = `${translate(`path.${path}`)} · ${translate(`quality.${badge.dataset.quality}`)}`;
    setText(find(this.#document, '#pathWord'), way);
    setLabel(badge, translate('path.label', { way }), 'P');
    const isDetour = session.pathAvoided && path !== 'direct';
    const isBlocked = udpBlocked && path.startsWith('relay-t');
    setText(find(this.#document, '#pathWhy'), joinSentences(translate, [
      isDetour ? 'path.detour' : isBlocked ? `path.shut.${path}` : `path.why.${path}`,
      ...(reason ? [`quality.why.${reason}`] : []),
      ...(session.outgoingVideo === 'full' ? [] : [`picture.${session.outgoingVideo}`]),
    ]));
  }

  /** @param {Model} model */
  #draw({ samples, seconds }) {
    const last = samples.at(-1);
    for (const { key, of, atLeast, format, canvas, value } of this.#rows.graphs) {
      const name = this.#translate(`numbers.${key}`);
      const values = samples.map(of);
      const now = values.at(-1) ?? null;
      const range = rangeOf(values);
      setText(value, now === null ? '–' : format(now));
      const text = range ? this.#translate('numbers.graph', { name, low: format(range.low), high: format(range.high) }) : name;
      setAttribute(canvas, 'aria-label', text);
      drawLine(canvas, values, topOf(values, atLeast));
    }
    for (const { of, value } of this.#rows.facts) setText(value, (last && of(last)) || '–');
    setText(this.#rows.duration, formatDuration(seconds));
  }
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {(number | null)[]} values
 * @param {number} top
 */
function drawLine(canvas, values, top) {
  const view = canvas.ownerDocument.defaultView;
  const context = canvas.getContext('2d');
  if (!view || !context) return;
  const ratio = view.devicePixelRatio || 1;
  const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const style = view.getComputedStyle(canvas);
  context.clearRect(0, 0, width, height);
  context.fillStyle = style.borderTopColor;
  context.fillRect(0, height - Math.ceil(ratio / 2), width, Math.ceil(ratio / 2));
  context.strokeStyle = style.color;
  context.lineWidth = 1.5 * ratio;
  context.lineJoin = 'round';
  context.lineCap = 'round';
  context.beginPath();
  for (const line of pointsOf(values, { width, height, slots: SLOTS, top, line: 1.5 * ratio })) {
    context.moveTo(line[0].x, line[0].y);
    // A single point is a line of length zero, which the round cap makes visible.
    for (const { x, y } of line) context.lineTo(x, y);
  }
  context.stroke();
}

/**
 * @param {Document} document
 * @param {HTMLElement} list
 * @param {string} key of its name
 * @param {HTMLElement} [graph]
 * @returns {HTMLElement} the element of the value
 */
function addRow(document, list, key, graph) {
  const row = createElement(document, 'div');
  row.append(createElement(document, 'dt', { 'data-word': `numbers.${key}` }));
  if (graph) {
    const cell = createElement(document, 'dd', { class: 'drawn' });
    cell.append(graph);
    row.append(cell);
  }
  const value = createElement(document, 'dd');
  // Values change every second and are the same in every language.
  value.translate = false;
  row.append(value);
  list.append(row);
  return value;
}

/** @param {number} bps */
function formatRate(bps) {
  return bps >= 1e6 ? `${(bps / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bps / 1e3)} kbit/s`;
}
