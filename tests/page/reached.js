// Which scripts a page comes to need.

import { readFileSync } from 'node:fs';

const source = (name) => readFileSync(new URL(`../../public/${name}`, import.meta.url), 'utf8');

/** The scripts a page names, and all they import from their first line on; with `later`, also what they import when needed. */
export function reached(page, { later = false } = {}) {
  const found = new Set([...source(page).matchAll(/<script[^>]*\ssrc="\/([^"]+)"/g)].map(([, name]) => name));
  for (const name of found) {
    for (const [, other] of source(name).matchAll(/^(?:import|export) (?:[^;]*? from )?'\.\/([^']+)'/gm)) found.add(other);
    if (later) for (const [, other] of source(name).matchAll(/\bimport\('\.\/([^']+)'\)/g)) found.add(other);
  }
  return found;
}
