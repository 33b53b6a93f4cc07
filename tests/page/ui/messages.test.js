import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeTranslate } from '../../../public/locales/index.js';
import { words as first } from '../../../public/locales/en.js';
import { words as later } from '../../../public/locales/en-details.js';
import { Messages } from '../../../public/ui/messages.js';
import { makeClock } from '../harness/fakes.js';

class FakeElement extends EventTarget {
  hidden = false;
  dataset = {};
  textContent = '';
  children = [];
  classList = { toggle() {} };
  constructor(document) {
    super();
    this.ownerDocument = document;
  }
  contains(other) { return this === other; }
  append(child) { this.children.push(child); }
  get childElementCount() { return this.children.length; }
}

function makePage() {
  const elements = new Map();
  const document = {
    createElement: () => new FakeElement(document),
    querySelector: (id) => (id.startsWith('dialog') ? page.dialogRegion : elements.get(id) ?? elements.set(id, new FakeElement(document)).get(id)),
  };
  const said = (region) => region.children.map(({ textContent }) => textContent);
  const page = { clock: makeClock(), dialogRegion: null, find: document.querySelector, said: () => said(document.querySelector('#announcer')) };
  const messages = new Messages({
    document, navigator: { userAgent: '' }, clock: page.clock, actions: {}, translate: makeTranslate({ ...first, ...later }),
  });
  page.show = (status, { error = null, ...session } = {}) => messages.show({
    status, statusKey: `status.${status}`, error, canRetry: false, media: { label: '' },
    session: { peerName: '', screen: 'call', outgoingVideo: 'full', remote: { weak: false }, ...session },
  }, false);
  page.openDialog = () => { page.dialogRegion = new FakeElement(document); };
  page.saidInDialog = () => said(page.dialogRegion);
  return page;
}

test('a status is announced once it has lasted, and not again after a short interruption', async () => {
  const page = makePage();
  page.show('joining');
  await page.clock.advance(300);
  page.show('connected');
  for (let second = 0; second < 3; second += 1) {
    await page.clock.advance(1000);
    page.show('connected');
  }
  assert.deepEqual(page.said(), ['Connected']);
  page.show('reconnecting');
  assert.equal(page.find('#status').textContent, 'Reconnecting…', 'shown at once');
  await page.clock.advance(900);
  page.show('connected');
  await page.clock.advance(5000);
  assert.deepEqual(page.said(), ['Connected']);
  page.show('reconnecting');
  await page.clock.advance(1000);
  page.show('connected');
  await page.clock.advance(1000);
  assert.deepEqual(page.said(), ['Connected', 'Reconnecting…', 'Connected']);
});

test('the headline says what who waits to be let in waits for', async () => {
  const page = makePage();
  page.show('knocking', { screen: 'knocking' });
  await page.clock.advance(5000);
  assert.deepEqual([page.said(), page.find('#status').textContent], [[], 'Waiting to be let in']);
});

test('an open dialog announces status and errors', async () => {
  const page = makePage();
  page.show('connected', { error: 'device-lost' });
  await page.clock.advance(1000);
  page.openDialog();
  page.show('reconnecting', { error: 'unreachable' });
  page.show('reconnecting', { error: 'unreachable' });
  await page.clock.advance(1000);
  assert.deepEqual([page.said(), page.saidInDialog()], [['Connected'], [first['error.unreachable'], 'Reconnecting…']]);
});
