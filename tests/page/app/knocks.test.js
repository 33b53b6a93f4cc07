import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withAnswer, withKnock, withoutAnswers } from '../../../public/app/knocks.js';

const knock = (id, rest) => ({ type: 'knock', id, ...rest });
const idsOf = (knocks) => knocks.map(({ id }) => id).join('');

test('knocks stand in order, once each, with a clean name', () => {
  let knocks = [knock('a', { name: ' Cleo\u202e ' }), knock('b'), knock('c', { name: 7 }), knock('a', { name: 'Cleopatra' })].reduce(withKnock, []);
  assert.deepEqual(knocks.map(({ id, name }) => [id, name]), [['a', 'Cleopatra'], ['b', ''], ['c', '']]);
  knocks = withKnock(knocks, knock('b', { gone: true }));
  assert.equal(idsOf(withKnock(knocks, knock('nobody', { gone: true }))), 'ac');
});

test('a server cannot fill the list', () => {
  const many = Array.from({ length: 500 }, (_, i) => knock(`k${i}`)).reduce(withKnock, []);
  assert.equal(many.length, 20);
  for (const id of [undefined, null, 7, {}, 'x'.repeat(65)]) assert.deepEqual(withKnock([], knock(id)), []);
});

test('an answer holds until the server refuses it or the knock is gone', () => {
  const answered = withAnswer([knock('a'), knock('b')].reduce(withKnock, []), 'a');
  assert.deepEqual(answered.map((each) => each.answered), [true, false]);
  assert.equal(withKnock(answered, knock('a', { name: 'Cleo' }))[0].answered, true);
  assert.deepEqual(withoutAnswers(answered, 'room-full').map((each) => each.answered), [false, false]);
  assert.equal(idsOf(withoutAnswers(answered, 'no-such-peer')), 'b');
});
