// Every state the page shows a person, at three sizes of screen, in both languages and both themes, as
// pictures to look at in tests/.work/screens. What a machine can see of them is asserted: nothing hangs out of
// the screen, nothing is cut off, nothing lies over another thing that is to be touched or over a face.

import assert from 'node:assert/strict';
import path from 'node:path';
import { setStage } from './lib/stage.mjs';
import { themes, tour } from './lib/tour.mjs';

const stage = await setStage('screens');
const SIZES = [[390, 844], [844, 390], [1440, 900]];

/** Runs inside the page: what is wrong with what is shown now. */
function faults() {
  const found = [];
  const dialog = document.querySelector('dialog[open]');
  const seen = (one) => one.checkVisibility({ visibilityProperty: true }) && (!dialog || dialog.contains(one));
  const name = (one) => `${one.id || one.dataset.act || one.dataset.word || one.className || one.tagName} "${one.textContent.slice(0, 30)}"`;
  if (document.documentElement.scrollWidth > innerWidth) found.push(`${document.documentElement.scrollWidth - innerWidth} pixels too wide`);

  for (const one of document.querySelectorAll('h1, h2, h3, p, span, dt, dd, button, label')) {
    if (seen(one) && !one.closest('.unseen, .code, [data-unread]') && one.clientWidth > 1 && one.scrollWidth > one.clientWidth + 1) found.push(`cut off: ${name(one)}`);
  }
  const touched = [...document.querySelectorAll('button, select, input, textarea')].filter(seen);
  // A box to tick is touched by its words as well.
  const boxes = touched.map((one) => ({ one, box: (one.closest('.switch') ?? one).getBoundingClientRect() }));
  const scrolls = (one) => one.closest('dialog') || document.body.dataset.screen !== 'call';
  for (const [i, { one, box }] of boxes.entries()) {
    if (box.width < 48 || box.height < 48) found.push(`${name(one)} is ${box.width} by ${box.height}`);
    if (box.left < 0 || box.right > innerWidth || (!scrolls(one) && (box.top < 0 || box.bottom > innerHeight))) found.push(`out of the screen: ${name(one)}`);
    for (const { one: other, box: its } of boxes.slice(i + 1)) {
      const [wide, high] = [Math.min(box.right, its.right) - Math.max(box.left, its.left), Math.min(box.bottom, its.bottom) - Math.max(box.top, its.top)];
      if (wide > 1 && high > 1) found.push(`${name(one)} and ${name(other)} overlap`);
    }
  }

  const frame = document.getElementById('remoteFrame').getBoundingClientRect();
  if (document.body.dataset.screen !== 'call' || dialog || frame.width === 0) return found;
  // A screen that stands still is there to be read: nothing that is said lies over it, but that the way to it is lost.
  if (document.getElementById('theirScreen').textContent) {
    const video = document.getElementById('remote');
    const top = frame.top + parseFloat(getComputedStyle(video).paddingTop);
    const drawn = top + Math.max(0, (frame.bottom - top - (frame.width * video.videoHeight) / video.videoWidth) / 2);
    for (const one of document.querySelectorAll('.pill:not([data-state=reconnecting]), .top .badge')) {
      if (seen(one) && one.clientWidth > 1 && one.getBoundingClientRect().bottom > drawn + 1) found.push(`over the screen: ${name(one)}`);
    }
  }
  // Of the face, the middle of the picture: only pictures and what says that there is none.
  for (const [x, y] of [[0.5, 0.5], [0.4, 0.42], [0.6, 0.42], [0.5, 0.6]]) {
    const top = document.elementFromPoint(frame.left + frame.width * x, frame.top + frame.height * y);
    if (!top?.closest('.frame')) found.push(`over the face: ${top && name(top)}`);
  }
  return found;
}

for (const language of ['en', 'zh']) {
  stage.scene(`no state of the page is cut off, covered or too wide (${language})`, async () => {
    const wrong = [];
    await tour(stage, language, async (seat, state) => {
      for (const [width, height] of SIZES) {
        await seat.resize(width, height);
        for (const theme of themes(state)) {
          await seat.theme(theme);
          await seat.touch();
          // Fades are over before the picture is taken.
          await seat.look('() => Promise.all(document.getAnimations().filter((one) => one.effect.getTiming().iterations === 1).map((one) => one.finished.catch(() => {})))');
          const where = `${state}-${language}-${theme}-${width}x${height}`;
          await seat.screenshot(path.join(stage.dir, `${where}.png`));
          if (theme === 'light') wrong.push(...(await seat.look(`${faults}`)).map((what) => `${where}: ${what}`));
        }
      }
    });
    assert.deepEqual(wrong, []);
  }, 500_000);
}
