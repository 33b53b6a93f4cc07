// What axe-core finds serious in a page.

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Runs inside the page: what axe finds serious, with where it is. */
async function serious() {
  const { violations } = await globalThis.axe.run(document, { resultTypes: ['violations'] });
  return violations.filter(({ impact }) => ['serious', 'critical'].includes(impact))
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`);
}

/** Puts axe into the page; it stays until the page is opened anew. */
export const bringAxe = (seat) => seat.run(`${axe};0`);

/** What axe finds serious in what is shown now, with where it is. */
export const seriousIn = (seat) => seat.look(`${serious}`);
