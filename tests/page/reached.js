// Which modules a page loads.

import { readFileSync } from 'node:fs';
import { posix } from 'node:path';

const source = (name) => readFileSync(new URL(`../../public/${name}`, import.meta.url), 'utf8');

/** The modules a page names and all their static imports; with `later`, dynamic imports too. Paths are relative to public/. */
export function reached(page, { later = false } = {}) {
  const found = new Set([...source(page).matchAll(/<script[^>]*\ssrc="\/([^"]+)"/g)].map(([, name]) => name));
  for (const name of found) {
    const imports = [...source(name).matchAll(/^(?:import|export) (?:[^;]*? from )?'(\.[^']+)'/gm)];
    if (later) imports.push(...source(name).matchAll(/\bimport\('(\.[^']+)'\)(?!\.)/g));
    for (const [, other] of imports) found.add(posix.join(posix.dirname(name), other));
  }
  return found;
}
