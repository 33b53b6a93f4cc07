// Two calls, the signaling messages between them, and simulated peer connections.

import { Call } from '../../../public/call/call.js';
import { FakeConnection, makeClock, settle } from './fakes.js';

/** `deliver` delivers the messages sent so far, in order. `origins`: the user name in `o=` of each page, which shows its browser. */
export function makeTwoPages(names = ['ann', 'bob'], origins = {}) {
  const clock = makeClock();
  const messages = [];
  let ids = 0;
  const pages = Object.fromEntries(names.map((name) => [name, makePage(name)]));

  function makePage(name) {
    const page = { name, connections: [], events: [], reachable: true, ordered: [] };
    page.load = () => {
      page.call = new Call({
        clock, reachable: () => page.reachable, newId: () => `${name}${(ids += 1)}`, newStream: () => new FakeStream(),
        send: (message) => messages.push({ ...message, from: name }),
        emit: (event) => page.events.push(event),
        codecSelection: { apply: (transceiver) => page.ordered.push([transceiver.receiver.track.kind, page.pc().localDescription]) },
        connect: (config) => {
          const pc = new FakeConnection(config, origins[name]);
          page.connections.push(pc);
          return pc;
        },
      });
    };
    page.load();
    page.pc = () => page.connections.at(-1);
    page.states = () => page.events.filter((event) => event.type === 'connection-state').map((event) => event.state);
    return page;
  }

  async function deliver() {
    await settle();
    while (messages.length) {
      const message = messages.shift();
      await pages[message.target]?.call.handle(message);
      await settle();
    }
  }
  /** Media packets arrive at both pages for this long. */
  async function flow(ms) {
    for (let elapsed = 0; elapsed < ms; elapsed += 100) {
      for (const page of Object.values(pages)) page.pc().packets += 5;
      await clock.advance(100);
    }
  }
  const liveness = (page) => page.events.filter((event) => event.type === 'liveness').map((event) => event.state);
  return { clock, messages, pages, deliver, flow, liveness, ...pages };
}

export class FakeStream {
  tracks = [];
  getTracks() { return this.tracks; }
  addTrack(track) { this.tracks.push(track); }
}

export async function connected(harness = makeTwoPages()) {
  harness.bob.call.setPeer('bob', null, true);
  harness.ann.call.setPeer('ann', 'bob', true, true);
  harness.bob.call.setPeer('bob', 'ann', false, true);
  await harness.deliver();
  harness.ann.pc().setConnectionState('connected');
  harness.bob.pc().setConnectionState('connected');
  return harness;
}

export const stable = (pc) => pc.signalingState === 'stable' && pc.remoteDescription !== null;
