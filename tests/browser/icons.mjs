// A program: draws the icons of public/ that phones want as PNG from public/icon.svg, again after a change there.
//
//   node tests/browser/icons.mjs
//
// Those that a phone cuts to a shape of its own fill their square.

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { makeAuthority } from './lib/authority.mjs';
import { launch } from './lib/browsers.mjs';
import { root, workDir } from './lib/work.mjs';

const ICONS = { 'icon-192.png': [192], 'icon-512.png': [512], 'icon-180.png': [180, 'whole'], 'icon-maskable.png': [512, 'whole'] };

const dir = await workDir('icons');
const { ca } = await makeAuthority(path.join(dir, 'authority'));
const drawing = await readFile(path.join(root, 'public/icon.svg'), 'utf8');
const browser = await launch('chromium', { dir, ca });
try {
  const page = await browser.newPage();
  for (const [name, [size, whole]] of Object.entries(ICONS)) {
    await page.setViewport({ width: size, height: size });
    const svg = whole ? drawing.replace(/ rx="8"/, '') : drawing;
    await page.setContent(`<body style="margin:0">${svg.replace('<svg ', `<svg style="display:block" width="${size}" height="${size}" `)}</body>`);
    await page.screenshot({ path: path.join(root, 'public', name), omitBackground: true });
  }
} finally {
  await browser.close();
}
