import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { clockTime, errorKey, makeSay, timeOfDay } from '../../public/locales/index.js';
import { languageFor } from '../../public/locales/languages.js';
import { words as english } from '../../public/locales/en.js';
import { words as chinese } from '../../public/locales/zh.js';

const MAY_BE_EMPTY = new Set(['status.idle', 'status.preview', 'sentence.gap']);

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

const home = new URL('../../public/', import.meta.url);
// The connection test has words of its own, and a test of them.
const files = readdirSync(home, { recursive: true }).filter((name) => /\.(js|html)$/.test(name) && !/^(connection-test\/|test\.html|locales\/(en|zh)\b)/.test(name));
const pages = [...files, '../build/languages.rs'].map((name) => readFileSync(new URL(name, home), 'utf8')).join('\n');

const CODES = ['bad-message', 'bad-room', 'room-full', 'already-joined', 'not-joined', 'no-such-peer', 'bad-resume',
  'key-required', 'rate-limited', 'shutting-down', 'camera-denied', 'camera-denied-again', 'camera-denied-system', 'device-not-found',
  'device-busy', 'device-unfit', 'device-trouble', 'insecure-origin', 'unsupported', 'blocked-by-site', 'timeout', 'mic-lost', 'cam-lost', 'device-taken', 'device-switched',
  'screen-denied-system', 'screen-blocked', 'screen-not-found', 'screen-failed', 'unreachable', 'no-path', 'bad-link', 'page-error',
  'no-webrtc', 'no-websocket', 'no-candidates'];
const PATHS = ['direct', 'relay-udp', 'relay-tcp', 'relay-tls'];
/** What may stand in the gap of each key that the code puts together. */
const GAPS = {
  'after.*': ['youLeft', 'theyLeft', 'theyClosed', 'theyDropped', 'weDropped', 'replaced'],
  'bar.**': ['micOn', 'micOff', 'camOn', 'camOff'],
  'chat.*': ['waiting', 'lost', 'too-long', 'too-many'],
  'door.inside.*': ['0', '1', '2'],
  'error.*': [...CODES, 'unknown'],
  'error.*.*': [...['firefox', 'safari', 'safari-ios', 'ios', 'chrome-android', 'firefox-android', 'in-app'].map((each) => `camera-denied.${each}`),
    ...['mac', 'windows', 'android'].map((each) => `camera-denied-system.${each}`), 'unsupported.in-app', 'screen-denied-system.mac',
    'device-busy.phone', 'timeout.phone', 'timeout.firefox'],
  'door.*': ['join', 'joinSoundOnly', 'joinBare'],
  'status.connected.no-*': ['audio', 'video'],
  'error.or.*': ['camera-denied', 'camera-denied-again', 'device-not-found', 'device-busy', 'unsupported'],
  'numbers.*': ['in', 'out', 'fps', 'rtt', 'loss', 'video', 'audio'],
  'path.*': PATHS,
  'picture.*': ['reduced', 'paused'],
  'path.why.*': PATHS,
  'path.shut.*': ['relay-tcp', 'relay-tls'],
  'quality.*': ['good', 'fair', 'poor'],
  'quality.why.*': ['loss', 'delay'],
  'status.*': ['idle', 'preview', 'joining', 'waiting', 'connecting', 'connected', 'reconnecting', 'failed'],
};

