// Two pages over the worst messages there is: sockets that die unnoticed, frames that come late and among others, paths that
// break at any moment. Whatever happened, once the messages is whole they are soon on one connection again.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Call } from '../../../public/call/call.js';
import { FakeStream } from '../harness/call.js';
import { FakeConnection, makeClock, settle } from '../harness/fakes.js';

const SCRIPTS = 150;
const STEPS = 60;
const SOON_MS = 20_000;
const NAMES = ['ann', 'bob'];
const other = (name) => (name === 'ann' ? 'bob' : 'ann');

/** Numbers from 0 to 1, the same ones for the same seed (mulberry32). */
function dice(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** A page `hears` while it has a socket; where it no longer `says`, the socket is dead and nobody has noticed. */
function twoPagesOnABadWire(throws) {
  const clock = makeClock();
  const queues = { ann: [], bob: [] };
  let ids = 0;
  const pages = Object.fromEntries(NAMES.map((name) => [name, makePage(name, throws() < 0.3 ? 'mozilla' : '-')]));

  function makePage(name, maker) {
    const page = { connections: [], hears: true, says: true, pc: () => page.connections.at(-1) };
    page.call = new Call({
      clock, emit: () => {}, newId: () => `${name}${(ids += 1)}`, newStream: () => new FakeStream(),
      reachable: () => page.hears && pages[other(name)].hears,
      send: (frame) => { if (page.hears && page.says) queues[frame.target].push({ ...frame, from: name }); },
      connect(config) {
        page.connections.push(new FakeConnection(config, maker));
        return page.pc();
      },
    });
    return page;
  }

  /** So many frames arrive, not each events to its end before the next. */
  async function arrive(frames) {
    for (let left = frames; left > 0; left -= 1) {
      const wanted = NAMES[throws() < 0.5 ? 0 : 1];
      const name = queues[wanted].length ? wanted : other(wanted);
      const frame = queues[name].shift();
      if (!frame) return;
      const events = pages[name].call.handle(frame);
      if (throws() < 0.5) await events;
      for (let i = 0; i < 4; i += 1) await Promise.resolve();
    }
  }

  /** A socket is had again: the one takes her seat back, the other is told. */
  function back(name) {
    Object.assign(pages[name], { hears: true, says: true });
    pages[name].call.setPeer(name, other(name), true);
    pages[other(name)].call.recoverSoon();
  }

  const one = () => {
    const [a, b] = NAMES.map((name) => pages[name].pc());
    const speaksTo = (pc, its) => pc.signalingState === 'stable' && pc.remoteDescription?.sdp.includes(`s=${its.name} `);
    return Boolean(a && b && speaksTo(a, b) && speaksTo(b, a));
  };
  return { clock, pages, arrive, back, one };
}

/** Something happens to one of the two. */
function mishap({ pages, back }, throws) {
  const name = NAMES[throws() < 0.5 ? 0 : 1];
  const page = pages[name];
  const fate = throws();
  if (fate < 0.15) page.pc()?.becomes('disconnected');
  else if (fate < 0.2) page.pc()?.becomes('failed');
  else if (fate < 0.3) page.pc()?.becomes('connected');
  else if (fate < 0.4) page.says = false;
  else if (fate < 0.5) page.hears = false;
  else if (fate < 0.7) back(name);
  else if (fate < 0.8) page.call.recoverSoon(throws() < 0.6);
  else for (const each of NAMES) if (pages[each].pc()) pages[each].pc().packets += 10;
}

/** Media flows where both are on one connection, and nowhere else. */
function flow({ pages, one }) {
  for (const { pc } of Object.values(pages)) {
    const state = one() ? 'connected' : 'disconnected';
    if (pc() && pc().connectionState !== state && (one() || pc().connectionState === 'connected')) pc().becomes(state);
    if (one()) pc().packets += 12;
  }
}

/** The milliseconds until both are on one connection to stay, or null. */
async function play(seed) {
  const throws = dice(seed);
  const harness = twoPagesOnABadWire(throws);
  const { clock, pages, arrive, back, one } = harness;
  pages.bob.call.setPeer('bob', null, true);
  pages.ann.call.setPeer('ann', 'bob', true);
  pages.bob.call.setPeer('bob', 'ann', false);
  for (let step = 0; step < STEPS; step += 1) {
    mishap(harness, throws);
    await arrive(Math.floor(throws() * 6));
    await clock.advance(Math.floor(throws() * throws() * 3000));
  }
  NAMES.forEach(back);
  const whole = clock.now();
  let since = null;
  while (clock.now() < whole + 2 * SOON_MS) {
    await arrive(6);
    await settle();
    flow(harness);
    since = one() ? since ?? clock.now() : null;
    await clock.advance(250);
  }
  return since === null ? null : since - whole;
}

test('after any sequence of failures two pages agree on one connection', async () => {
  const late = [];
  for (let seed = 1; seed <= SCRIPTS; seed += 1) {
    const took = await play(seed);
    if (took === null || took > SOON_MS) late.push({ seed, took });
  }
  assert.deepEqual(late, []);
});
