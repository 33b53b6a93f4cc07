// Self view: the small picture in a corner of the call. Drag it to another corner, tap it to swap the pictures, or hide it:
// then a round button in its place shows whether the microphone is off, and brings it back.

const CORNERS = /** @type {const} */ (['tl', 'tr', 'bl', 'br']);
/** A press that moves less than this is a tap. */
const MAX_TAP_PX = 8;

export class SelfView {
  #stage;
  #self;
  #remote;
  #handle;
  #changed;
  /** Whether the own picture is the large one. */
  #swapped = false;
  /** Whether the own picture is hidden from its owner. */
  #hidden = false;
  /** Whether there are two pictures. */
  #inCall = false;
  /** @type {{x: number, y: number, moved: boolean} | null} */
  #drag = null;
  /** Whether the last press was a drag. */
  #dragged = false;

  /**
   * @param {object} parts
   * @param {HTMLElement} parts.stage
   * @param {HTMLElement} parts.self
   * @param {HTMLElement} parts.remote
   * @param {HTMLElement} parts.handle the button over the small picture
   * @param {() => void} parts.changed
   */
  constructor({ stage, self, remote, handle, changed }) {
    this.#stage = stage;
    this.#self = self;
    this.#remote = remote;
    this.#handle = handle;
    this.#changed = changed;
    stage.dataset.corner = 'br';
    handle.addEventListener('pointerdown', (event) => {
      this.#drag = { x: event.clientX, y: event.clientY, moved: false };
      handle.setPointerCapture(event.pointerId);
    });
    handle.addEventListener('pointermove', (event) => this.#pointerMoved(event));
    handle.addEventListener('pointerup', () => {
      this.#dragged = this.#drag?.moved ?? false;
      if (this.#dragged) this.#moveToNearestCorner();
      this.#endDrag();
    });
    handle.addEventListener('pointercancel', () => this.#endDrag());
    handle.addEventListener('click', (event) => {
      // A click follows a drag too. A key press has no detail.
      if (this.#dragged && event.detail > 0) return;
      if (this.#hidden) return this.setHidden(false);
      this.#swapped = !this.#swapped;
      this.#update();
    });
    handle.addEventListener('keydown', (event) => this.#moveByKey(event));
    this.#update();
  }

  /** @param {boolean} inCall whether there are two pictures */
  show(inCall) {
    if (inCall === this.#inCall) return;
    this.#inCall = inCall;
    this.#swapped = this.#hidden = false;
    this.#update();
  }

  get isHidden() {
    return this.#hidden;
  }

  /** Hides the own picture here, not for the other participant. @param {boolean} hidden */
  setHidden(hidden) {
    this.#hidden = hidden;
    if (hidden) this.#swapped = false;
    this.#update();
    this.#changed();
  }

  /** What a drag does, without one: to the next corner, counterclockwise. */
  moveOn() {
    this.#stage.dataset.corner = { br: 'tr', tr: 'tl', tl: 'bl', bl: 'br' }[this.#stage.dataset.corner ?? 'br'];
  }

  #update() {
    this.#stage.toggleAttribute('data-self-hidden', this.#hidden);
    this.#stage.dataset.view = this.#inCall ? (this.#swapped ? 'self' : 'remote') : 'alone';
    this.#self.classList.toggle('tile', this.#inCall && !this.#swapped);
    this.#remote.classList.toggle('tile', this.#inCall && this.#swapped);
  }

  /** @param {PointerEvent} event */
  #pointerMoved(event) {
    const drag = this.#drag;
    if (!drag) return;
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    drag.moved ||= Math.hypot(dx, dy) > MAX_TAP_PX;
    if (!drag.moved) return;
    this.#stage.classList.add('dragging');
    this.#setOffset(dx, dy);
  }

  #endDrag() {
    this.#drag = null;
    this.#stage.classList.remove('dragging');
    this.#setOffset(0, 0);
  }

  /** @param {number} dx @param {number} dy */
  #setOffset(dx, dy) {
    this.#stage.style.setProperty('--dx', `${dx}px`);
    this.#stage.style.setProperty('--dy', `${dy}px`);
  }

  #moveToNearestCorner() {
    const box = this.#handle.getBoundingClientRect();
    const isRight = box.left + box.width / 2 > this.#stage.clientWidth / 2;
    const isLow = box.top + box.height / 2 > this.#stage.clientHeight / 2;
    this.#stage.dataset.corner = CORNERS[(isLow ? 2 : 0) + (isRight ? 1 : 0)];
  }

  /** @param {KeyboardEvent} event */
  #moveByKey(event) {
    const [vertical, horizontal] = this.#stage.dataset.corner ?? 'br';
    const next = { ArrowUp: `t${horizontal}`, ArrowDown: `b${horizontal}`, ArrowLeft: `${vertical}l`, ArrowRight: `${vertical}r` }[event.key];
    if (!next) return;
    event.preventDefault();
    this.#stage.dataset.corner = next;
  }
}
