// Encodes and decodes STUN messages of a TURN client (RFC 8489, RFC 8656). It is independent of the server's own codec.

import { createHash, createHmac, randomBytes } from 'node:crypto';
import { isIPv4, SocketAddress } from 'node:net';

const MAGIC_COOKIE = Buffer.from('2112a442', 'hex');

export const METHOD = { binding: 0x001, allocate: 0x003, refresh: 0x004, createPermission: 0x008, channelBind: 0x009 };
export const ATTRIBUTE = {
  username: 0x0006, integrity: 0x0008, error: 0x0009, channel: 0x000c, lifetime: 0x000d, peer: 0x0012,
  realm: 0x0014, nonce: 0x0015, relayed: 0x0016, family: 0x0017, transport: 0x0019, additionalFamily: 0x8000,
};
const CLASS_MASK = 0x110;
const ERROR_RESPONSE = 0x110;
const INTEGRITY_BYTES = 24;

export const randomTransactionId = () => randomBytes(12);

/** A request with `attributes` ([type, value] each), with MESSAGE-INTEGRITY if there is a key. */
export function encodeRequest(method, id, attributes, key) {
  const body = Buffer.concat(attributes.map(([type, value]) => encodeAttribute(type, value)));
  const unsigned = Buffer.concat([encodeHeader(method, body.length + (key ? INTEGRITY_BYTES : 0), id), body]);
  if (!key) return unsigned;
  const mac = createHmac('sha1', key).update(unsigned).digest();
  return Buffer.concat([unsigned, encodeAttribute(ATTRIBUTE.integrity, mac)]);
}

/** The key of a long-term credential (RFC 8489 §9.2.2). */
export const longTermKey = (username, realm, password) => createHash('md5').update(`${username}:${realm}:${password}`).digest();

/** A response: transaction id, error code (0 for success), and a function that returns all values of an attribute type. */
export function decodeResponse(bytes) {
  const attributes = [];
  for (let offset = 20; offset + 4 <= bytes.length;) {
    const length = bytes.readUInt16BE(offset + 2);
    attributes.push([bytes.readUInt16BE(offset), bytes.subarray(offset + 4, offset + 4 + length)]);
    offset += 4 + length + paddingOf(length);
  }
  const all = (type) => attributes.filter(([each]) => each === type).map(([, value]) => value);
  const [code] = all(ATTRIBUTE.error);
  const isError = (bytes.readUInt16BE(0) & CLASS_MASK) === ERROR_RESPONSE;
  return { id: bytes.subarray(8, 20), error: isError ? code[2] * 100 + code[3] : 0, all };
}

/** The value of an XOR-…-ADDRESS attribute; the transaction id masks IPv6 addresses. */
export function encodeAddress({ address, port }, id) {
  const ip = isIPv4(address) ? Buffer.from(address.split('.').map(Number)) : ipv6Bytes(address);
  const header = Buffer.from([0, ip.length === 4 ? 1 : 2, 0, 0]);
  header.writeUInt16BE(port ^ MAGIC_COOKIE.readUInt16BE(0), 2);
  return Buffer.concat([header, xorAddress(ip, id)]);
}

export function decodeAddress(value, id) {
  const ip = xorAddress(value.subarray(4), id);
  const address = ip.length === 4 ? [...ip].join('.') : ip.toString('hex').match(/..../g).join(':');
  const { address: normalized } = new SocketAddress({ address, family: ip.length === 4 ? 'ipv4' : 'ipv6' });
  return { address: normalized, port: value.readUInt16BE(2) ^ MAGIC_COOKIE.readUInt16BE(0) };
}

export function encodeUint32(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

function encodeHeader(method, length, id) {
  const header = Buffer.alloc(4);
  header.writeUInt16BE(method, 0);
  header.writeUInt16BE(length, 2);
  return Buffer.concat([header, MAGIC_COOKIE, id]);
}

function encodeAttribute(type, value) {
  const header = Buffer.alloc(4);
  header.writeUInt16BE(type, 0);
  header.writeUInt16BE(value.length, 2);
  return Buffer.concat([header, value, Buffer.alloc(paddingOf(value.length))]);
}

const paddingOf = (length) => (4 - (length % 4)) % 4;

const xorAddress = (ip, id) => Buffer.from(ip).map((byte, index) => byte ^ (index < 4 ? MAGIC_COOKIE[index] : id[index - 4]));

function ipv6Bytes(address) {
  const [front, back] = address.split('::').map((half) => half.split(':').filter(Boolean));
  const zeros = back ? Array(8 - front.length - back.length).fill('0') : [];
  return Buffer.from([...front, ...zeros, ...(back ?? [])].map((group) => group.padStart(4, '0')).join(''), 'hex');
}
