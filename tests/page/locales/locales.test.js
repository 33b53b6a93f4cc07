import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { errorKey, formatDuration, formatTime, joinSentences, makeTranslate } from '../../../public/locales/index.js';
import { languageFor, languages } from '../../../public/locales/languages.js';

const root = new URL('../../../public/', import.meta.url);
const locales = await Promise.all(languages.map(async ({ code, call, details }) => {
  const [first, later] = [(await call()).words, (await details()).words];
  return { code, first, later, words: { ...first, ...later } };
}));
const [{ words: english }] = locales;
const { zh: chinese, 'zh-Hant': traditional } = Object.fromEntries(locales.map(({ code, words }) => [code, words]));

const MAY_BE_EMPTY = new Set(['status.idle', 'status.preview', 'sentence.gap']);

test('every language has the same keys, and none is empty', () => {
  const keys = (words) => Object.keys(words).sort();
  for (const { code, first, later, words } of locales) {
    assert.deepEqual(keys(first), keys(locales[0].first), code);
    assert.deepEqual(keys(later), keys(locales[0].later), `${code}-details`);
    assert.deepEqual(keys(first).filter((key) => key in later), [], `${code}: in both files`);
    for (const [key, text] of Object.entries(words)) assert.ok(text.trim() !== '' || MAY_BE_EMPTY.has(key), `${code}: ${key}`);
  }
});

test('Chinese is Chinese and English is not', () => {
  for (const [key, text] of [chinese, traditional].flatMap(Object.entries)) assert.ok(text === '' || /\p{Script=Han}/u.test(text), key);
  for (const [key, text] of Object.entries(english)) assert.ok(!/\p{Script=Han}/u.test(text), key);
});

/** The files that use the words: those of the page and of the build. connection-test/report.test.js covers the connection test. */
const files = readdirSync(root, { recursive: true }).filter((name) => /\.(js|html)$/.test(name) && !/^(connection-test\/|test\.html|locales\/)/.test(name));
const sources = [...files, 'locales/index.js', '../build/languages.rs'].map((name) => readFileSync(new URL(name, root), 'utf8')).join('\n');

const CODES = ['bad-message', 'bad-room', 'room-full', 'already-joined', 'not-joined', 'no-such-peer', 'bad-resume',
  'key-required', 'rate-limited', 'shutting-down', 'camera-denied', 'camera-denied-again', 'camera-denied-system', 'device-not-found',
  'device-busy', 'device-unfit', 'device-trouble', 'insecure-origin', 'unsupported', 'blocked-by-site', 'timeout', 'mic-lost', 'cam-lost', 'device-taken', 'device-switched',
  'screen-denied-system', 'screen-blocked', 'screen-not-found', 'screen-failed', 'unreachable', 'no-path', 'bad-link', 'page-error',
  'no-webrtc', 'no-candidates', 'declined', 'try-later', 'no-server-yet', 'transfer-expired'];
const PATHS = ['direct', 'relay-udp', 'relay-tcp', 'relay-tls'];
const SWITCHED = ['micOn', 'micOff', 'camOn', 'camOff', 'screenOn', 'screenOff'];
/** The values of the placeholder in each key that the code puts together. */
const COMPOSED_KEYS = {
  'after.*': ['youLeft', 'theyLeft', 'theyClosed', 'theyDropped', 'weDropped', 'replaced', 'moved'],
  'named.*': ['theyLeft', 'theyClosed', 'theyDropped'],
  'transfer.*': ['requested', 'expired', 'failed'],
  'chat.*': ['waiting', 'lost', 'too-long', 'too-many'],
  'lobby.inside.*': ['0', '1', '2'],
  'error.*': [...CODES, 'unknown'],
  'error.*.*': [...['firefox', 'safari', 'safari-ios', 'ios', 'chrome-android', 'firefox-android', 'in-app'].map((each) => `camera-denied.${each}`),
    ...['mac', 'windows', 'android'].map((each) => `camera-denied-system.${each}`), 'unsupported.in-app', 'screen-denied-system.mac',
    'device-busy.phone', 'timeout.phone', 'timeout.firefox'],
  'lobby.*': ['title', 'continue', 'elsewhere', 'takeOver', 'invited', 'here', 'waits', 'start', 'startSoundOnly', 'startBare', 'join', 'joinSoundOnly', 'joinBare', 'ask'],
  'status.connected.no-*': ['audio', 'video'],
  'error.or.*': ['camera-denied', 'camera-denied-again', 'device-not-found', 'device-busy', 'unsupported'],
  'numbers.*': ['in', 'out', 'fps', 'rtt', 'loss', 'video', 'audio', 'time'],
  'path.*': PATHS,
  'picture.*': ['reduced', 'paused'],
  'path.why.*': PATHS,
  'path.shut.*': ['relay-tcp', 'relay-tls'],
  'quality.*': ['good', 'fair', 'poor'],
  'quality.why.*': ['loss', 'delay'],
  'remote.*': SWITCHED,
  'self.*': SWITCHED,
  'settings.*': ['backgroundBlur', 'highResolution', 'noiseSuppression', 'echoCancellation', 'autoGainControl', 'music'],
  'status.*': ['idle', 'preview', 'joining', 'waiting', 'connecting', 'connected', 'reconnecting', 'failed'],
};

