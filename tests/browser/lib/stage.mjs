// The stage of a browser test: one work folder, one authority, one box, and people who come and go.
//
// Whoever came in is sent home when a scene ends, also after a failure, which leaves a picture of every page.

import path from 'node:path';
import test, { after } from 'node:test';
import { makeAuthority } from './authority.mjs';
import { startBox } from './box.mjs';
import { makeSeat } from './seat.mjs';
import { workDir } from './work.mjs';

// The relay is at 127.0.0.1 here, and without this Firefox reaches it over TCP only.
const ON_ONE_MACHINE = { 'media.peerconnection.ice.loopback': true };

/** Sets up a stage for one test file, until its end; `flags` are passed to the box. */
export async function setStage(name, flags = []) {
  const dir = await workDir(name);
  const authority = await makeAuthority(path.join(dir, 'authority'));
  const box = await startBox({ dir: path.join(dir, 'box'), authority, flags });
  const seats = new Set();
  let rooms = 0;

  async function person(kind, options = {}) {
    const seat = await makeSeat(kind, { dir, ca: authority.ca, prefs: ON_ONE_MACHINE, ...options });
    seats.add(seat);
    return seat;
  }

  after(() => box.stop());
  return {
    dir,
    box,
    person,
    /** The address of a room nobody has used yet. */
    room: (query = '') => `${box.origin}/r/room-${(rooms += 1)}${query}`,

    /** Two people in one room, both past the door. */
    async pair(kinds, url, options = {}) {
      const two = await Promise.all(kinds.map((kind) => person(kind, options)));
      await two[0].open(url);
      await two[0].join();
      await two[0].sees('waiting');
      await two[1].open(url);
      await two[1].join();
      return two;
    },

    /** One test: whatever happens everybody goes home, and a failure leaves pictures. */
    scene(sentence, play) {
      test(sentence, { timeout: 180_000 }, async (context) => {
        try {
          await play(context);
        } catch (error) {
          let number = 0;
          for (const seat of seats) await evidence(seat, path.join(dir, `failed-${(number += 1)}.png`));
          throw error;
        } finally {
          await Promise.all([...seats].map((seat) => seat.close().catch(() => {})));
          seats.clear();
        }
      });
    },
  };
}

/** A picture and what the page's console said, for whoever reads the failure. */
export async function evidence(seat, file) {
  await seat.screenshot(file).catch(() => {});
  const state = await seat.state().catch((error) => error.message);
  const stats = await seat.stats().catch((error) => error.message);
  console.error(`${file}: state ${state}, ${JSON.stringify(stats)}`);
  for (const line of await seat.said()) console.error(`  ${line}`);
}
