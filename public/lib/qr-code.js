// QR code: a text as a square of dark and light modules (ISO/IEC 18004), in byte mode with error correction M.
//
// Pure, without the quiet zone; numbers in brackets are clauses of the standard's 2015 edition.

/** Error correction codewords of one block, by version; from 22 on as many as in 22 [table 9]. */
const CHECKS = [10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26, 26, 28];
/** Blocks, by version [table 9]. */
const BLOCKS = [1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16, 17, 17, 18, 20, 21, 23, 25, 26, 28, 29, 31,
  33, 35, 37, 38, 40, 43, 45, 47, 49];
/** A module is inverted where its mask is zero [7.8.2]. */
const MASKS = /** @type {((x: number, y: number) => number)[]} */ ([
  (x, y) => (x + y) % 2, (_, y) => y % 2, (x) => x % 3, (x, y) => (x + y) % 3,
  (x, y) => ((x / 3 | 0) + (y / 2 | 0)) % 2, (x, y) => (x * y) % 2 + (x * y) % 3,
  (x, y) => ((x * y) % 2 + (x * y) % 3) % 2, (x, y) => ((x + y) % 2 + (x * y) % 3) % 2,
]);

/** Powers of two in the field of 256 elements [7.5.2], and their logarithms. */
const EXP = new Uint8Array(255);
const LOG = new Uint8Array(256);
for (let i = 0, x = 1; i < 255; i += 1, x = (x << 1) ^ (x > 127 ? 0x11d : 0)) {
  EXP[i] = x;
  LOG[x] = i;
}

/**
 * @param {string} text
 * @param {() => Promise<void>} pause between the steps: the whole takes a slow phone a tenth of a second
 * @returns {Promise<boolean[][]>} rows of modules, true for dark; rejected where the text is too long for any
 */
export async function qr(text, pause) {
  const bytes = new TextEncoder().encode(text);
  const version = BLOCKS.findIndex((_, i) => capacityOf(i + 1) >= bytes.length) + 1;
  if (!version) throw new RangeError(`${bytes.length} bytes are too many for a QR code`);
  const stream = withChecks(padded(bytes, version), version);
  let best = { penalty: Infinity, grid: /** @type {boolean[][]} */ ([]) };
  for (const mask of MASKS.keys()) {
    await pause();
    const grid = draw(version, stream, mask);
    const penalty = penaltyOf(grid);
    if (penalty < best.penalty) best = { penalty, grid };
  }
  return best.grid;
}

/** @param {number} version bytes of text that fit */
function capacityOf(version) {
  return dataWords(version) - (version < 10 ? 2 : 3);
}

/** @param {number} version */
function checkWordsPerBlock(version) {
  return CHECKS[Math.min(version, 22) - 1];
}

/** Codewords of a symbol besides its patterns [table 1]. @param {number} version */
function allWords(version) {
  const across = alignments(version).length;
  const patterns = across ? (25 * across - 10) * across - 55 : 0;
  return ((16 * version + 128) * version + 64 - patterns - (version < 7 ? 0 : 36)) >> 3;
}

/** @param {number} version */
function dataWords(version) {
  return allWords(version) - checkWordsPerBlock(version) * BLOCKS[version - 1];
}

/** Centres of the alignment patterns, the same down and across [annex E]. @param {number} version */
function alignments(version) {
  if (version === 1) return [];
  const count = (version / 7 | 0) + 2;
  const step = ((version * 8 + count * 3 + 5) / (count * 4 - 4) | 0) * 2;
  return [6, ...Array.from({ length: count - 1 }, (_, i) => version * 4 + 10 - step * (count - 2 - i))];
}

/** Mode, length, text, end, and padding [7.4]. @param {Uint8Array} bytes @param {number} version */
function padded(bytes, version) {
  const length = bytes.length.toString(2).padStart(version < 10 ? 8 : 16, '0');
  const bits = `0100${length}${Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('')}0000`;
  const words = (bits.match(/.{8}/g) ?? []).map((word) => parseInt(word, 2));
  const filled = words.length;
  while (words.length < dataWords(version)) words.push((words.length - filled) % 2 ? 17 : 236);
  return words;
}

/** Splits into blocks, adds their error correction, and interleaves them [7.6]. @param {number[]} data @param {number} version */
function withChecks(data, version) {
  const blocks = BLOCKS[version - 1];
  const short = data.length / blocks | 0;
  let from = 0;
  const cut = Array.from({ length: blocks }, (_, i) => {
    const length = short + (i < blocks - data.length % blocks ? 0 : 1);
    return data.slice(from, from += length);
  });
  const checks = cut.map((block) => remainder(block, checkWordsPerBlock(version)));
  return [cut, checks].flatMap((part) => Array.from({ length: short + checkWordsPerBlock(version) },
    (_, i) => part.flatMap((block) => block[i] ?? [])).flat());
}

