// A program: takes the picture of a call for the README, docs/call.png, or the file named.
//
//   node tests/browser/screenshot.mjs [FILE]

import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { makeAuthority } from './lib/authority.mjs';
import { startBox } from './lib/box.mjs';
import { MAYA, TOM, makeFilm } from './lib/film.mjs';
import { makeSeat } from './lib/seat.mjs';
import { root, until, workDir } from './lib/work.mjs';

const file = path.resolve(process.argv[2] ?? path.join(root, 'docs/call.png'));
const dir = await workDir('screenshot');
const authority = await makeAuthority(path.join(dir, 'authority'));
const box = await startBox({ dir: path.join(dir, 'box'), authority });
const seats = [];
try {
  for (const [name, who] of Object.entries({ maya: MAYA, tom: TOM })) {
    const film = await makeFilm(path.join(dir, `${name}.mjpeg`), who, { dir, ca: authority.ca });
    const seat = await makeSeat('chromium', { dir, ca: authority.ca, film, size: { width: 1440, height: 900 } });
    seats.push(seat);
    await seat.open(`${box.origin}/r/maya-and-tom`);
    await seat.join();
  }
  await Promise.all(seats.map((seat) => seat.hearsAndSees()));
  await until('a sharp picture', async () => (await seats[1].stats()).width >= 1280, 60_000);
  await seats[1].touch();
  await mkdir(path.dirname(file), { recursive: true });
  console.log(await seats[1].screenshot(file));
} finally {
  await Promise.all(seats.map((seat) => seat.close()));
  await box.stop();
}
