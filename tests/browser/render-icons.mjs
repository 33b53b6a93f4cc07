// A program: renders the PNG icons of public/ from public/icon.svg. Run it after a change to the SVG.
//
//   node tests/browser/render-icons.mjs
//
// Icons that a phone crops to its own shape fill the whole square.

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { launch } from './lib/browsers.mjs';
import { createCertificateAuthority } from './lib/certificate-authority.mjs';
import { createWorkDir, root } from './lib/workspace.mjs';

const ICONS = {
  'icon-192.png': { size: 192 },
  'icon-512.png': { size: 512 },
  'icon-180.png': { size: 180, fullSquare: true },
  'icon-maskable.png': { size: 512, fullSquare: true },
};

const dir = await createWorkDir('render-icons');
const { ca } = await createCertificateAuthority(path.join(dir, 'authority'));
const source = await readFile(path.join(root, 'public/icon.svg'), 'utf8');
const browser = await launch('chromium', { dir, ca });
try {
  const page = await browser.newPage();
  for (const [name, { size, fullSquare }] of Object.entries(ICONS)) {
    await page.setViewport({ width: size, height: size });
    const svg = fullSquare ? source.replace(/ rx="8"/, '') : source;
    await page.setContent(`<body style="margin:0">${svg.replace('<svg ', `<svg style="display:block" width="${size}" height="${size}" `)}</body>`);
    await page.screenshot({ path: path.join(root, 'public', name), omitBackground: true });
  }
} finally {
  await browser.close();
}
