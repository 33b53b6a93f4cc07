// Whoever has only a keyboard: what has the focus, and the way to something by Tab.

import assert from 'node:assert/strict';
import { until } from './work.mjs';

/** Runs inside the page: what has the focus, and whether one can see that it has. */
function focused() {
  const one = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(one);
  const { width, height } = one.getBoundingClientRect();
  return { name: one.id || one.dataset.act || one.tagName, ring: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2, shown: width > 1 && height > 1 };
}

/** Presses Tab until this has the focus; every stop on the way shows that it has it. */
export async function tabTo(seat, name) {
  const passed = [];
  while (passed.length < 30) {
    await seat.press('Tab');
    const now = await seat.look(`${focused}`);
    // Past the last stop the focus leaves the page and comes in again at the top.
    if (now.name !== 'BODY') assert.ok(now.ring && now.shown, `${now.name}: ${JSON.stringify(now)}`);
    if (now.name === name) return;
    passed.push(now.name);
  }
  assert.fail(`no way to ${name}: ${passed.join(', ')}`);
}

export const has = (seat, name) => until(`the focus on ${name}`, async () => {
  const now = await seat.look(`${focused}`);
  return now.name === name ? true : Promise.reject(new Error(now.name));
}, 5000);
export const is = (seat, what, truth) => until(what, () => seat.look(`() => ${truth}`), 10_000);
