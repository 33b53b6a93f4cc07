// STUN messages as a TURN client writes and reads them (RFC 8489, RFC 8656). Bytes in, bytes out; written
// for the tests from the RFCs, so that the box is not judged by its own codec.

import { createHash, createHmac, randomBytes } from 'node:crypto';
import { isIPv4, SocketAddress } from 'node:net';

const COOKIE = Buffer.from('2112a442', 'hex');

export const METHOD = { binding: 0x001, allocate: 0x003, refresh: 0x004, permission: 0x008, bind: 0x009 };
export const ATTRIBUTE = {
  username: 0x0006, integrity: 0x0008, error: 0x0009, channel: 0x000c, lifetime: 0x000d, peer: 0x0012,
  realm: 0x0014, nonce: 0x0015, relayed: 0x0016, family: 0x0017, transport: 0x0019, additionalFamily: 0x8000,
};
const CLASS = 0x110;
const ERROR = 0x110;

/** A transaction's name. */
export const transaction = () => randomBytes(12);

/** A request of `attributes` ([type, bytes] each), signed where there is a key. */
export function request(method, id, attributes, key) {
  const body = Buffer.concat(attributes.map(([type, value]) => attribute(type, value)));
  const unsigned = Buffer.concat([header(method, body.length + (key ? 24 : 0), id), body]);
  if (!key) return unsigned;
  const mac = createHmac('sha1', key).update(unsigned).digest();
  return Buffer.concat([unsigned, attribute(ATTRIBUTE.integrity, mac)]);
}

/** A long-term credential's key. */
export const longTermKey = (username, realm, password) => createHash('md5').update(`${username}:${realm}:${password}`).digest();

/** A response: whose, which error (0 for a success), and all attributes of a type. */
export function response(bytes) {
  const attributes = [];
  for (let at = 20; at + 4 <= bytes.length;) {
    const length = bytes.readUInt16BE(at + 2);
    attributes.push([bytes.readUInt16BE(at), bytes.subarray(at + 4, at + 4 + length)]);
    at += 4 + length + padding(length);
  }
  const all = (type) => attributes.filter(([one]) => one === type).map(([, value]) => value);
  const [code] = all(ATTRIBUTE.error);
  const failed = (bytes.readUInt16BE(0) & CLASS) === ERROR;
  return { id: bytes.subarray(8, 20), error: failed ? code[2] * 100 + code[3] : 0, all };
}

/** What goes into an XOR-…-ADDRESS. IPv6 addresses are masked with the transaction too, hence `id`. */
export function maskedAddress({ address, port }, id) {
  const ip = isIPv4(address) ? Buffer.from(address.split('.').map(Number)) : ipv6(address);
  const head = Buffer.from([0, ip.length === 4 ? 1 : 2, 0, 0]);
  head.writeUInt16BE(port ^ COOKIE.readUInt16BE(0), 2);
  return Buffer.concat([head, masked(ip, id)]);
}

/** And back. */
export function unmaskedAddress(value, id) {
  const ip = masked(value.subarray(4), id);
  const address = ip.length === 4 ? [...ip].join('.') : ip.toString('hex').match(/..../g).join(':');
  const { address: short } = new SocketAddress({ address, family: ip.length === 4 ? 'ipv4' : 'ipv6' });
  return { address: short, port: value.readUInt16BE(2) ^ COOKIE.readUInt16BE(0) };
}

/** A number of four bytes. */
export function number(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

function header(method, length, id) {
  const head = Buffer.alloc(4);
  head.writeUInt16BE(method, 0);
  head.writeUInt16BE(length, 2);
  return Buffer.concat([head, COOKIE, id]);
}

function attribute(type, value) {
  const head = Buffer.alloc(4);
  head.writeUInt16BE(type, 0);
  head.writeUInt16BE(value.length, 2);
  return Buffer.concat([head, value, Buffer.alloc(padding(value.length))]);
}

const padding = (length) => (4 - (length % 4)) % 4;

const masked = (ip, id) => Buffer.from(ip).map((byte, at) => byte ^ (at < 4 ? COOKIE[at] : id[at - 4]));

function ipv6(address) {
  const [front, back] = address.split('::').map((half) => half.split(':').filter(Boolean));
  const zeros = back ? Array(8 - front.length - back.length).fill('0') : [];
  return Buffer.from([...front, ...zeros, ...(back ?? [])].map((group) => group.padStart(4, '0')).join(''), 'hex');
}
