// Whoever listens, or sees little: axe-core finds nothing serious in any state of the page, in both languages and
// both themes, and what lies over the picture can be read whatever the picture is.

import assert from 'node:assert/strict';
import { bringAxe, seriousIn } from './lib/axe.mjs';
import { setStage } from './lib/stage.mjs';
import { themes, tour } from './lib/tour.mjs';

const stage = await setStage('access');

/** Runs inside the page: what of ours over the picture has less contrast than AA asks, were the picture white or black. */
function faint() {
  const numbers = (color) => color.match(/[\d.]+/g).map(Number);
  const light = (rgb) => {
    const [r, g, b] = rgb.map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  for (const one of document.querySelectorAll('.top .badge, .bar button, .pill')) {
    if (!one.checkVisibility({ visibilityProperty: true }) || one.clientWidth <= 1) continue;
    const style = getComputedStyle(one);
    const [r, g, b, alpha = 1] = numbers(style.backgroundColor);
    for (const picture of [0, 255]) {
      const [ink, ground] = [numbers(style.color).slice(0, 3), [r, g, b].map((part) => part * alpha + picture * (1 - alpha))].map(light);
      const contrast = (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
      // An icon needs 3 (WCAG 1.4.11), words need 4.5 (1.4.3).
      if (contrast < (one.textContent.trim() ? 4.5 : 3)) found.push(`${one.id || one.dataset.act}: ${contrast.toFixed(1)}`);
    }
  }
  return found;
}

for (const language of ['en', 'zh']) {
  stage.scene(`axe finds nothing serious in any state (${language})`, async () => {
    const wrong = [];
    let looked = 0;
    await tour(stage, language, async (seat, state) => {
      await bringAxe(seat);
      for (const theme of themes(state)) {
        await seat.theme(theme);
        await seat.touch();
        await seat.look('() => Promise.all(document.getAnimations().filter((one) => one.effect.getTiming().iterations === 1).map((one) => one.finished.catch(() => {})))');
        const found = [...await seriousIn(seat), ...await seat.look(`${faint}`)];
        wrong.push(...found.map((what) => `${state}-${theme}: ${what}`));
        looked += 1;
      }
    });
    assert.ok(looked >= 38, `${looked} looks`);
    assert.deepEqual(wrong, []);
  }, 500_000);
}
