import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { clockTime, errorKey, languageFor, makeSay } from '../../public/words.js';
import { english } from '../../public/words.en.js';
import { chinese } from '../../public/words.zh.js';

const MAY_BE_EMPTY = new Set(['status.idle', 'status.preview']);

test('both languages have the same keys, and none is empty', () => {
  assert.deepEqual(Object.keys(chinese).sort(), Object.keys(english).sort());
  for (const [key, text] of [...Object.entries(english), ...Object.entries(chinese)]) {
    assert.ok(text.trim() !== '' || MAY_BE_EMPTY.has(key), key);
  }
});

test('Chinese is Chinese and English is not', () => {
  for (const [key, text] of Object.entries(chinese)) assert.ok(text === '' || /\p{Script=Han}/u.test(text), key);
  for (const [key, text] of Object.entries(english)) assert.ok(!/\p{Script=Han}/u.test(text), key);
});

test('every word the page asks for is there', () => {
  const html = readFileSync(new URL('../../public/index.html', import.meta.url), 'utf8');
  for (const [, key] of html.matchAll(/data-(?:word|label|hint)="([^"]+)"/g)) assert.ok(key in english, key);
});

test('every error of the wire and of the devices has a sentence of its own', () => {
  const codes = ['bad-message', 'bad-room', 'room-full', 'already-joined', 'not-joined', 'no-such-peer', 'bad-resume',
    'key-required', 'rate-limited', 'shutting-down', 'camera-denied', 'camera-denied-system', 'device-not-found',
    'device-busy', 'device-unfit', 'device-trouble', 'insecure-origin', 'blocked-by-site', 'timeout', 'unreachable', 'no-path'];
  for (const words of [english, chinese]) {
    const sentences = codes.map((code) => words[errorKey(code)]);
    assert.equal(new Set(sentences).size, codes.length);
  }
  assert.equal(errorKey('never heard of'), 'error.unknown');
});

test('the first language we speak is chosen', () => {
  assert.equal(languageFor(['fr-FR', 'zh-TW', 'en']), 'zh');
  assert.equal(languageFor(['en-GB', 'zh']), 'en');
  assert.equal(languageFor(['fr']), 'en');
  assert.equal(languageFor([]), 'en');
});

test('a sentence is filled in, and a missing one shows its key', () => {
  assert.equal(makeSay('en')('settings.nameless', { n: 2 }), 'Device 2');
  assert.equal(makeSay('zh')('no.such.key'), 'no.such.key');
});

test('a call has a length people can read', () => {
  assert.deepEqual([0, 59.9, 763, 3723].map(clockTime), ['0:00', '0:59', '12:43', '1:02:03']);
});
