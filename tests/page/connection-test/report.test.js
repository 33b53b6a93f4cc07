import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { reportOf } from '../../../public/connection-test/report.js';
import { verdictOf } from '../../../public/connection-test/verdict.js';
import { errorKey, makeTranslate } from '../../../public/locales/index.js';
import { languages } from '../../../public/locales/languages.js';
import { mayRetry } from '../../../public/media/media-errors.js';
import { GOOD, probeResults } from '../harness/probes.js';

const root = new URL('../../../public/', import.meta.url);
const source = (name) => readFileSync(new URL(name, root), 'utf8');
/** Of each language, its code, the words of both pages and those that only the connection test has. */
const locales = await Promise.all(languages.map(async ({ code, call, test: load }) => {
  const [common, own] = [(await call()).words, (await load()).words];
  return { code, common, own, words: { ...common, ...own } };
}));
const english = locales.find(({ code }) => code === 'en');

test('the report has every result in each language, and no secret', () => {
  for (const { words } of locales) {
    const translate = makeTranslate(words);
    const found = probeResults('udp4! udp6! tcp4 tls?').map((each) => ({ ...each, probe: { ...each.probe, urls: ['turn:45.0.0.10:3478'] } }));
    const rows = found.map((each) => ({ probe: each.probe, result: each }));
    const run = { phase: 'done', rows, path: found[2], figures: GOOD, verdict: verdictOf(found, GOOD, 'websocket') };
    const devices = { camera: 'fine', microphone: 'fine', speaker: 'fine' };
    const text = reportOf({ run, devices, browser: 'Browser/1', host: 'box.test', time: '2026-11-24T00:00:00Z' }, translate);
    for (const part of [translate('verdict.no-udp'), translate('note.no-ipv6'), `UDP 3478 IPv4: ${translate('test.silent')}`, 'TCP 3478 IPv4', '486', '40 ms', '9.8 Mbit/s', 'Browser/1', 'box.test']) {
      assert.ok(text.includes(part), `${part} in ${text}`);
    }
    assert.doesNotMatch(text, /45\.0\.0\.10|undefined|\{\w+\}|(?:^|: )(?:test|verdict|note)\./m);
  }
});

test('each language has the same keys for the test, and all that are used', () => {
  for (const { code, own } of locales) {
    assert.deepEqual(Object.keys(own).sort(), Object.keys(english.own).sort(), code);
    for (const key of Object.keys(own)) assert.equal(own[key] === '', english.own[key] === '', `${code}: ${key}`);
  }
  const chinese = locales.filter(({ code }) => code.startsWith('zh')).flatMap(({ own }) => Object.entries(own));
  for (const [key, text] of chinese) assert.ok(text === '' || /\p{Script=Han}|IPv/u.test(text), key);
  for (const [key, text] of Object.entries(english.own)) assert.ok(!/\p{Script=Han}/u.test(text), key);
  const used = ['main.js', 'view.js', 'report.js'].flatMap((name) => [...source(`connection-test/${name}`).matchAll(/\btranslate\('([^']+)'/g)]);
  const keys = [...source('test.html').matchAll(/data-(?:word|label)="([^"]+)"/g), ...used].map(([, key]) => key);
  assert.ok(keys.length > 30);
  for (const key of keys) assert.ok(key in english.words, key);
});

const ERRORS = ['camera-denied', 'camera-denied-system', 'device-not-found', 'device-busy', 'device-unfit', 'insecure-origin', 'unsupported',
  'blocked-by-site', 'timeout', 'device-trouble', 'mic-lost', 'cam-lost', 'device-taken', 'device-switched'];
const BROWSERS = [['chrome', 'windows'], ['firefox', 'mac'], ['safari', 'mac'], ['safari-ios', 'ios', 'phone'], ['ios', 'ios', 'phone'],
  ['chrome-android', 'android', 'phone'], ['firefox-android', 'android', 'phone'], ['in-app', 'android', 'phone']];
/** Names of buttons and people that only the call page has. */
const OF_THE_CALL_PAGE = { en: /\bjoin|the link|in Settings|its button|[Nn]obody|[Tt]he other person/, zh: /加入|链接|请在“设置”里|按钮|对方/, 'zh-Hant': /加入|連結|請在「設定」中|按鈕|對方/ };

test('device errors of the test name no button or person of the call page', () => {
  for (const { code: language, words } of locales) {
    const translate = makeTranslate(words);
    for (const code of ERRORS) {
      for (const browser of BROWSERS) {
        const key = errorKey(code, translate, browser);
        const sentence = translate(key, { device: 'Webcam' });
        assert.notEqual(key, 'error.unknown', code);
        if (OF_THE_CALL_PAGE[language]) assert.doesNotMatch(sentence, OF_THE_CALL_PAGE[language], key);
        assert.doesNotMatch(sentence, /[{}]/, key);
        if (sentence.includes(translate('error.retry'))) assert.ok(mayRetry(code), `${key} names a button that is not shown`);
      }
    }
  }
});

test('the test page has no inline script and every element of its view', () => {
  const html = source('test.html');
  assert.doesNotMatch(html, /<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=/);
  const ids = new Set([...html.matchAll(/\sid="([^"]+)"/g)].map(([, id]) => id));
  const used = [...source('connection-test/view.js').matchAll(/(?:#find\('|listen\('|'#)(\w+)/g)].map(([, id]) => id);
  assert.ok(used.length > 15);
  for (const id of used) assert.ok(ids.has(id), id);
});
