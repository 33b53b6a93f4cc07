// Auto-hide: the controls fade after three seconds without a touch, a key or a pointer, and any of these shows them again.
//
// It sets `data-chrome` on the body; the style sheet fades. Faded controls stay reachable by keyboard and screen reader, and
// none fades while one of them has the keyboard focus or the mouse over it.

/** @import { Clock, Timer } from '../lib/clock.js' */

const HIDE_AFTER_MS = 3000;
/** A tap hides the controls only when no second one follows, which belongs to a double tap. */
const DOUBLE_TAP_MS = 350;

export class AutoHide {
  #body;
  #clock;
  #mayHide;
  /** @type {Timer | undefined} */
  #timer;
  /** Runs for a moment after a tap. @type {Timer | undefined} */
  #tapTimer;
  /** Whether the current press is the second one of a double tap. */
  #isSecond = false;
  /** Whether the controls were shown before the last press. */
  #wasShown = true;
  /** Whether the current press began on the video and has shown the controls. */
  #reveals = false;
  /** Whether the last pointer was a mouse: a finger leaves `:hover` behind. */
  #hasMouse = false;

  /**
   * @param {object} parts
   * @param {HTMLElement} parts.body
   * @param {HTMLElement} parts.stage a tap on the video hides the controls, or shows them
   * @param {Clock} parts.clock
   * @param {() => boolean} parts.mayHide
   */
  constructor({ body, stage, clock, mayHide }) {
    this.#body = body;
    this.#clock = clock;
    this.#mayHide = mayHide;
    body.addEventListener('pointerdown', (event) => this.#pressed(event), true);
    body.addEventListener('click', (event) => this.#clicked(event), true);
    body.addEventListener('pointercancel', () => { this.#reveals = false; }, true);
    for (const name of ['keydown', 'focusin']) {
      body.addEventListener(name, ({ target }) => {
        // Typing a message does not show the controls.
        if (!(target instanceof HTMLTextAreaElement)) this.show();
      }, true);
    }
    body.addEventListener('pointermove', (event) => {
      this.#hasMouse = event.pointerType === 'mouse';
      if (this.#hasMouse) this.show();
    }, true);
    stage.addEventListener('click', (event) => {
      const onVideo = event.target instanceof Element && !event.target.closest('button');
      if (onVideo && !this.#isSecond) this.#awaitSecondTap(this.#wasShown);
    });
  }

  /** Shows the controls for the next three seconds. */
  show() {
    this.#body.dataset.chrome = 'shown';
    this.#clock.cancel(this.#timer);
    this.#timer = this.#clock.after(() => this.#hide(), HIDE_AFTER_MS);
  }

  /** @param {boolean} hides whether the tap hides the controls if no second one follows */
  #awaitSecondTap(hides) {
    this.#tapTimer = this.#clock.after(() => {
      this.#tapTimer = undefined;
      if (hides && this.#mayHide()) this.#body.dataset.chrome = 'away';
    }, DOUBLE_TAP_MS);
  }

  #hide() {
    const inUse = `.chrome :focus-visible${this.#hasMouse ? ', .chrome > :hover, #knocks:hover' : ''}`;
    if (!this.#mayHide() || this.#body.querySelector(inUse)) return this.show();
    this.#body.dataset.chrome = 'away';
  }

  /** @param {PointerEvent} event */
  #pressed({ target, pointerType }) {
    this.#hasMouse = pointerType === 'mouse';
    this.#isSecond = this.#tapTimer !== undefined;
    this.#clock.cancel(this.#tapTimer);
    this.#tapTimer = undefined;
    this.#wasShown = this.#body.dataset.chrome === 'shown';
    this.#reveals = !this.#wasShown && !isControl(target);
    this.show();
  }

  /** A finger that touched the video may be lifted from a button that it has just shown: that is not a press of the button.
   *  @param {MouseEvent} event */
  #clicked(event) {
    const revealed = this.#reveals;
    this.#reveals = false;
    if (!revealed || event.detail === 0 || !isControl(event.target)) return;
    event.preventDefault();
    event.stopPropagation();
  }
}

/** @param {EventTarget | null} target */
const isControl = (target) => target instanceof Element && target.closest('.chrome') !== null;
