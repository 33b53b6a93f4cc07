// The tile: the small picture in a corner of the call. Drag it to another corner, tap it to swap.
//
// Which picture is small is remembered here; the pictures themselves are not its business.

const CORNERS = /** @type {const} */ (['tl', 'tr', 'bl', 'br']);
const TAP_WITHIN_PX = 8;

/**
 * @param {object} parts
 * @param {HTMLElement} parts.stage
 * @param {HTMLElement} parts.self
 * @param {HTMLElement} parts.remote
 * @param {HTMLElement} parts.handle the button that lies over the tile
 * @returns {{show: (together: boolean) => void}}
 */
export function makeTile({ stage, self, remote, handle }) {
  let swapped = false;
  let together = false;
  /** @type {{x: number, y: number, moved: boolean} | null} */
  let drag = null;
  let travelled = false;
  stage.dataset.corner = 'br';

  handle.addEventListener('pointerdown', (event) => {
    drag = { x: event.clientX, y: event.clientY, moved: false };
    handle.setPointerCapture(event.pointerId);
  });
  handle.addEventListener('pointermove', (event) => {
    if (!drag) return;
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    drag.moved ||= Math.hypot(dx, dy) > TAP_WITHIN_PX;
    if (!drag.moved) return;
    stage.classList.add('dragging');
    shift(dx, dy);
  });
  handle.addEventListener('pointerup', () => {
    travelled = drag?.moved ?? false;
    if (travelled) settle();
    letGo();
  });
  handle.addEventListener('pointercancel', letGo);
  handle.addEventListener('click', (event) => {
    // A click comes after a drag too; only one that did not travel is a tap. Keys have no detail.
    if (travelled && event.detail > 0) return;
    swapped = !swapped;
    place();
  });
  handle.addEventListener('keydown', (event) => {
    const [vertical, horizontal] = stage.dataset.corner ?? 'br';
    const next = { ArrowUp: `t${horizontal}`, ArrowDown: `b${horizontal}`, ArrowLeft: `${vertical}l`, ArrowRight: `${vertical}r` }[event.key];
    if (!next) return;
    event.preventDefault();
    stage.dataset.corner = next;
  });

  function letGo() {
    drag = null;
    stage.classList.remove('dragging');
    shift(0, 0);
  }

  function settle() {
    const box = handle.getBoundingClientRect();
    const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
    const right = x > stage.clientWidth / 2;
    const low = y > stage.clientHeight / 2;
    stage.dataset.corner = CORNERS[(low ? 2 : 0) + (right ? 1 : 0)];
  }

  /** @param {number} dx @param {number} dy */
  function shift(dx, dy) {
    stage.style.setProperty('--dx', `${dx}px`);
    stage.style.setProperty('--dy', `${dy}px`);
  }

  function place() {
    stage.dataset.view = together ? (swapped ? 'self' : 'remote') : 'alone';
    self.classList.toggle('tile', together && !swapped);
    remote.classList.toggle('tile', together && swapped);
  }

  place();
  return {
    show(now) {
      if (now === together) return;
      together = now;
      swapped = false;
      place();
    },
  };
}
