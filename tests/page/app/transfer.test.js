import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tokenInFragment, Transfer } from '../../../public/app/transfer.js';
import { makeClock } from '../harness/fakes.js';

function makeHarness() {
  const clock = makeClock();
  const changes = [];
  const transfer = new Transfer({ clock, now: clock.now, changed: () => changes.push(clock.now()) });
  return { clock, changes, transfer, phase: () => transfer.code?.phase ?? null };
}

test('a code is valid for its time and gone after it', async () => {
  const { clock, changes, transfer, phase } = makeHarness();
  assert.equal(phase(), null);
  transfer.request(true);
  assert.equal(phase(), 'requested');
  transfer.received({ token: 'one-time', ttl: 60 });
  assert.deepEqual(transfer.code, { token: 'one-time', until: 60_000, phase: 'valid' });
  await clock.advance(59_999);
  assert.equal(phase(), 'valid');
  await clock.advance(1);
  assert.deepEqual([transfer.code.token, phase(), changes], [null, 'expired', [60_000]]);
});

test('a new code replaces the old one and its timer', async () => {
  const { clock, transfer, phase } = makeHarness();
  transfer.request(true);
  transfer.received({ token: 'first', ttl: 60 });
  await clock.advance(50_000);
  transfer.request(true);
  transfer.received({ token: 'second', ttl: 60 });
  await clock.advance(30_000);
  assert.deepEqual([transfer.code.token, phase()], ['second', 'valid']);
});

test('a closed dialog forgets the code and takes no late one', async () => {
  const { clock, changes, transfer } = makeHarness();
  transfer.request(true);
  transfer.close();
  transfer.received({ token: 'late', ttl: 60 });
  assert.equal(transfer.code, null);
  assert.equal(transfer.isUsable(), true, 'the person who saw it may still come');
  await clock.advance(70_000);
  assert.deepEqual([transfer.isUsable(), changes], [false, []]);
});

test('without a server, with a refusal or with a strange answer there is no code', () => {
  const { transfer, phase } = makeHarness();
  transfer.request(false);
  assert.equal(phase(), 'failed');
  for (const odd of [{}, { token: 7, ttl: 60 }, { token: '', ttl: 60 }, { token: 'a b', ttl: 60 }, { token: 'x'.repeat(513), ttl: 60 }, { token: 'x', ttl: 0 },
    { token: 'x', ttl: 'soon' }, { token: 'x', ttl: NaN }]) {
    transfer.request(true);
    transfer.received(odd);
    assert.equal(phase(), 'failed', JSON.stringify(odd));
    assert.equal(transfer.isUsable(), false);
  }
  transfer.request(true);
  transfer.refused();
  assert.equal(phase(), 'failed');
  transfer.request(true);
  transfer.received({ token: 'x', ttl: 60 });
  transfer.refused();
  assert.equal(phase(), 'valid', 'an error about something else');
  transfer.received({ token: 'x', ttl: 1e12 });
  assert.equal(transfer.code.until, 600_000);
});

test('only the fragment of a transfer link has a token', () => {
  assert.equal(tokenInFragment('#t=abc-._~9'), 'abc-._~9');
  for (const other of ['', '#', '#t=', '#t=a b', '#x=abc', 't=abc', `#t=${'x'.repeat(513)}`, '#t=abc&u=1']) assert.equal(tokenInFragment(other), null, other);
});
