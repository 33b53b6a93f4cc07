// Picture gestures: a double tap or double click on the large picture fills the screen with it or shows it whole; two
// fingers do the same by spreading and pinching.

/** A second tap later or farther away than this is a tap of its own. */
const DOUBLE_TAP_MS = 350;
const DOUBLE_TAP_PX = 40;
/** Fingers must move apart, or together, by this factor. */
const PINCH_FACTOR = 1.2;

/** @typedef {{x: number, y: number}} Point */

/**
 * @param {object} parts
 * @param {HTMLElement} parts.picture the frame of the picture of the other participant
 * @param {() => boolean} parts.isLarge whether this picture is the large one
 * @param {() => void} parts.toggle
 * @param {(whole: boolean) => void} parts.setWhole
 */
export function listenToGestures({ picture, isLarge, toggle, setWhole }) {
  /** @type {(Point & {at: number}) | null} */
  let lastTap = null;
  /** Where the fingers are, by pointer. @type {Map<number, Point>} */
  const fingers = new Map();
  /** Distance of two fingers when the second one came down; null after the pinch has acted. @type {number | null} */
  let startSpan = null;

  picture.addEventListener('click', ({ clientX: x, clientY: y, timeStamp: at }) => {
    const isSecond = lastTap !== null && at - lastTap.at < DOUBLE_TAP_MS && distance(lastTap, { x, y }) < DOUBLE_TAP_PX;
    lastTap = isSecond ? null : { x, y, at };
    if (isSecond && isLarge()) toggle();
  });
  picture.addEventListener('pointerdown', ({ pointerType, pointerId, clientX: x, clientY: y }) => {
    if (pointerType !== 'touch') return;
    fingers.set(pointerId, { x, y });
    startSpan = span(fingers);
    if (startSpan !== null) lastTap = null;
  });
  picture.addEventListener('pointermove', ({ pointerId, clientX: x, clientY: y }) => {
    if (!fingers.has(pointerId)) return;
    fingers.set(pointerId, { x, y });
    const now = span(fingers);
    if (startSpan === null || now === null || !isLarge()) return;
    const isSpread = now > startSpan * PINCH_FACTOR;
    if (!isSpread && now > startSpan / PINCH_FACTOR) return;
    startSpan = null;
    setWhole(!isSpread);
  });
  for (const name of /** @type {const} */ (['pointerup', 'pointercancel', 'lostpointercapture'])) {
    picture.addEventListener(name, ({ pointerId }) => {
      fingers.delete(pointerId);
      startSpan = null;
    });
  }
}

/** Distance of exactly two fingers. @param {Map<number, Point>} fingers */
function span(fingers) {
  const [a, b, ...more] = fingers.values();
  return a && b && !more.length ? distance(a, b) : null;
}

/** @param {Point} a @param {Point} b */
function distance(a, b) {
  return Math.hypot(a.x - b.x, a.y - b.y);
}
