import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { summary } from '../../public/connection-test/loopback-call.js';
import { best, gathers, reach } from '../../public/connection-test/probes.js';
import { mayRetry } from '../../public/media/media-errors.js';
import { reportOf } from '../../public/connection-test/report.js';
import { makeRun } from '../../public/connection-test/run.js';
import { verdictOf } from '../../public/connection-test/verdict.js';
import { words as english } from '../../public/locales/en-test.js';
import { words as chinese } from '../../public/locales/zh-test.js';
import { errorKey, makeSay } from '../../public/locales/index.js';
import { words as callEnglish } from '../../public/locales/en.js';
import { words as callChinese } from '../../public/locales/zh.js';
import { makeClock, settle } from './harness/fakes.js';

const LISTENERS = { udp: ['turn-udp', 3478], tcp: ['turn-tcp', 3478], tls: ['turn-tls', 443] };
const FINE = { path: 'relay-udp', rtt: 40, jitter: 2, loss: 0, sent: 150, rate: 9_800_000 };

/** `udp4 tcp4! tls`: what was tried, a `!` behind what did not answer, a `?` behind what was refused. */
function reaches(text) {
  return text.split(' ').filter(Boolean).map((word, i) => {
    const [, kind, family, fate] = /^([a-z]+)([46]?)([!?]?)$/.exec(word);
    const [name, port] = LISTENERS[kind];
    return { probe: { name, port, family: family ? `ipv${family}` : 'any', urls: [] }, ok: fate === '', ms: 20 + i, code: fate === '?' ? 486 : 0 };
  });
}

for (const [tried, figures, code, tone, notes, ports] of [
  ['udp4 udp6 tcp4 tcp6 tls', FINE, 'good', 'good', [], []],
  ['udp4 udp6! tcp4 tcp6! tls', FINE, 'good', 'good', ['no-ipv6'], []],
  ['udp4! udp6 tcp4! tcp6 tls', FINE, 'good', 'good', ['no-ipv4'], []],
  ['udp tcp', FINE, 'good', 'good', [], []],
  ['udp4 tcp4 tls!', FINE, 'good', 'good', ['shut'], ['TLS 443']],
  ['udp4! udp6! tcp4 tcp6! tls', FINE, 'no-udp', 'fair', ['no-ipv6'], ['UDP 3478']],
  ['udp4! tcp4! tls', FINE, 'tls-only', 'fair', [], ['UDP 3478', 'TCP 3478']],
  ['udp4! udp6! tcp4! tcp6! tls', FINE, 'tls-only', 'fair', [], ['UDP 3478', 'TCP 3478']],
  ['udp4! tcp4! tls!', null, 'nothing', 'poor', [], ['UDP 3478', 'TCP 3478', 'TLS 443']],
  ['udp4! tcp4? tls!', null, 'refused', 'poor', [], ['UDP 3478', 'TCP 3478', 'TLS 443']],
  ['udp4 tcp4 tls', null, 'no-call', 'poor', [], []],
  ['', null, 'off', 'poor', [], []],
  ['udp4 tcp4', { ...FINE, loss: 0.04 }, 'lossy', 'fair', [], []],
  ['udp4 tcp4', { ...FINE, loss: 0.12 }, 'lossy', 'poor', [], []],
  ['udp4 tcp4', { ...FINE, rtt: 450 }, 'far', 'fair', [], []],
  ['udp4 tcp4', { ...FINE, rtt: 900 }, 'far', 'poor', [], []],
  ['udp4 tcp4', { ...FINE, rate: 1_000_000 }, 'slow', 'fair', [], []],
  ['udp4 tcp4', { ...FINE, rate: 200_000 }, 'slow', 'poor', [], []],
  ['udp4! tcp4 tls', { ...FINE, rate: 200_000 }, 'slow', 'poor', ['no-udp'], ['UDP 3478']],
]) {
  test(`"${tried}"${figures === FINE ? '' : ` with ${JSON.stringify(figures)}`} is judged ${code}, ${tone}`, () => {
    assert.deepEqual(verdictOf(reaches(tried), figures), { code, tone, notes, ports });
  });
}

test('a call takes UDP before TCP before TLS, and the faster family', () => {
  const way = (text) => { const { name, family } = best(reaches(text)).probe; return `${name} ${family}`; };
  assert.equal(way('tls tcp4 udp6 udp4'), 'turn-udp ipv6');
  assert.equal(way('tls tcp4 udp6! udp4!'), 'turn-tcp ipv4');
  assert.equal(way('udp4! tcp4? tls'), 'turn-tls any');
  assert.equal(best(reaches('udp4! tls!')), null);
});

test('what passed is summed up: the middle delay, its unevenness, what was lost', () => {
  const delays = new Map([[3, 30], [0, 20], [1, 40], [4, 20]]);
  assert.deepEqual(summary(delays, 5), { rtt: 30, jitter: (20 + 10 + 10) / 3, loss: 1 - 4 / 5, sent: 5 });
  assert.deepEqual(summary(new Map(), 5), { rtt: 0, jitter: 0, loss: 1, sent: 5 });
});

