// Graph: the points of a line for values over time, the newest at the right edge.
//
// Pure: sizes in, points and numbers out; stats-panel.js draws.

/** @typedef {{x: number, y: number}} Point */

/**
 * The upper end of the scale: at least `atLeast`, else the next of 1, 2, 5 times a power of ten, so that the line does not
 * move with each value.
 * @param {readonly (number | null)[]} values
 * @param {number} atLeast
 */
export function topOf(values, atLeast) {
  const highest = Math.max(atLeast, ...values.map((value) => (Number.isFinite(value) ? Number(value) : 0)));
  if (highest === atLeast) return atLeast;
  const power = 10 ** Math.floor(Math.log10(highest));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= highest * 0.999_999) ?? highest;
}

/**
 * @param {readonly (number | null)[]} values oldest first, null where nothing was measured
 * @param {object} frame
 * @param {number} frame.width pixels
 * @param {number} frame.height pixels
 * @param {number} frame.slots values that fit the width; older ones are left out
 * @param {number} frame.top value at the upper edge
 * @param {number} [frame.line] line width in pixels; the line stays inside the frame
 * @returns {Point[][]} lines, with gaps between them where nothing was measured
 */
export function pointsOf(values, { width, height, slots, top, line = 1 }) {
  const shown = values.slice(-slots);
  const step = (width - line) / Math.max(1, slots - 1);
  /** @type {Point[][]} */
  const lines = [];
  let current = null;
  for (const [i, value] of shown.entries()) {
    if (value === null || !Number.isFinite(value)) {
      current = null;
      continue;
    }
    if (!current) lines.push((current = /** @type {Point[]} */ ([])));
    const share = Math.min(1, Math.max(0, value / top));
    current.push({ x: width - line / 2 - (shown.length - 1 - i) * step, y: height - line / 2 - share * (height - line) });
  }
  return lines;
}

/**
 * @param {readonly (number | null)[]} values
 * @returns {{low: number, high: number} | null} null where nothing was measured
 */
export function rangeOf(values) {
  const measured = values.filter((value) => value !== null && Number.isFinite(value)).map(Number);
  return measured.length ? { low: Math.min(...measured), high: Math.max(...measured) } : null;
}
