import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { words as chinese } from '../../../public/locales/zh-details.js';
import { words as english } from '../../../public/locales/en-details.js';
import { pictures } from '../../../public/ui/verification-panel.js';
import { VerificationExchange } from '../../../public/call/verification.js';
import { codeOf, commitment, fingerprintsIn } from '../../../public/call/verification-code.js';
import { settle } from '../harness/fakes.js';

const digest = async (bytes) => Uint8Array.from(createHash('sha256').update(bytes).digest()).buffer;
const line = (byte) => `a=fingerprint:sha-256 ${Array(32).fill(byte).join(':')}\r\n`;
const [ANN, BOB, EVE, EVA] = ['AA', 'BB', 'EE', 'EF'].map((byte) => line(byte));
const nonce = (digit) => digit.repeat(64);

/** One end of a call: its own fingerprint and the one it sees. */
function makeEnd(own, seen, itsNonce) {
  const channel = { sent: [], send: (text) => channel.sent.push(text) };
  const end = { channel, results: [], pc: { currentLocalDescription: { sdp: own }, currentRemoteDescription: { sdp: seen } } };
  new VerificationExchange({ pc: end.pc, channel, digest, nonce: itsNonce, emit: (verification) => end.results.push(verification) });
  end.receives = (data) => channel.onmessage({ data });
  return end;
}

/** Opens both and delivers messages until there are none; `between` may change them on the way. */
async function exchangeMessages(one, other, between = (text) => text) {
  one.channel.onopen();
  other.channel.onopen();
  for (let i = 0; i < 4; i += 1) {
    await settle();
    for (const [from, to] of [[one, other], [other, one]]) {
      for (const text of from.channel.sent.splice(0)) to.receives(between(text));
    }
  }
}

async function exchangeWithoutAttack() {
  const [ann, bob] = [makeEnd(ANN, BOB, nonce('1')), makeEnd(BOB, ANN, nonce('2'))];
  await exchangeMessages(ann, bob);
  return { ann, bob };
}

test('both sides get the same four emoji', async () => {
  const { ann, bob } = await exchangeWithoutAttack();
  assert.equal(ann.results.length, 1);
  assert.equal(ann.results[0].state, 'same');
  assert.deepEqual(ann.results, bob.results);
});

test('the code is the first 24 bits of a reproducible digest', async () => {
  const [a, b] = [ANN, BOB].map((sdp) => fingerprintsIn(sdp));
  const hash = (...parts) => createHash('sha256').update(JSON.stringify(['webrtc-box trust 1', ...parts])).digest();
  const bits = hash('code', a, b, nonce('1'), nonce('2')).readUIntBE(0, 3);
  const expected = [18, 12, 6, 0].map((shift) => (bits >> shift) & 63);
  const sides = [{ nonce: nonce('1'), prints: a }, { nonce: nonce('2'), prints: b }];
  assert.deepEqual(await codeOf(digest, sides[0], sides[1]), expected);
  assert.deepEqual(await codeOf(digest, sides[1], sides[0]), expected);
  assert.deepEqual(expected, KNOWN.code);
  assert.equal(await commitment(digest, sides[0], b), hash('commit', nonce('1'), a, b).toString('hex'));
  assert.equal(await commitment(digest, sides[0], b), KNOWN.commitment);
});

test('neither side reveals before the other has committed', async () => {
  const ann = makeEnd(ANN, BOB, nonce('1'));
  ann.channel.onopen();
  await settle();
  ann.receives(`reveal ${nonce('2')}`);
  await settle();
  assert.equal(ann.channel.sent.length, 1);
  assert.match(ann.channel.sent[0], /^commit /);
  assert.deepEqual(ann.results, []);
});

test('a channel that opens before the descriptions is no mismatch', async () => {
  const [ann, bob] = [makeEnd(ANN, BOB, nonce('1')), makeEnd(BOB, ANN, nonce('2'))];
  const shown = bob.pc.currentRemoteDescription;
  bob.pc.currentRemoteDescription = null;
  await exchangeMessages(ann, bob);
  bob.pc.currentRemoteDescription = shown;
  bob.pc.onsignalingstatechange();
  for (let i = 0; i < 3; i += 1) {
    await settle();
    for (const [from, to] of [[ann, bob], [bob, ann]]) from.channel.sent.splice(0).forEach((text) => to.receives(text));
  }
  await settle();
  assert.deepEqual(ann.results, bob.results);
  assert.equal(bob.results[0]?.state, 'same');
});

test('a man in the middle causes two different codes', async () => {
  const [ann, bob] = [makeEnd(ANN, EVE, nonce('1')), makeEnd(BOB, EVA, nonce('2'))];
  const [toAnn, toBob] = [makeEnd(EVE, ANN, nonce('3')), makeEnd(EVA, BOB, nonce('3'))];
  await exchangeMessages(ann, toAnn);
  await exchangeMessages(bob, toBob);
  assert.equal(ann.results[0].state, 'same');
  assert.equal(bob.results[0].state, 'same');
  assert.notDeepEqual(ann.results[0].code, bob.results[0].code);
});

