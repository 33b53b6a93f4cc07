// The figure people feel first: how long after the click on join the other is seen.

import { figure } from './figures.mjs';
import { AFTER } from './stage.mjs';

const GOAL_MS = 800;
const TIMES = 3;

/** The second of two joins the first again and again; the middle of the times until the first remote frame is the
 *  figure. Where a `way` is given, the call goes that way each time. */
export async function joinsInTime(what, [host, guest], url, way) {
  const waits = [];
  for (let time = 0; time < TIMES; time += 1) {
    await host.open(url);
    await host.join();
    await host.sees('waiting');
    await guest.open(url);
    await guest.join();
    waits.push(await guest.firstFrame());
    await guest.sees('connected');
    // The first pair that works may be another one; the better one takes over within moments.
    if (way) await guest.settles(way);
    await guest.leave();
    for (const seat of [host, guest]) await seat.sees(AFTER);
  }
  waits.sort((one, other) => one - other);
  console.log(`click on join to first remote frame, ${what}: ${waits.map(Math.round).join(', ')} ms`);
  figure(`click on join to first remote frame, ${what}`, waits[TIMES >> 1], GOAL_MS);
}