/** A connection whose gathering the test plays. */
class FakePeer {
  closed = false;
  createDataChannel() { return {}; }
  async setLocalDescription() {}
  close() { this.closed = true; }
}

async function probed(play) {
  const clock = makeClock();
  const peer = new FakePeer();
  let configured;
  const newPeer = (configuration) => { configured = configuration; return peer; };
  const probe = { name: 'turn-udp', family: 'ipv4', port: 3478, urls: ['turn:a:3478'] };
  const answer = reach(probe, { username: 'u', credential: 'c', ttl: 300 }, { newPeer, clock, now: clock.now });
  await play(peer, clock);
  const { ok, ms, code } = await answer;
  assert.equal(peer.closed, true, 'the allocation is given back');
  assert.deepEqual(configured, { iceServers: [{ urls: ['turn:a:3478'], username: 'u', credential: 'c' }], iceTransportPolicy: 'relay' });
  return { ok, ms, code };
}

test('a relayed candidate opens a way, and nothing else does', async () => {
  assert.deepEqual(await probed(async (peer, clock) => {
    await clock.advance(34);
    peer.onicecandidate({ candidate: { candidate: 'candidate:1 1 udp 1 192.0.2.1 9 typ srflx' } });
    peer.onicecandidate({ candidate: { candidate: 'candidate:2 1 udp 1 192.0.0.8 50000 typ relay raddr 0.0.0.0' } });
  }), { ok: true, ms: 34, code: 0 });
  assert.deepEqual(await probed(async (peer) => peer.onicecandidate({ candidate: null })), { ok: false, ms: 0, code: 0 });
  assert.deepEqual(await probed(async (peer) => {
    peer.onicecandidateerror({ errorCode: 486 });
    peer.onicecandidateerror({ errorCode: 701 });
    peer.onicecandidate({ candidate: null });
  }), { ok: false, ms: 0, code: 486 });
  assert.deepEqual(await probed((peer, clock) => clock.advance(60_000)), { ok: false, ms: 10_000, code: 0 });
});

/** A run whose every step the test gives. */
function staged({ sheet, found = '', figures = FINE }) {
  const phases = [];
  const measured = [];
  const run = makeRun({
    ask: async () => (typeof sheet === 'function' ? sheet() : sheet),
    reach: async (probe) => reaches(found).find((each) => each.probe.name === probe.name),
    measure: async (probe) => { measured.push(probe.name); return figures; },
    changed: () => { if (phases.at(-1) !== run.state.phase) phases.push(run.state.phase); },
  });
  return { run, phases, measured };
}

test('a run asks, tries everything, calls by the best way and judges', async () => {
  const probes = reaches('udp4 tcp4 tls').map(({ probe }) => probe);
  const { run, phases, measured } = staged({ sheet: { probes, username: 'u', credential: 'c' }, found: 'udp4! tcp4 tls' });
  await Promise.all([run.start(), run.start()]);
  assert.deepEqual(phases, ['asking', 'probing', 'calling', 'done']);
  assert.deepEqual(measured, ['turn-tcp']);
  assert.equal(run.state.verdict.code, 'no-udp');
  await run.start();
  assert.equal(measured.length, 2, 'and once more when asked');
});

test('a run that may not, or cannot, ask says so; with nothing open no call is tried', async () => {
  const limited = staged({ sheet: 'limited' });
  await limited.run.start();
  assert.equal(limited.run.state.phase, 'limited');
  const away = staged({ sheet: () => { throw new Error('offline'); } });
  await away.run.start();
  assert.equal(away.run.state.phase, 'unreachable');
  const probes = reaches('udp4').map(({ probe }) => probe);
  const shut = staged({ sheet: { probes }, found: 'udp4!' });
  await shut.run.start();
  await settle();
  assert.deepEqual(shut.measured, []);
  assert.equal(shut.run.state.verdict.code, 'nothing');
});

test('no port is named where the browser did not even try', async () => {
  const probes = reaches('udp4 tcp4 tls').map(({ probe }) => probe);
  for (const [parts, code] of [
    [{ lacking: () => true }, 'no-webrtc'],
    [{ reach: async (probe) => ({ probe, ok: false, ms: 0, code: 0, tried: false }) }, 'no-webrtc'],
    [{ gathers: async () => false }, 'no-candidates'],
    [{ gathers: async () => true }, 'nothing'],
    [{ reach: async (probe) => ({ probe, ok: false, ms: 0, code: 486 }), gathers: async () => false }, 'refused'],
  ]) {
    const run = makeRun({ ask: async () => ({ probes }), reach: async (probe) => ({ probe, ok: false, ms: 0, code: 0 }), measure: async () => null, changed() {}, ...parts });
    await run.start();
    assert.equal(run.state.verdict.code, code);
    const blamesBrowser = code.startsWith('no-');
    assert.equal(run.state.verdict.ports.length === 0 && run.state.rows.length === 0, blamesBrowser, code);
  }
});

