import assert from 'node:assert/strict';
import { test } from 'node:test';
import jsqr from 'jsqr';
import { qr } from '../../../public/lib/qr-code.js';

const SCALE = 4;
const QUIET = 4;

/** The text that an independent decoder reads from the symbol. */
function read(rows) {
  const size = (rows.length + 2 * QUIET) * SCALE;
  const pixels = new Uint8ClampedArray(size * size * 4).fill(255);
  rows.forEach((row, y) => row.forEach((dark, x) => {
    if (!dark) return;
    for (let i = 0; i < SCALE * SCALE; i += 1) {
      const [px, py] = [(x + QUIET) * SCALE + i % SCALE, (y + QUIET) * SCALE + Math.floor(i / SCALE)];
      pixels.set([0, 0, 0, 255], (py * size + px) * 4);
    }
  }));
  return (jsqr.default ?? jsqr)(pixels, size, size)?.data;
}

const code = (text) => qr(text, async () => {});

test('a QR code decodes to the link', async () => {
  for (const link of ['https://call.example/r/baba-dodo-kiki-luzu-pena-vero', 'https://localhost:8443/r/%E6%88%BF', 'https://例子.example/房间']) {
    assert.equal(read(await code(link)), link);
  }
});

test('every size up to the longest link decodes', async () => {
  const sizes = new Set();
  // 40 more bytes are at most one version more up to here.
  for (let length = 1; length <= 1100; length += 25) {
    const text = `https://x.example/r/${'%E6'.repeat(400)}`.slice(0, length);
    const rows = await code(text);
    sizes.add(rows.length);
    assert.equal(read(rows), text, `${length} bytes`);
  }
  assert.ok(sizes.size >= 24, `${sizes.size} sizes`);
});

test('text too long for any symbol is rejected', async () => {
  assert.equal((await code('a'.repeat(2331))).length, 177);
  await assert.rejects(code('a'.repeat(2332)), RangeError);
});

test('text that fills a symbol completely decodes', async () => {
  for (const length of [14, 26, 42, 62, 84, 106, 122, 152, 180, 213]) {
    const text = 'u'.repeat(length);
    const [full, over] = [await code(text), await code(`${text}u`)];
    assert.equal(over.length, full.length + 4, `${length} bytes`);
    assert.equal(read(full), text);
  }
});
