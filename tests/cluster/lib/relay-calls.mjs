// Calls of two clients whose media is relayed: each has a seat, an allocation on the box of its seat, and a channel to the other's. When
// the seat comes to another box, the client allocates there, and uses the new path once data arrives on it, as a page does after an
// ICE restart. For `spawnOn`.

import dns from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { waitFor } from '../../browser/lib/wait.mjs';
import { createTurnClient } from '../../nat/turn-client.mjs';
import { SignalingClient } from './signaling-client.mjs';

const CHANNEL = 0x4000;
const SEND_INTERVAL_MS = 20;
const PAYLOAD = Buffer.alloc(200);
/** Allocations last ten minutes, permissions five. */
const REFRESH_MS = 200_000;
/** The path of before is kept for this long beside the new one. */
const OVERLAP_MS = 1000;

class Participant {
  longestGapMs = 0;
  received = 0;
  #receivedAt = null;
  #paths = [];
  #peerAddress = null;
  #signaling;
  #refresh;

  constructor(parts) {
    this.#signaling = new SignalingClient({ ...parts, onMessage: (message) => this.#handle(message).catch(() => {}) });
    this.#refresh = setInterval(() => this.#paths.forEach((path) => this.#bind(path, true)), REFRESH_MS);
  }

  get events() {
    return this.#signaling.events;
  }

  join = (host) => this.#signaling.join(host);

  /** Over each path until data has arrived on the newest. */
  sendMedia() {
    for (const { turn, bound } of this.#paths) if (bound) turn.send(CHANNEL, PAYLOAD);
    if (this.#receivedAt !== null) this.longestGapMs = Math.max(this.longestGapMs, Date.now() - this.#receivedAt);
  }

  restartTiming() {
    Object.assign(this, { longestGapMs: 0, received: 0 });
  }

  async leave() {
    this.#closePaths();
    await this.#signaling.leave();
  }

  destroy() {
    this.#closePaths();
    this.#signaling.destroy();
  }

  #closePaths() {
    clearInterval(this.#refresh);
    this.#paths.splice(0).forEach(({ turn }) => turn?.close());
  }

  async #handle(message) {
    if (message.type === 'resp-join') await this.#allocate(message.iceServers);
    if (['new-peer', 'peer-back'].includes(message.type)) this.#announce();
    if (message.type !== 'candidate' || !message.candidate?.relayed) return;
    this.#peerAddress = message.candidate.relayed;
    await this.#bind(this.#paths.at(-1));
  }

  /** An allocation on the box of the seat, unless there is one; the other participant, if already there, is told of it. */
  async #allocate(iceServers) {
    const { username, credential, urls } = iceServers.find((server) => server.username);
    const [, host, port] = /^turn:([^:?]+):(\d+)/.exec([urls].flat().find((url) => /transport=udp|^[^?]+$/.test(url)));
    if (this.#paths.at(-1)?.host !== host || this.#paths.at(-1).credential !== credential) {
      const { address } = await dns.lookup(host, { family: 4 });
      const path = { host, credential, turn: null, relayed: null, bound: false, boundTo: null };
      path.turn = await createTurnClient({ address, port: Number(port) }, { username, credential }, () => this.#handleMedia(path));
      path.relayed = await path.turn.allocate();
      this.#paths.push(path);
      this.#bind(path);
    }
    this.#announce();
  }

  /** Tells the other participant our newest relayed address. */
  #announce() {
    const { relayed } = this.#paths.at(-1) ?? {};
    const target = this.#signaling.messages.findLast(({ type, peer }) => (type === 'resp-join' && peer) || type === 'new-peer' || type === 'peer-back');
    if (relayed && target) this.#signaling.send({ type: 'candidate', target: target.peer ?? target.id, candidate: { relayed } });
  }

  async #bind(path, again = false) {
    const peer = this.#peerAddress;
    if (!path?.relayed || !peer) return;
    if (again) await path.turn.refresh();
    else if (path.boundTo === `${peer.address}:${peer.port}`) return;
    path.boundTo = `${peer.address}:${peer.port}`;
    await path.turn.bindChannel(CHANNEL, peer).then(() => { path.bound = true; }, () => { path.boundTo = null; });
  }

  #handleMedia(path) {
    const now = Date.now();
    if (this.#receivedAt !== null) this.longestGapMs = Math.max(this.longestGapMs, now - this.#receivedAt);
    this.#receivedAt = now;
    this.received += 1;
    if (path !== this.#paths.at(-1) || this.#paths.length < 2) return;
    const previous = this.#paths.splice(0, this.#paths.length - 1);
    delay(OVERLAP_MS).then(() => previous.forEach(({ turn }) => turn.close()));
  }
}

/** Starts `count` calls in the rooms `PREFIX-0`, …, all by way of the box `host`. */
export async function createRelayCalls({ domain, ca: caFile, prefix, count, host }) {
  const ca = await readFile(caFile, 'utf8');
  const calls = Array.from({ length: count }, (_, index) => [0, 1].map(() => new Participant({ domain, ca, room: `${prefix}-${index}` })));
  const everybody = calls.flat();
  for (const [first, second] of calls) {
    await first.join(host);
    await second.join(host);
  }
  const sending = setInterval(() => everybody.forEach((each) => each.sendMedia()), SEND_INTERVAL_MS);
  const seatOf = (participant) => participant.events.findLast(({ event }) => event === 'joined');

  return {
    /** Waits until each participant receives media, and starts timing. */
    async expectMedia(timeoutMs = 20_000) {
      everybody.forEach((each) => each.restartTiming());
      await waitFor(`media in ${count} calls`, () => {
        const silent = everybody.filter(({ received }) => received < 10).length;
        if (silent) throw new Error(`${silent} participants receive nothing`);
        return true;
      }, timeoutMs);
      everybody.forEach((each) => each.restartTiming());
    },
    /** The longest time without media at each participant since timing was started, in ms. */
    gaps: () => everybody.map(({ longestGapMs }) => longestGapMs),
    /** Media that each participant received since then, in packets. */
    received: () => everybody.map(({ received }) => received),
    /** The addresses of the boxes that the seats are on. */
    boxes: () => everybody.map((each) => seatOf(each).address),
    /** The events of each participant since then. */
    eventsSince: (since) => everybody.map(({ events }) => events.filter(({ at }) => at >= since)),
    /** Waits until every seat has been joined again since then; the milliseconds that each took. */
    waitForSeats: (since, timeoutMs) => Promise.all(everybody.map(async (each) => {
      const joined = () => each.events.find(({ event, at }) => event === 'joined' && at >= since)
        ?? Promise.reject(new Error(each.events.filter(({ at }) => at >= since).map(({ event, host, code, at }) => `${at - since} ${event} ${host} ${code ?? ''}`).join('; ')));
      return (await waitFor('every seat to be joined again', joined, timeoutMs)).at - since;
    })),
    async leave() {
      clearInterval(sending);
      await Promise.all(everybody.map((each) => each.leave().catch(() => {})));
    },
    close() {
      clearInterval(sending);
      everybody.forEach((each) => each.destroy());
    },
  };
}