test('a browser that gathers nothing, or throws, is told from one that gathers', async () => {
  const clock = { after: () => 0, cancel() {} };
  const peer = (candidates) => () => {
    const made = { createDataChannel() {}, close() {}, async setLocalDescription() { for (const each of candidates) made.onicecandidate({ candidate: each }); } };
    return made;
  };
  assert.equal(await gathers({ newPeer: peer([{ candidate: 'candidate:1 1 udp 1 x.local 9 typ host' }]), clock }), true);
  assert.equal(await gathers({ newPeer: peer([{ candidate: '' }, null]), clock }), false);
  assert.equal(await gathers({ newPeer() { throw new Error('forbidden'); }, clock }), false);
});

test('the report tells all in both languages and holds no secret', () => {
  for (const [common, words] of [[callEnglish, english], [callChinese, chinese]]) {
    const say = makeSay({ ...common, ...words });
    const found = reaches('udp4! udp6! tcp4 tls?').map((each) => ({ ...each, probe: { ...each.probe, urls: ['turn:45.0.0.10:3478'] } }));
    const rows = found.map((each) => ({ probe: each.probe, reach: each }));
    const state = { phase: 'done', rows, way: found[2], figures: FINE, verdict: verdictOf(found, FINE) };
    const devices = { camera: 'fine', microphone: 'fine', speaker: 'fine' };
    const text = reportOf({ run: state, devices, browser: 'Browser/1', host: 'box.test', time: '2026-11-24T00:00:00Z' }, say);
    for (const part of [say('verdict.no-udp'), say('note.no-ipv6'), `UDP 3478 IPv4: ${say('test.silent')}`, 'TCP 3478 IPv4', '486', '40 ms', '9.8 Mbit/s', 'Browser/1', 'box.test']) {
      assert.ok(text.includes(part), `${part} in ${text}`);
    }
    assert.doesNotMatch(text, /45\.0\.0\.10|undefined|\{\w+\}|(?:^|: )(?:test|verdict|note)\./m);
  }
});

test('both languages of the test have the same keys, every one that is asked for', () => {
  assert.deepEqual(Object.keys(chinese).sort(), Object.keys(english).sort());
  for (const [key, text] of Object.entries(chinese)) assert.ok(text === '' || /\p{Script=Han}|IPv/u.test(text), key);
  for (const [key, text] of Object.entries(english)) assert.ok(!/\p{Script=Han}/u.test(text), key);
  for (const key of Object.keys(english)) assert.equal(english[key] === '', chinese[key] === '', key);
  const home = new URL('../../public/', import.meta.url);
  const read = (name) => readFileSync(new URL(name, home), 'utf8');
  const keys = [...read('test.html').matchAll(/data-(?:word|label)="([^"]+)"/g), ...['main.js', 'view.js', 'report.js'].map((name) => `connection-test/${name}`).flatMap((name) => [...read(name).matchAll(/\bsay\('([^']+)'/g)])].map(([, key]) => key);
  assert.ok(keys.length > 30);
  for (const key of keys) assert.ok(key in english || key in callEnglish, key);
});

const TROUBLES = ['camera-denied', 'camera-denied-system', 'device-not-found', 'device-busy', 'device-unfit', 'insecure-origin', 'unsupported',
  'blocked-by-site', 'timeout', 'device-trouble', 'mic-lost', 'cam-lost', 'device-taken', 'device-switched'];
const BROWSERS = [['chrome', 'windows'], ['firefox', 'mac'], ['safari', 'mac'], ['safari-ios', 'ios', 'phone'], ['ios', 'ios', 'phone'],
  ['chrome-android', 'android', 'phone'], ['firefox-android', 'android', 'phone'], ['in-app', 'android', 'phone']];

test('what is said of a device fits the test page: no button that is not there, nobody to join, in every browser', () => {
  for (const [words, elsewhere, again] of [
    [{ ...callEnglish, ...english }, /\bjoin|the link|under Devices|button here|[Nn]obody/, 'Try again'],
    [{ ...callChinese, ...chinese }, /加入|链接|“设备”|按钮|对方/, '“重试”'],
  ]) {
    const say = makeSay(words);
    for (const code of TROUBLES) {
      for (const browser of BROWSERS) {
        const key = errorKey(code, say, browser);
        assert.notEqual(key, 'error.unknown', code);
        assert.doesNotMatch(say(key, { device: 'Webcam' }), elsewhere, key);
        assert.doesNotMatch(say(key, { device: 'Webcam' }), /[{}]/, key);
        if (say(key).includes(again)) assert.ok(mayRetry(code), `${key} names a button that is not shown`);
      }
    }
    assert.equal(say('error.retry'), again.replace(/[“”]/g, ''));
  }
});

test('the test page holds no inline script or style, and every element its view looks for', () => {
  const home = new URL('../../public/', import.meta.url);
  const html = readFileSync(new URL('test.html', home), 'utf8');
  assert.doesNotMatch(html, /<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=/);
  const ids = new Set([...html.matchAll(/\sid="([^"]+)"/g)].map(([, id]) => id));
  const wanted = [...readFileSync(new URL('connection-test/view.js', home), 'utf8').matchAll(/(?:el\('|'#)(\w+)/g)].map(([, id]) => id);
  assert.ok(wanted.length > 15);
  for (const id of wanted) assert.ok(ids.has(id), id);
});
