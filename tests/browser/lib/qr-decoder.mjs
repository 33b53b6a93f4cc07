// Decodes a QR code that the page shows.

import { createRequire } from 'node:module';
import { waitFor } from './wait.mjs';

const jsqr = createRequire(import.meta.url)('jsqr');

/** Waits until the SVG element with this id has a QR code; returns its text. */
export async function decodeCode(participant, id) {
  const { size, pixels } = await waitFor('the QR code', () => participant.evaluate(`async () => {
    const svg = document.getElementById('${id}').cloneNode(true);
    if (!svg.childElementCount) return null;
    const size = 400;
    svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
    svg.setAttribute('width', size);
    svg.setAttribute('height', size);
    const image = new Image();
    image.src = 'data:image/svg+xml,' + encodeURIComponent(new XMLSerializer().serializeToString(svg));
    await image.decode();
    const context = Object.assign(document.createElement('canvas'), { width: size, height: size }).getContext('2d');
    context.fillStyle = '#fff';
    context.fillRect(0, 0, size, size);
    context.drawImage(image, 0, 0, size, size);
    return { size, pixels: [...context.getImageData(0, 0, size, size).data] };
  }`));
  return (jsqr.default ?? jsqr)(Uint8ClampedArray.from(pixels), size, size)?.data;
}
