// Stepping back: after three seconds without a touch, a key or a pointer, everything of ours fades.
//
// It sets one attribute on the body; the style sheet does the fading.

const STEP_BACK_MS = 3000;

/**
 * @param {object} parts
 * @param {HTMLElement} parts.body
 * @param {HTMLElement} parts.stage a tap on the picture sends everything away, or brings it back
 * @param {import('./signaling.js').Clock} parts.clock
 * @param {() => boolean} parts.mayStepBack
 * @returns {{come: () => void}}
 */
export function makeChrome({ body, stage, clock, mayStepBack }) {
  /** @type {any} */
  let timer;

  function come() {
    body.dataset.chrome = 'shown';
    clock.cancel(timer);
    timer = clock.after(stepBack, STEP_BACK_MS);
  }

  function stepBack() {
    if (!mayStepBack()) return come();
    body.dataset.chrome = 'away';
  }

  let wasShown = true;
  body.addEventListener('pointerdown', () => {
    wasShown = body.dataset.chrome === 'shown';
    come();
  }, true);
  for (const event of ['keydown', 'focusin']) {
    body.addEventListener(event, ({ target }) => {
      // Who writes is not busy with the rest.
      if (!(target instanceof HTMLTextAreaElement)) come();
    }, true);
  }
  body.addEventListener('pointermove', (event) => { if (event.pointerType === 'mouse') come(); }, true);
  stage.addEventListener('click', (event) => {
    const onPicture = event.target instanceof Element && !event.target.closest('button');
    if (onPicture && wasShown && mayStepBack()) body.dataset.chrome = 'away';
  });
  return { come };
}