/** Every key that a file of the page uses. */
function usedKeys() {
  const groups = new Set(Object.keys(english).map((key) => key.split('.')[0]));
  const whole = [...sources.matchAll(/['"]((\w+)(?:\.[\w-]+)*)['"]/g)].filter(([, key, group]) => key in english || (groups.has(group) && key.includes('.')));
  const composed = [...sources.matchAll(/`([a-z]+\.(?:[^`$]|\$\{[^{}`]*\})*)`/g)].map(([, text]) => text.replace(/\$\{[^}]*\}/g, '*'))
    .filter((text) => /^[\w.*-]*\*$/.test(text) && groups.has(text.split('.')[0]));
  assert.deepEqual([...new Set(composed)].sort(), Object.keys(COMPOSED_KEYS).sort());
  return new Set([...whole.map(([, key]) => key), ...composed.flatMap((text) => COMPOSED_KEYS[text].map((each) => text.replace(/\*.*$/, each)))]);
}

test('every key that the page uses is there, and no other', () => {
  for (const [, key] of sources.matchAll(/data-(?:word|label|hint)="([^"]+)"/g)) assert.ok(key in english, key);
  assert.deepEqual([...usedKeys()].sort(), Object.keys(english).sort());
});

test('every language has the same placeholders', () => {
  const placeholders = (text) => [...text.matchAll(/\{\w+\}/g)].map(([each]) => each).sort();
  for (const { code, words } of locales) {
    for (const key of Object.keys(english)) assert.deepEqual(placeholders(words[key]), placeholders(english[key]), `${code}: ${key}`);
  }
});

test('every error of the server and of the devices has a sentence of its own', () => {
  for (const { code, words } of locales) {
    const sentences = CODES.map((each) => words[errorKey(each, makeTranslate(words))]);
    assert.equal(new Set(sentences).size, CODES.length, code);
  }
  const keyFor = (code, browser) => errorKey(code, makeTranslate(english), browser);
  assert.equal(keyFor('no such code'), 'error.unknown');
  assert.equal(keyFor('camera-denied', ['firefox', 'mac']), 'error.camera-denied.firefox');
  assert.equal(keyFor('camera-denied-system', ['firefox', 'mac']), 'error.camera-denied-system.mac');
  assert.equal(keyFor('device-busy', ['firefox', 'mac']), 'error.device-busy');
  assert.equal(keyFor('device-busy', ['firefox-android', 'android', 'phone']), 'error.device-busy.phone');
  assert.equal(keyFor('timeout', ['safari-ios', 'ios', 'phone']), 'error.timeout.phone');
  assert.equal(keyFor('timeout', ['firefox', 'windows']), 'error.timeout.firefox');
  assert.equal(keyFor('timeout', ['safari', 'mac']), 'error.timeout');
});

test('page and server choose the same language', () => {
  const vectors = JSON.parse(readFileSync(new URL('../../languages.json', import.meta.url), 'utf8'));
  for (const [wanted, code] of vectors) assert.equal(languageFor(wanted).code, code, String(wanted));
});

/** Frequent characters that only Simplified Chinese has. */
const SIMPLIFIED = /[们这发开关闭连络频话对说请换还点击权设备输钟时间应录检测试听页览选择贴复码扫为从实现给边头两进让会]/u;

test('Traditional Chinese has no simplified character and no word of the mainland', async () => {
  const { words: ofTest } = await languages.find(({ code }) => code === 'zh-Hant').test();
  const texts = Object.entries({ ...traditional, ...ofTest });
  for (const [key, text] of texts) {
    assert.doesNotMatch(text, SIMPLIFIED, key);
    assert.doesNotMatch(text, /網絡|屏幕|服務器|視頻|鏈接|打印|信息|默認|軟件|攝像頭|揚聲器|刷新/, key);
  }
  assert.ok(texts.length > 150);
});

test('placeholders are filled in, and a missing sentence shows its key', () => {
  assert.equal(makeTranslate(english)('settings.nameless', { n: 2 }), 'Device 2');
  assert.equal(makeTranslate(chinese)('no.such.key'), 'no.such.key');
});

test('sentences are joined as the language does it', () => {
  const keys = ['path.why.direct', 'picture.reduced'];
  assert.match(joinSentences(makeTranslate(english), keys), /\. [A-Z]/);
  assert.match(joinSentences(makeTranslate(chinese), keys), /。\p{Script=Han}/u);
});

test('durations are readable', () => {
  assert.deepEqual([0, 59.9, 763, 3723].map(formatDuration), ['0:00', '0:59', '12:43', '1:02:03']);
});

test('any language tag is accepted, and spellings of systems are understood', () => {
  for (const odd of [[], [undefined], [null, 7, '', '*']]) assert.equal(languageFor(odd).code, 'en');
  const at = new Date(2026, 0, 5, 9, 7).getTime();
  for (const odd of ['en-US@posix', '', '*', 'de-DE']) assert.match(formatTime(at, odd), /9.07/, `${odd}`);
  const real = Date.prototype.toLocaleTimeString;
  Date.prototype.toLocaleTimeString = () => { throw new RangeError('no Intl here'); };
  try {
    assert.equal(formatTime(at, 'en'), '9:07');
  } finally {
    Date.prototype.toLocaleTimeString = real;
  }
});
