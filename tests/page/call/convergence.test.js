// Two pages over an unreliable network: sockets that die unnoticed, messages that arrive late and interleaved, paths that
// break at any moment. Once the network works again, both are soon on one connection.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Call } from '../../../public/call/call.js';
import { FakeStream } from '../harness/call.js';
import { FakeConnection, makeClock, settle } from '../harness/fakes.js';

const SCRIPTS = 150;
const STEPS = 60;
const RECOVERY_LIMIT_MS = 20_000;
const NAMES = ['ann', 'bob'];
const other = (name) => (name === 'ann' ? 'bob' : 'ann');

/** Numbers from 0 to 1, reproducible by seed (mulberry32). */
function makeRandom(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** A page `receives` while it has a socket; if it no longer `sends`, the socket is dead and unnoticed. */
function makeUnreliablePages(random) {
  const clock = makeClock();
  const queues = { ann: [], bob: [] };
  let ids = 0;
  const pages = Object.fromEntries(NAMES.map((name) => [name, makePage(name, random() < 0.3 ? 'mozilla' : '-')]));

  function makePage(name, origin) {
    const page = { connections: [], receives: true, sends: true, pc: () => page.connections.at(-1) };
    page.call = new Call({
      clock, emit: () => {}, newId: () => `${name}${(ids += 1)}`, newStream: () => new FakeStream(),
      reachable: () => page.receives && pages[other(name)].receives,
      send: (message) => { if (page.receives && page.sends) queues[message.target].push({ ...message, from: name }); },
      connect(config) {
        page.connections.push(new FakeConnection(config, origin));
        return page.pc();
      },
    });
    return page;
  }

  /** This many messages arrive; the next may arrive before the last is handled. */
  async function arrive(messages) {
    for (let left = messages; left > 0; left -= 1) {
      const wanted = NAMES[random() < 0.5 ? 0 : 1];
      const name = queues[wanted].length ? wanted : other(wanted);
      const message = queues[name].shift();
      if (!message) return;
      const handled = pages[name].call.handle(message);
      if (random() < 0.5) await handled;
      for (let i = 0; i < 4; i += 1) await Promise.resolve();
    }
  }

  /** A socket is open again: one page resumes its seat, the other is notified. */
  function reconnect(name) {
    Object.assign(pages[name], { receives: true, sends: true });
    pages[name].call.setPeer(name, other(name), true, true);
    pages[other(name)].call.recoverSoon();
  }

  const isConnected = () => {
    const [a, b] = NAMES.map((name) => pages[name].pc());
    const isConnectedTo = (pc, its) => pc.signalingState === 'stable' && pc.remoteDescription?.sdp.includes(`s=${its.name}\r`);
    return Boolean(a && b && isConnectedTo(a, b) && isConnectedTo(b, a));
  };
  return { clock, pages, arrive, reconnect, isConnected };
}

/** A random event for one of the two. */
function randomEvent({ pages, reconnect }, random) {
  const name = NAMES[random() < 0.5 ? 0 : 1];
  const page = pages[name];
  const roll = random();
  if (roll < 0.15) page.pc()?.setConnectionState('disconnected');
  else if (roll < 0.2) page.pc()?.setConnectionState('failed');
  else if (roll < 0.3) page.pc()?.setConnectionState('connected');
  else if (roll < 0.4) page.sends = false;
  else if (roll < 0.5) page.receives = false;
  else if (roll < 0.7) reconnect(name);
  else if (roll < 0.8) page.call.recoverSoon(random() < 0.6);
  else for (const each of NAMES) if (pages[each].pc()) pages[each].pc().packets += 10;
}

/** Media flows only while both are on one connection. */
function flow({ pages, isConnected }) {
  for (const { pc } of Object.values(pages)) {
    const state = isConnected() ? 'connected' : 'disconnected';
    if (pc() && pc().connectionState !== state && (isConnected() || pc().connectionState === 'connected')) pc().setConnectionState(state);
    if (isConnected()) pc().packets += 12;
  }
}

/** Milliseconds until both stay on one connection, or null. */
async function run(seed) {
  const random = makeRandom(seed);
  const harness = makeUnreliablePages(random);
  const { clock, pages, arrive, reconnect, isConnected } = harness;
  pages.bob.call.setPeer('bob', null, true);
  pages.ann.call.setPeer('ann', 'bob', true, true);
  pages.bob.call.setPeer('bob', 'ann', false, true);
  for (let step = 0; step < STEPS; step += 1) {
    randomEvent(harness, random);
    await arrive(Math.floor(random() * 6));
    await clock.advance(Math.floor(random() * random() * 3000));
  }
  NAMES.forEach(reconnect);
  const restoredAt = clock.now();
  let since = null;
  while (clock.now() < restoredAt + 2 * RECOVERY_LIMIT_MS) {
    await arrive(6);
    await settle();
    flow(harness);
    since = isConnected() ? since ?? clock.now() : null;
    await clock.advance(250);
  }
  return since === null ? null : since - restoredAt;
}

test('after any sequence of failures two pages agree on one connection', async () => {
  const late = [];
  for (let seed = 1; seed <= SCRIPTS; seed += 1) {
    const took = await run(seed);
    if (took === null || took > RECOVERY_LIMIT_MS) late.push({ seed, took });
  }
  assert.deepEqual(late, []);
});