test('a man in the middle who forwards the exchange is detected', async () => {
  const [ann, bob] = [makeEnd(ANN, EVE, nonce('1')), makeEnd(BOB, EVE, nonce('2'))];
  await exchangeMessages(ann, bob);
  assert.deepEqual([ann.results, bob.results], [[{ state: 'mismatch' }], [{ state: 'mismatch' }]]);
});

test('a reveal that does not match its commitment is detected', async () => {
  const [ann, bob] = [makeEnd(ANN, BOB, nonce('1')), makeEnd(BOB, ANN, nonce('2'))];
  await exchangeMessages(ann, bob, (text) => text.replace(nonce('2'), nonce('3')));
  assert.deepEqual(ann.results, [{ state: 'mismatch' }]);
});

test('reflection is detected: our commitment, our nonce, our fingerprint', async () => {
  const ann = makeEnd(ANN, BOB, nonce('1'));
  ann.channel.onopen();
  await settle();
  ann.receives(ann.channel.sent[0]);
  await settle();
  assert.deepEqual(ann.results, [{ state: 'mismatch' }]);
  assert.equal(ann.channel.sent.length, 1, 'and receives no nonce');

  const [one, other] = [makeEnd(ANN, BOB, nonce('1')), makeEnd(BOB, ANN, nonce('1'))];
  await exchangeMessages(one, other);
  assert.deepEqual(one.results, [{ state: 'mismatch' }]);

  const alone = makeEnd(ANN, ANN, nonce('1'));
  alone.channel.onopen();
  await settle();
  assert.deepEqual([alone.results, alone.channel.sent], [[{ state: 'mismatch' }], []]);
});

test('malformed, oversized and repeated messages change nothing', async () => {
  const [ann, bob] = [makeEnd(ANN, BOB, nonce('1')), makeEnd(BOB, ANN, nonce('2'))];
  const junk = ['', 'commit', `commit ${'A'.repeat(64)}`, `commit ${nonce('g')}`, 'x'.repeat(1e6), `reveal ${nonce('9')}`,
    null, undefined, 7, {}, new ArrayBuffer(71)];
  for (const data of junk) ann.receives(data);
  await exchangeMessages(ann, bob);
  for (const data of [...junk, `commit ${nonce('9')}`, `reveal ${nonce('9')}`]) ann.receives(data);
  ann.channel.onopen();
  await settle();
  assert.deepEqual(ann.results, bob.results);
  assert.equal(ann.results.length, 1);
  assert.deepEqual(ann.channel.sent, []);
});

test('a channel that never opens, or missing fingerprints, give no result', async () => {
  const silent = makeEnd(ANN, BOB, nonce('1'));
  const keyless = makeEnd('v=0\r\n', BOB, nonce('1'));
  keyless.channel.onopen();
  keyless.receives(`commit ${nonce('9')}`);
  keyless.receives(`reveal ${nonce('9')}`);
  await settle();
  for (const end of [silent, keyless]) assert.deepEqual([end.results, end.channel.sent], [[], []]);
});

test('a restart keeps the code, other fingerprints end it', async () => {
  const { ann } = await exchangeWithoutAttack();
  ann.pc.currentRemoteDescription = { sdp: `a=ice-ufrag:new\r\n${BOB}` };
  ann.pc.onsignalingstatechange();
  assert.equal(ann.results.length, 1);
  ann.pc.currentRemoteDescription = { sdp: EVE };
  ann.pc.onsignalingstatechange();
  ann.pc.onsignalingstatechange();
  assert.deepEqual(ann.results.slice(1), [{ state: 'mismatch' }]);
});

test('an added fingerprint counts as another set', async () => {
  const [ann, bob] = [makeEnd(ANN, BOB + EVE, nonce('1')), makeEnd(BOB, ANN, nonce('2'))];
  await exchangeMessages(ann, bob);
  assert.deepEqual(ann.results, [{ state: 'mismatch' }]);
});

test('fingerprints are normalized, sorted and unique', () => {
  const sdp = 'v=0\r\na=fingerprint:SHA-256 ab:cd\r\nm=audio\r\na=fingerprint:sha-1 01:02\r\na=fingerprint:sha-256 AB:CD\r\n';
  assert.equal(fingerprintsIn(sdp), 'sha-1 01:02\nsha-256 AB:CD');
  assert.equal(fingerprintsIn(undefined), '');
});

test('the verification code has 64 different emoji and words', () => {
  for (const picture of pictures) assert.match(picture, /^\p{Emoji}$/u);
  for (const list of [pictures, english['trust.pictures'].split(', '), chinese['trust.pictures'].split(', ')]) {
    assert.equal(new Set(list).size, 64);
  }
  assert.match(english['trust.pictures'], /^([A-Za-z]+, )+[A-Za-z]+$/);
  assert.match(chinese['trust.pictures'], /^(\p{Script=Han}+, )+\p{Script=Han}+$/u);
});

/** Computed once by another program. */
const KNOWN = {
  code: [6, 44, 25, 5],
  commitment: '926c0c76874a5052f57de081e69598427d11c0a71605c894e5cf21486073f985',
};
