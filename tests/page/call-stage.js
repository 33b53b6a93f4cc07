// The stage for scenes about calls: two pages, the wire between them, and connections that are not real.

import { makeCall } from '../../public/call/call.js';
import { FakeConnection, makeClock, settle } from './stage.js';

/** Two pages and the wire between them; `deliver` carries what has been said, in order. `makers`: whose browsers they are. */
export function twoPages(names = ['ann', 'bob'], makers = {}) {
  const clock = makeClock();
  const wire = [];
  let ids = 0;
  const pages = Object.fromEntries(names.map((name) => [name, makePage(name)]));

  function makePage(name) {
    const page = { name, connections: [], heard: [], reachable: true };
    page.load = () => {
      page.call = makeCall({
        clock, reachable: () => page.reachable, newId: () => `${name}${(ids += 1)}`, newStream: () => new FakeStream(),
        send: (frame) => wire.push({ ...frame, from: name }),
        tell: (event) => page.heard.push(event),
        connect: (config) => {
          const pc = new FakeConnection(config, makers[name]);
          page.connections.push(pc);
          return pc;
        },
      });
    };
    page.load();
    page.pc = () => page.connections.at(-1);
    page.links = () => page.heard.filter((event) => event.type === 'link').map((event) => event.state);
    return page;
  }

  async function deliver() {
    await settle();
    while (wire.length) {
      const frame = wire.shift();
      await pages[frame.target]?.call.hear(frame);
      await settle();
    }
  }
  /** Media packets arrive at everybody for this long. */
  async function flow(ms) {
    for (let passed = 0; passed < ms; passed += 100) {
      for (const page of Object.values(pages)) page.pc().packets += 5;
      await clock.advance(100);
    }
  }
  const pulses = (page) => page.heard.filter((event) => event.type === 'pulse').map((event) => event.state);
  return { clock, wire, pages, deliver, flow, pulses, ...pages };
}

export class FakeStream {
  tracks = [];
  getTracks() { return this.tracks; }
  addTrack(track) { this.tracks.push(track); }
}

export async function connected(stage = twoPages()) {
  stage.bob.call.meet('bob', null, true);
  stage.ann.call.meet('ann', 'bob', true);
  stage.bob.call.meet('bob', 'ann', false);
  await stage.deliver();
  stage.ann.pc().becomes('connected');
  stage.bob.pc().becomes('connected');
  return stage;
}

export const stable = (pc) => pc.signalingState === 'stable' && pc.remoteDescription !== null;
