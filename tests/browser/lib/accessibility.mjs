// Accessibility checks: keyboard focus, and serious axe-core violations.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { waitFor } from './wait.mjs';

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Runs in the page: the focused element, and whether its focus is visible. */
function focusedElement() {
  const element = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(element);
  const { width, height } = element.getBoundingClientRect();
  return {
    name: element.id || element.dataset.act || element.tagName,
    hasOutline: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2,
    isVisible: width > 1 && height > 1,
  };
}

/** Presses Tab until the element with this id or `data-act` has the focus; every stop before it must show its focus. */
export async function tabTo(participant, name) {
  const stops = [];
  while (stops.length < 30) {
    await participant.press('Tab');
    const focused = await participant.evaluate(`${focusedElement}`);
    // After the last stop the focus leaves the page and re-enters at the top.
    if (focused.name !== 'BODY') assert.ok(focused.hasOutline && focused.isVisible, `${focused.name}: ${JSON.stringify(focused)}`);
    if (focused.name === name) return;
    stops.push(focused.name);
  }
  assert.fail(`Tab does not reach ${name}: ${stops.join(', ')}`);
}

export const waitForFocus = (participant, name) => waitFor(`the focus on ${name}`, async () => {
  const focused = await participant.evaluate(`${focusedElement}`);
  return focused.name === name ? true : Promise.reject(new Error(focused.name));
}, 5000);

/** Runs in the page: serious axe violations with the elements they concern. */
async function seriousViolations() {
  const { violations } = await globalThis.axe.run(document, { resultTypes: ['violations'] });
  return violations.filter(({ impact }) => ['serious', 'critical'].includes(impact))
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`);
}

/** Loads axe into the page; a reload removes it. */
export const injectAxe = (participant) => participant.runScript(`${axe};0`);

/** Serious axe violations in what the page shows now. */
export const seriousAxeViolations = (participant) => participant.evaluate(`${seriousViolations}`);
