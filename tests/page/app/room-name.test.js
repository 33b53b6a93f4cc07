import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { pathOfRoom, privateRoomName, roomInPath, roomName, roomInText } from '../../../public/app/room-name.js';

test('page and server normalize room names alike', () => {
  const vectors = JSON.parse(readFileSync(new URL('../../room_names.json', import.meta.url), 'utf8'));
  assert.ok(vectors.length > 50);
  for (const [typed, name] of vectors) assert.equal(roomName(typed), name, JSON.stringify(typed));
});

test('a link encodes the room name and decodes to it', () => {
  for (const name of ['den', '房间', 'a.b']) assert.equal(roomInPath(pathOfRoom(name)), name);
  for (const path of ['/', '/r/', '/r/a/b', '/x/den', '/r/%E0%A4%A']) assert.equal(roomInPath(path), '');
});

test('a private room name is valid, long and evenly distributed', () => {
  let seed = 7;
  const fill = (bytes) => bytes.map(() => (seed = (seed * 1103515245 + 12345) >>> 8) & 255);
  const names = Array.from({ length: 50 }, () => privateRoomName(fill));
  for (const name of names) {
    assert.match(name, /^([a-z]{4}-){5}[a-z]{4}$/);
    assert.equal(roomName(name), name);
  }
  assert.equal(new Set(names).size, 50);
  // Bytes past the last full round are discarded, not folded.
  const bytes = [255, 240, ...Array(12).fill(0)];
  assert.equal(privateRoomName(() => Uint8Array.of(bytes.shift())), 'baba-baba-baba-baba-baba-baba');
});

test('a link to this page within pasted text is its room', () => {
  const page = { protocol: 'https:', host: 'call.example.org' };
  for (const link of ['https://call.example.org/r/den', 'https://call.example.org/r/den.', 'call.example.org/r/den', '/r/den', '  https://call.example.org/r/den \n',
    'https://CALL.example.org:443/r/den?relay=1', '<https://call.example.org/r/den>', '(https://call.example.org/r/den),', 'Come to https://call.example.org/r/den.',
    '请点https://call.example.org/r/den。', 'https://call.example.org/r/den/', '/r/den?relay=1', '"https://call.example.org/r/den"', 'https://call.example.org/r/den!']) {
    assert.equal(roomInText(link, page), 'den', link);
  }
  assert.equal(roomInText('https://call.example.org/r/%E6%88%BF%E9%97%B4', page), '房间');
  assert.equal(roomInText('http://localhost:8443/r/den', { protocol: 'http:', host: 'localhost:8443' }), 'den');
});

test('other text stays as typed: names, foreign links, damaged links', () => {
  const page = { protocol: 'https:', host: 'call.example.org' };
  for (const typed of ['den', 'r', 'a/r/b', 'https://other.example.org/r/den', 'https://other.example.org//r/den', 'https://other.example.org/call.example.org/x/r/den',
    'https://call.example.org/', 'https://call.example.org/test', '/r/%E0%A4', 'https://call.example.org/r/%E0%A4', '', ' ', `${'/r/'.repeat(160)}`]) {
    assert.equal(roomInText(typed, page), typed);
  }
});
