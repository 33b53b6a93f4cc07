// A TURN client over UDP with one allocation, channels, and numbered datagrams whose echoes it counts. For `spawnOn`.

import dgram from 'node:dgram';
import { once } from 'node:events';
import { isIPv4 } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { ATTRIBUTE, decodeAddress, decodeResponse, encodeAddress, encodeRequest, encodeUint32, longTermKey, METHOD, randomTransactionId } from './stun-codec.mjs';

/** RFC 8489 §6.2.1: the first retransmission timeout, doubled with each retransmission. */
const RTO_MS = 500;
const MAX_TRANSMISSIONS = 5;
const UDP = Buffer.from([17, 0, 0, 0]);
const FAMILY = { 4: Buffer.from([1, 0, 0, 0]), 6: Buffer.from([2, 0, 0, 0]) };
const RECEIVE_BUFFER_BYTES = 1 << 20;
/** Between the datagrams of `countEchoes`. */
const SEND_INTERVAL_MS = 5;

/** A client of the server `{ address, port }`. `onData(channel, payload)` is called for every ChannelData message. */
export async function createTurnClient({ address, port }, { username, credential }, onData = () => {}) {
  const socket = dgram.createSocket({ type: isIPv4(address) ? 'udp4' : 'udp6', recvBufferSize: RECEIVE_BUFFER_BYTES });
  socket.connect(port, address);
  await once(socket, 'connect');
  socket.on('error', () => {});
  const transactions = new Map();
  const echoCounts = new Map();
  let auth = { attributes: [] };
  let echoing = false;

  socket.on('message', (bytes) => {
    if (bytes[0] >= 0x40) return handleChannelData(bytes.readUInt16BE(0), bytes.subarray(4, 4 + bytes.readUInt16BE(2)));
    const response = decodeResponse(bytes);
    transactions.get(response.id.toString('hex'))?.(response);
  });

  function handleChannelData(channel, payload) {
    onData(channel, payload);
    if (echoing) return send(channel, payload);
    echoCounts.get(payload.readUInt32BE(0))?.(payload.readUInt32BE(4));
  }

  /** One transaction. `attributes` is a function of the transaction id, which masks IPv6 addresses. */
  async function transact(method, attributes) {
    const id = randomTransactionId();
    const bytes = encodeRequest(method, id, [...attributes(id), ...auth.attributes], auth.key);
    for (let timeout = RTO_MS, count = 0; count < MAX_TRANSMISSIONS; timeout *= 2, count += 1) {
      socket.send(bytes);
      const response = await Promise.race([new Promise((resolve) => transactions.set(id.toString('hex'), resolve)), delay(timeout)]);
      if (response) return response;
    }
    throw new Error(`no answer to ${method}`);
  }

  /** A transaction with credentials; 401 and 438 responses give realm and nonce for the next attempt. */
  async function request(method, attributes) {
    for (let attempt = 0; ; attempt += 1) {
      const response = await transact(method, attributes);
      if (response.error === 0) return response;
      if (attempt === 2 || ![401, 438].includes(response.error)) throw new Error(`${method}: error ${response.error}`);
      const [[realm], [nonce]] = [response.all(ATTRIBUTE.realm), response.all(ATTRIBUTE.nonce)];
      auth = {
        attributes: [[ATTRIBUTE.username, Buffer.from(username)], [ATTRIBUTE.realm, realm], [ATTRIBUTE.nonce, nonce]],
        key: longTermKey(username, realm, credential),
      };
    }
  }

  function send(channel, payload) {
    const header = Buffer.alloc(4);
    header.writeUInt16BE(channel, 0);
    header.writeUInt16BE(payload.length, 2);
    socket.send([header, payload]);
  }

  return {
    send,

    /** Creates the allocation, of address family 4 or 6; returns the relayed address. */
    async allocate(family = 4) {
      const { id, all } = await request(METHOD.allocate, () => [[ATTRIBUTE.transport, UDP], [ATTRIBUTE.family, FAMILY[family]]]);
      return decodeAddress(all(ATTRIBUTE.relayed)[0], id);
    },

    /** Creates an allocation with both address families; returns the relayed addresses by family. */
    async allocateBoth() {
      const { id, all } = await request(METHOD.allocate, () => [[ATTRIBUTE.transport, UDP], [ATTRIBUTE.additionalFamily, FAMILY[6]]]);
      const relayed = all(ATTRIBUTE.relayed).map((value) => decodeAddress(value, id));
      return Object.fromEntries(relayed.map((each) => [isIPv4(each.address) ? 4 : 6, each]));
    },

    /** Binds the channel to the peer, which installs a permission too. */
    async bindChannel(channel, peer) {
      const channelNumber = encodeUint32(channel << 16);
      await request(METHOD.channelBind, (id) => [[ATTRIBUTE.channel, channelNumber], [ATTRIBUTE.peer, encodeAddress(peer, id)]]);
    },

    /** Refreshes the whole allocation, or one address family; a lifetime of 0 deletes it. */
    async refresh(lifetimeSeconds = 600, family) {
      const requestedFamily = family ? [[ATTRIBUTE.family, FAMILY[family]]] : [];
      await request(METHOD.refresh, () => [[ATTRIBUTE.lifetime, encodeUint32(lifetimeSeconds)], ...requestedFamily]);
    },

    /** Sends every received payload back from now on. */
    echo() {
      echoing = true;
    },

    /** Sends `count` datagrams; returns how many were echoed until `timeoutMs` after the last one. */
    async countEchoes(channel, { count, timeoutMs }) {
      const run = Math.floor(Math.random() * 2 ** 32);
      const echoed = new Set();
      const all = new Promise((resolve) => {
        echoCounts.set(run, (index) => echoed.add(index).size === count && resolve());
      });
      for (let index = 0; index < count; index += 1) {
        send(channel, Buffer.concat([encodeUint32(run), encodeUint32(index), Buffer.alloc(152)]));
        await delay(SEND_INTERVAL_MS);
      }
      await Promise.race([all, delay(timeoutMs)]);
      echoCounts.delete(run);
      return echoed.size;
    },

    close: () => socket.close(),
  };
}
