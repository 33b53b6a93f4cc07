import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { displayName } from '../../../public/app/display-name.js';

const vectors = JSON.parse(readFileSync(new URL('../../display_names.json', import.meta.url), 'utf8'));

test('names are cleaned as the server cleans them', () => {
  for (const [input, cleaned] of vectors) assert.equal(displayName(input), cleaned, JSON.stringify(input));
});

test('a cleaned name stays as it is', () => {
  for (const [, cleaned] of vectors) assert.equal(displayName(cleaned), cleaned, JSON.stringify(cleaned));
});

test('what is no text is no name, and endless input is cut', () => {
  for (const odd of [undefined, null, 7, {}, ['Ada'], true]) assert.equal(displayName(odd), '');
  assert.equal(displayName('\ud800Ada'), 'Ada');
  assert.equal(displayName('y'.repeat(1_000_000)), 'y'.repeat(64));
});