/** Every key some file of the page names. */
function keysInUse() {
  const rooms = new Set(Object.keys(english).map((key) => key.split('.')[0]));
  const named = [...pages.matchAll(/['"]((\w+)(?:\.[\w-]+)*)['"]/g)].filter(([, key, room]) => key in english || (rooms.has(room) && key.includes('.')));
  const together = [...pages.matchAll(/`([a-z]+\.(?:[^`$]|\$\{[^{}`]*\})*)`/g)].map(([, text]) => text.replace(/\$\{[^}]*\}/g, '*'))
    .filter((text) => /^[\w.*-]*\*$/.test(text) && rooms.has(text.split('.')[0]));
  assert.deepEqual([...new Set(together)].sort(), Object.keys(GAPS).sort());
  return new Set([...named.map(([, key]) => key), ...together.flatMap((text) => GAPS[text].map((each) => text.replace(/\*.*$/, each)))]);
}

test('every word the page asks for is there, and none is there in vain', () => {
  for (const [, key] of pages.matchAll(/data-(?:word|label|hint)="([^"]+)"/g)) assert.ok(key in english, key);
  assert.deepEqual([...keysInUse()].sort(), Object.keys(english).sort());
});

test('both languages fill the same gaps', () => {
  const gaps = (text) => [...text.matchAll(/\{\w+\}/g)].map(([gap]) => gap).sort();
  for (const key of Object.keys(english)) assert.deepEqual(gaps(chinese[key]), gaps(english[key]), key);
});

test('every error of the wire and of the devices has a sentence of its own', () => {
  for (const words of [english, chinese]) {
    const sentences = CODES.map((code) => words[errorKey(code, makeSay(words))]);
    assert.equal(new Set(sentences).size, CODES.length);
  }
  assert.equal(errorKey('never heard of', makeSay(english)), 'error.unknown');
  assert.equal(errorKey('camera-denied', makeSay(english), ['firefox', 'mac']), 'error.camera-denied.firefox');
  assert.equal(errorKey('camera-denied-system', makeSay(english), ['firefox', 'mac']), 'error.camera-denied-system.mac');
  assert.equal(errorKey('device-busy', makeSay(english), ['firefox', 'mac']), 'error.device-busy');
  assert.equal(errorKey('device-busy', makeSay(english), ['firefox-android', 'android', 'phone']), 'error.device-busy.phone');
  assert.equal(errorKey('timeout', makeSay(english), ['safari-ios', 'ios', 'phone']), 'error.timeout.phone');
  assert.equal(errorKey('timeout', makeSay(english), ['firefox', 'windows']), 'error.timeout.firefox');
  assert.equal(errorKey('timeout', makeSay(english), ['safari', 'mac']), 'error.timeout');
});

const codeFor = (wanted) => languageFor(wanted).code;

test('the first language that the page has is chosen', () => {
  assert.equal(codeFor(['fr-FR', 'zh-TW', 'en']), 'zh');
  assert.equal(codeFor(['en-GB', 'zh']), 'en');
  assert.equal(codeFor(['fr']), 'en');
  assert.equal(codeFor([]), 'en');
});

test('a sentence is filled in, and a missing one shows its key', () => {
  assert.equal(makeSay(english)('settings.nameless', { n: 2 }), 'Device 2');
  assert.equal(makeSay(chinese)('no.such.key'), 'no.such.key');
});

test('a call has a length people can read', () => {
  assert.deepEqual([0, 59.9, 763, 3723].map(clockTime), ['0:00', '0:59', '12:43', '1:02:03']);
});

test('any value for a language is tolerated, and systems\' own spellings are understood', () => {
  assert.equal(codeFor(['en-US@posix']), 'en');
  assert.equal(codeFor(['zh_CN', 'en_US']), 'zh');
  assert.equal(codeFor(['zho']), 'en', 'another language that begins alike');
  for (const odd of [[], [undefined], [null, 7, '', '*'], ['fr_FR', 'zh-Hant_TW']]) assert.match(codeFor(odd), /^(en|zh)$/);
  const at = new Date(2026, 0, 5, 9, 7).getTime();
  for (const odd of ['en-US@posix', '', '*', 'de-DE']) assert.match(timeOfDay(at, odd), /9.07/, `${odd}`);
  const real = Date.prototype.toLocaleTimeString;
  Date.prototype.toLocaleTimeString = () => { throw new RangeError('no Intl here'); };
  try {
    assert.equal(timeOfDay(at, 'en'), '9:07');
  } finally {
    Date.prototype.toLocaleTimeString = real;
  }
});
