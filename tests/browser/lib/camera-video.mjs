// Renders a video for Chromium's fake camera: a drawn person who nods and blinks in front of a drawn room. The browser
// draws it, which needs no recording of a real person in the repository.

import { writeFile } from 'node:fs/promises';
import { launch } from './browsers.mjs';

const WIDTH = 1280;
const HEIGHT = 720;
const FRAMES = 90;

/** Two persons that are easy to tell apart. */
export const PERSON_A = { wall: '#f3d9c0', shade: '#e8c6a6', skin: '#c98b66', blush: '#b9735a', hair: '#2c2027', shirt: '#2f7f79', window: '#bfe3f2', long: true };
export const PERSON_B = { wall: '#cfdbe6', shade: '#b9c9d8', skin: '#f0c6a4', blush: '#e59f86', hair: '#a3552b', shirt: '#3d5a98', window: '#fbe3b0', long: false };

/** Writes a motion JPEG of three seconds that loops seamlessly. */
export async function renderCameraVideo(file, person, { dir, ca }) {
  const browser = await launch('chromium', { dir, ca });
  try {
    const page = await browser.newPage();
    await page.setViewport({ width: WIDTH, height: HEIGHT });
    const frames = [];
    for (let frame = 0; frame < FRAMES; frame += 1) {
      await page.setContent(`<body style="margin:0">${drawFrame(person, frame / FRAMES)}</body>`);
      frames.push(await page.screenshot({ type: 'jpeg', quality: 92 }));
    }
    await writeFile(file, Buffer.concat(frames));
    return file;
  } finally {
    await browser.close();
  }
}

/** The frame at `position` in the loop, 0 to 1. */
function drawFrame(person, position) {
  const swing = Math.sin(position * 2 * Math.PI);
  const nod = 6 * Math.sin(position * 4 * Math.PI);
  const open = Math.abs(position - 0.62) < 0.017 ? 0.1 : 1;
  const smile = 26 + 6 * swing;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 1280 720">
  <rect width="1280" height="720" fill="${person.wall}"/>
  <rect y="560" width="1280" height="160" fill="${person.shade}"/>
  <g transform="translate(120 90)">
    <rect width="300" height="330" rx="10" fill="#fff"/><rect x="14" y="14" width="272" height="302" fill="${person.window}"/>
    <circle cx="210" cy="90" r="34" fill="#fff8dc"/><path d="M14 316 L14 240 Q90 180 150 236 T286 216 L286 316Z" fill="#8fb996"/>
    <rect x="145" y="14" width="10" height="302" fill="#fff"/><rect x="14" y="160" width="272" height="10" fill="#fff"/>
  </g>
  <g transform="translate(960 150)">
    <rect y="150" width="250" height="14" rx="4" fill="#8a6a4f"/>
    ${['#b5523b', '#e0a458', '#4d7c8a', '#7a6c9d', '#5c8d61'].map((color, book) => `<rect x="${14 + book * 30}" y="${60 + (book % 3) * 12}" width="25" height="${90 - (book % 3) * 12}" rx="3" fill="${color}"/>`).join('')}
    <path d="M186 150 q-4-60 10-92 M192 150 q20-50 44-62 M190 150 q-24-40-30-58" stroke="#4f8a5b" stroke-width="9" fill="none" stroke-linecap="round"/>
    <path d="M172 120h44l-6 30h-32z" fill="#c9744f"/>
  </g>
  <g transform="translate(${640 + 10 * swing} ${400 + nod})">
    ${person.long ? `<path d="M-150 -70 Q-170 -250 0 -256 Q170 -250 150 -70 L168 170 Q0 240 -168 170Z" fill="${person.hair}"/>` : ''}
    <path d="M-270 340 Q-262 190 -110 160 L110 160 Q262 190 270 340Z" fill="${person.shirt}" transform="translate(0 ${-nod})"/>
    <path d="M-56 60 L-56 168 Q0 222 56 168 L56 60Z" fill="${person.blush}"/>
    <ellipse cy="-60" rx="122" ry="152" fill="${person.skin}"/>
    <ellipse cx="-122" cy="-52" rx="20" ry="32" fill="${person.skin}"/><ellipse cx="122" cy="-52" rx="20" ry="32" fill="${person.skin}"/>
    ${person.long
    ? `<path d="M-130 -60 Q-140 -226 0 -232 Q140 -226 126 -84 Q108 -150 30 -176 Q-60 -120 -130 -60Z" fill="${person.hair}"/>`
    : `<path d="M-130 -80 Q-150 -226 -20 -236 Q150 -240 132 -80 Q116 -138 70 -152 Q-30 -126 -96 -156 Q-120 -130 -130 -80Z" fill="${person.hair}"/>`}
    <g fill="${person.blush}" opacity=".5"><circle cx="-70" cy="-8" r="20"/><circle cx="70" cy="-8" r="20"/></g>
    <g fill="#2b2226"><ellipse cx="-46" cy="-58" rx="11" ry="${14 * open}"/><ellipse cx="46" cy="-58" rx="11" ry="${14 * open}"/></g>
    <g stroke="${person.hair}" stroke-width="8" stroke-linecap="round" fill="none"><path d="M-68 -92 q22-14 44-2"/><path d="M68 -92 q-22-14-44-2"/></g>
    <path d="M-2 -48 q-12 38 6 40" stroke="${person.blush}" stroke-width="6" fill="none" stroke-linecap="round"/>
    <path d="M-40 22 Q0 ${22 + smile * 1.6} 40 22 Q0 34 -40 22Z" fill="#fff" stroke="#8d3f3a" stroke-width="6" stroke-linejoin="round"/>
  </g></svg>`;
}
