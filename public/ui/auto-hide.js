// Stepping back: after three seconds without a touch, a key or a pointer, everything of ours fades.
//
// It sets one attribute on the body; the style sheet does the fading, for the eye only: the keyboard and whoever listens
// always reach what has faded, and what the keyboard is on never fades.

const STEP_BACK_MS = 3000;

/**
 * @param {object} parts
 * @param {HTMLElement} parts.body
 * @param {HTMLElement} parts.stage a tap on the picture sends everything away, or brings it back
 * @param {import('../lib/clock.js').Clock} parts.clock
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
    if (!mayStepBack() || body.querySelector('.chrome :focus-visible')) return come();
    body.dataset.chrome = 'away';
  }

  let wasShown = true;
  let reveals = false;
  /** @param {EventTarget | null} target */
  const isOurs = (target) => target instanceof Element && target.closest('.chrome') !== null;
  body.addEventListener('pointerdown', ({ target }) => {
    wasShown = body.dataset.chrome === 'shown';
    reveals = !wasShown && !isOurs(target);
    come();
  }, true);
  // A finger lands on the picture and is lifted from a button that it has brought back: nobody meant to press that.
  body.addEventListener('click', (event) => {
    const revealed = reveals;
    reveals = false;
    if (!revealed || event.detail === 0 || !isOurs(event.target)) return;
    event.preventDefault();
    event.stopPropagation();
  }, true);
  body.addEventListener('pointercancel', () => { reveals = false; }, true);
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
