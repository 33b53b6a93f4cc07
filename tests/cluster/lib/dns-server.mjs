// A name server for the test network (RFC 1035): A records from a table, in another order with each answer, as a service with several
// boxes has them, or with one of them first. Any other question is answered with no records. For `spawnOn`.

import dgram from 'node:dgram';
import { once } from 'node:events';

const TYPE_A = 1;
const [QR_AUTHORITATIVE, QR_NO_SUCH_NAME] = [0x8480, 0x8483];
const HEADER_BYTES = 12;
const TTL_SECONDS = 1;

/** Listens on port 53 of `address`. `names`: lists of IPv4 addresses by lower-case name. */
export async function createDnsServer(address, names) {
  const records = new Map(Object.entries(names));
  const socket = dgram.createSocket('udp4');
  let answers = 0;
  let firstAddress = null;
  socket.on('message', (query, { port, address: client }) => {
    const response = answer(query);
    if (response) socket.send(response, port, client);
  });
  socket.bind(53, address);
  await once(socket, 'listening');

  function answer(query) {
    if (query.length < HEADER_BYTES + 5) return undefined;
    const { name, end } = readName(query);
    const known = records.get(name);
    const found = query.readUInt16BE(end) === TYPE_A && known ? inOrder(known) : [];
    const header = Buffer.alloc(HEADER_BYTES);
    query.copy(header, 0, 0, 2);
    header.writeUInt16BE(known ? QR_AUTHORITATIVE : QR_NO_SUCH_NAME, 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(found.length, 6);
    return Buffer.concat([header, query.subarray(HEADER_BYTES, end + 4), ...found.map(encodeRecord)]);
  }

  function inOrder(addresses) {
    const first = addresses.indexOf(firstAddress);
    return rotate(addresses, first < 0 ? (answers += 1) : first);
  }

  return {
    /** Replaces the addresses of a name. */
    set: (name, list) => { records.set(name, list); },
    /** Names this address first, where it is one of several; null: another one with each answer. */
    putFirst: (box) => { firstAddress = box; },
    close: () => socket.close(),
  };
}

/** The name of the question, and where it ends. */
function readName(query) {
  const labels = [];
  let at = HEADER_BYTES;
  for (; query[at] > 0 && at + query[at] < query.length - 4; at += query[at] + 1) labels.push(query.toString('latin1', at + 1, at + 1 + query[at]));
  return { name: labels.join('.').toLowerCase(), end: at + 1 };
}

function encodeRecord(address) {
  const record = Buffer.alloc(16);
  // The name is that of the question.
  record.writeUInt16BE(0xc000 | HEADER_BYTES, 0);
  record.writeUInt16BE(TYPE_A, 2);
  record.writeUInt16BE(1, 4);
  record.writeUInt32BE(TTL_SECONDS, 6);
  record.writeUInt16BE(4, 10);
  record.set(address.split('.').map(Number), 12);
  return record;
}

const rotate = (list, count) => list.map((_, index) => list[(index + count) % list.length]);
