// A TURN client over UDP that counts: one allocation, channels, and numbered datagrams of which it knows
// exactly how many came back. Made for `settle`: plain JSON in and out.

import dgram from 'node:dgram';
import { once } from 'node:events';
import { isIPv4 } from 'node:net';
import { setTimeout as after } from 'node:timers/promises';
import { ATTRIBUTE, longTermKey, maskedAddress, METHOD, number, request, response, transaction, unmaskedAddress } from './stun.mjs';

/** RFC 8489 §6.2.1: the first answer is waited for this long, each further one twice as long. */
const RTO = 500;
const TRIES = 5;
const UDP = Buffer.from([17, 0, 0, 0]);
const FAMILY = { 4: Buffer.from([1, 0, 0, 0]), 6: Buffer.from([2, 0, 0, 0]) };
const MEGABYTE = 1 << 20;

/** A client of the server `{ address, port }`. `heard` is called with every channel's data. */
export async function makeTurnClient({ address, port }, { username, credential }, heard = () => {}) {
  const socket = dgram.createSocket({ type: isIPv4(address) ? 'udp4' : 'udp6', recvBufferSize: MEGABYTE });
  socket.connect(port, address);
  await once(socket, 'connect');
  socket.on('error', () => {});
  const asked = new Map();
  const rounds = new Map();
  let auth = { attributes: [] };
  let echoes = false;

  socket.on('message', (bytes) => {
    if (bytes[0] >= 0x40) return data(bytes.readUInt16BE(0), bytes.subarray(4, 4 + bytes.readUInt16BE(2)));
    const answer = response(bytes);
    asked.get(answer.id.toString('hex'))?.(answer);
  });

  function data(channel, payload) {
    heard(channel, payload);
    if (echoes) return send(channel, payload);
    rounds.get(payload.readUInt32BE(0))?.(payload.readUInt32BE(4));
  }

  /** One transaction; `attributes` may depend on its id. */
  async function transact(method, attributes) {
    const id = transaction();
    const bytes = request(method, id, [...attributes(id), ...auth.attributes], auth.key);
    for (let wait = RTO, tries = 0; tries < TRIES; wait *= 2, tries += 1) {
      socket.send(bytes);
      const answer = await Promise.race([new Promise((resolve) => asked.set(id.toString('hex'), resolve)), after(wait)]);
      if (answer) return answer;
    }
    throw new Error(`no answer to ${method}`);
  }

  /** The same with a credential; a 401 or 438 brings what is needed for it. */
  async function ask(method, attributes) {
    for (let tries = 0; ; tries += 1) {
      const answer = await transact(method, attributes);
      if (answer.error === 0) return answer;
      if (tries === 2 || ![401, 438].includes(answer.error)) throw new Error(`${method}: error ${answer.error}`);
      const [[realm], [nonce]] = [answer.all(ATTRIBUTE.realm), answer.all(ATTRIBUTE.nonce)];
      auth = {
        attributes: [[ATTRIBUTE.username, Buffer.from(username)], [ATTRIBUTE.realm, realm], [ATTRIBUTE.nonce, nonce]],
        key: longTermKey(username, realm, credential),
      };
    }
  }

  function send(channel, payload) {
    const head = Buffer.alloc(4);
    head.writeUInt16BE(channel, 0);
    head.writeUInt16BE(payload.length, 2);
    socket.send([head, payload]);
  }

  return {
    send,

    /** Opens the allocation, of family 4 or 6; gives the relayed address. */
    async allocate(family = 4) {
      const { id, all } = await ask(METHOD.allocate, () => [[ATTRIBUTE.transport, UDP], [ATTRIBUTE.family, FAMILY[family]]]);
      return unmaskedAddress(all(ATTRIBUTE.relayed)[0], id);
    },

    /** Opens one of both families; gives the relayed addresses by family. */
    async allocateBoth() {
      const { id, all } = await ask(METHOD.allocate, () => [[ATTRIBUTE.transport, UDP], [ATTRIBUTE.additionalFamily, FAMILY[6]]]);
      const relayed = all(ATTRIBUTE.relayed).map((value) => unmaskedAddress(value, id));
      return Object.fromEntries(relayed.map((one) => [isIPv4(one.address) ? 4 : 6, one]));
    },

    /** Binds the channel, which installs the permission as well. */
    async bind(channel, peer) {
      const named = number(channel << 16);
      await ask(METHOD.bind, (id) => [[ATTRIBUTE.channel, named], [ATTRIBUTE.peer, maskedAddress(peer, id)]]);
    },

    /** Of the whole allocation, or of one family; 0 seconds end it. */
    async refresh(seconds = 600, family) {
      const only = family ? [[ATTRIBUTE.family, FAMILY[family]]] : [];
      await ask(METHOD.refresh, () => [[ATTRIBUTE.lifetime, number(seconds)], ...only]);
    },

    /** From now on sends back whatever it hears. */
    echo() {
      echoes = true;
    },

    /** Sends `count` datagrams, 5 ms apart; how many different ones were echoed until `patience` ms later. */
    async round(channel, { count, patience }) {
      const name = Math.floor(Math.random() * 2 ** 32);
      const back = new Set();
      const all = new Promise((resolve) => {
        rounds.set(name, (which) => back.add(which).size === count && resolve());
      });
      for (let which = 0; which < count; which += 1) {
        send(channel, Buffer.concat([number(name), number(which), Buffer.alloc(152)]));
        await after(5);
      }
      await Promise.race([all, after(patience)]);
      rounds.delete(name);
      return back.size;
    },

    close: () => socket.close(),
  };
}
