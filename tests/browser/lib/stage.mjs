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

/** Where a page stands when a call is over: at the closing screen or the door, or waiting for another try. */
export const AFTER = ['idle', 'preview', 'waiting'];

/**
 * Sets up a stage for one test file, until its end. `box` refines `startBox`; `make` is how people are
 * made, and `theirs` what each of them is made with unless a scene says otherwise; `authority`: one made before;
 * `start`: how the box is started, where it is not by `startBox`.
 */
export async function setStage(name, { box: refined = {}, make = makeSeat, theirs = { prefs: ON_ONE_MACHINE }, authority: given,
  start = (dir, authority) => startBox({ dir, authority, ...refined }) } = {}) {
  const dir = await workDir(name);
  const authority = given ?? (await makeAuthority(path.join(dir, 'authority')));
  const box = await start(path.join(dir, 'box'), authority);
  after(() => box.stop());
  const seats = new Set();
  let rooms = 0;

  /** `before`: a function given as text that runs before the page's own scripts; the rest as in `launch`. */
  async function person(kind, { before, ...options } = {}) {
    const seat = await make(kind, { dir, ca: authority.ca, ...theirs, ...options });
    seats.add(seat);
    if (before) await seat.before(before);
    return seat;
  }

  /** Opens the page. A browser just started that does not even answer for the empty page is none: now and then
   *  one hangs like that on a busy machine, and another takes its place, once. */
  async function atTheDoor(seat, one, url) {
    try {
      await seat.open(url);
      return seat;
    } catch (error) {
      if (await seat.answers(10_000)) throw error;
      console.error(`a browser hangs before the page is there (${error.message}); another takes its place`);
      seats.delete(seat);
      await seat.close();
      const another = await person(...[one].flat());
      await another.open(url);
      return another;
    }
  }

  return {
    dir,
    authority,
    box,
    person,
    /** The address of a room nobody has used yet. */
    room: (query = '') => `${box.origin}/r/room-${(rooms += 1)}${query}`,

    /** Two people in one room, both past the door; each is a browser's name, or that and options. */
    async pair(people, url) {
      const two = await Promise.all(people.map((one) => person(...[one].flat())));
      two[0] = await atTheDoor(two[0], people[0], url);
      await two[0].join();
      await two[0].sees('waiting');
      two[1] = await atTheDoor(two[1], people[1], url);
      await two[1].join();
      return two;
    },

    /** One test: whatever happens everybody goes home, and a failure leaves pictures. */
    scene(sentence, play, timeout = 180_000) {
      test(sentence, { timeout }, async (context) => {
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