/** Reed-Solomon: remainder of `block` divided by the generator of `degree` [7.5.2]. @param {number[]} block @param {number} degree */
function remainder(block, degree) {
  let generator = [1];
  for (let i = 0; i < degree; i += 1) {
    generator = [...generator, 0].map((factor, j) => factor ^ multiply(generator[j - 1] ?? 0, EXP[i]));
  }
  const rest = [...block, ...Array(degree).fill(0)];
  for (let i = 0; i < block.length; i += 1) {
    const lead = rest[i];
    generator.forEach((factor, j) => { rest[i + j] ^= multiply(factor, lead); });
  }
  return rest.slice(block.length);
}

/** @param {number} a @param {number} b */
function multiply(a, b) {
  return a && b ? EXP[(LOG[a] + LOG[b]) % 255] : 0;
}

/** `value` followed by its BCH remainder [annexes C, D]. @param {number} value @param {number} divisor @param {number} bits of the remainder */
function bch(value, divisor, bits) {
  let rest = value << bits;
  for (let i = 31 - Math.clz32(rest || 1); i >= bits; i -= 1) if (rest >> i & 1) rest ^= divisor << (i - bits);
  return value << bits | rest;
}

/**
 * @param {number} version
 * @param {number[]} stream
 * @param {number} mask
 */
function draw(version, stream, mask) {
  const size = version * 4 + 17;
  /** @type {(boolean | undefined)[][]} */
  const grid = Array.from({ length: size }, () => Array(size).fill(undefined));
  /** @param {number} x @param {number} y @param {unknown} dark */
  const put = (x, y, dark) => { if (grid[y] && x >= 0 && x < size) grid[y][x] = Boolean(dark); };
  /** Rings around a centre, dark but for those named. @param {number} cx @param {number} cy @param {number} reach @param {number[]} light */
  const rings = (cx, cy, reach, light) => {
    for (let y = -reach; y <= reach; y += 1) {
      for (let x = -reach; x <= reach; x += 1) put(cx + x, cy + y, !light.includes(Math.max(Math.abs(x), Math.abs(y))));
    }
  };

  for (let i = 8; i < size - 8; i += 1) {
    put(6, i, i % 2 === 0);
    put(i, 6, i % 2 === 0);
  }
  for (const [x, y] of [[3, 3], [size - 4, 3], [3, size - 4]]) rings(x, y, 4, [2, 4]);
  const centres = alignments(version);
  // Except in the three corners with a finder pattern.
  for (const x of centres) for (const y of centres) if (Math.min(x, y) > 6 || ![6, size - 7].includes(Math.max(x, y))) rings(x, y, 2, [1]);
  formats(version, mask, size, put);

  let bit = 0;
  for (let right = size - 1, up = true; right > 0; right -= 2, up = !up) {
    if (right === 6) right = 5;
    for (let step = 0; step < size; step += 1) {
      const y = up ? size - 1 - step : step;
      for (const x of [right, right - 1]) {
        if (grid[y][x] !== undefined) continue;
        const dark = stream[bit >> 3] >> (7 - bit % 8) & 1;
        bit += 1;
        grid[y][x] = Boolean(dark) !== (MASKS[mask](x, y) === 0);
      }
    }
  }
  return /** @type {boolean[][]} */ (grid);
}

/**
 * Format information [7.9] and version information [7.10], twice each.
 * @param {number} version
 * @param {number} mask
 * @param {number} size
 * @param {(x: number, y: number, dark: unknown) => void} put
 */
function formats(version, mask, size, put) {
  const format = bch(mask, 0x537, 10) ^ 0x5412;
  for (let i = 0; i < 15; i += 1) {
    const dark = format >> i & 1;
    const near = i < 6 ? i : i < 8 ? i + 1 : i === 8 ? 7 : 14 - i;
    if (i < 8) {
      put(8, near, dark);
      put(size - 1 - i, 8, dark);
    } else {
      put(near, 8, dark);
      put(8, size - 15 + i, dark);
    }
  }
  put(8, size - 8, true);
  if (version < 7) return;
  const bits = bch(version, 0x1f25, 12);
  for (let i = 0; i < 18; i += 1) {
    const [a, b] = [size - 11 + i % 3, i / 3 | 0];
    put(a, b, bits >> i & 1);
    put(b, a, bits >> i & 1);
  }
}

/** Penalty score: runs, squares, false finders, imbalance [7.8.3]. @param {boolean[][]} grid */
function penaltyOf(grid) {
  const rows = grid.map((row) => row.map(Number).join(''));
  const columns = grid.map((_, x) => grid.map((row) => Number(row[x])).join(''));
  const dark = rows.join('').replace(/0/g, '').length;
  let score = 10 * Math.floor(Math.abs(dark * 20 / grid.length ** 2 - 10));
  for (const line of [...rows, ...columns]) {
    for (const [run] of line.matchAll(/0{5,}|1{5,}/g)) score += run.length - 2;
    score += 40 * (line.match(/(?=10111010000|00001011101)/g)?.length ?? 0);
  }
  grid.forEach((row, y) => row.forEach((one, x) => {
    if (y && x && row[x - 1] === one && grid[y - 1][x] === one && grid[y - 1][x - 1] === one) score += 3;
  }));
  return score;
}
