import assert from 'node:assert/strict';
import { test } from 'node:test';
import { savedErrors, watchErrors } from '../../../public/app/page-errors.js';

const ORIGIN = 'https://call.example.org';

function make(stored = new Map()) {
  const target = new EventTarget();
  const page = { shown: 0, saved: () => savedErrors(storage), stored };
  const storage = { getItem: (key) => stored.get(key) ?? null, setItem: (key, value) => stored.set(key, value) };
  watchErrors({ target, origin: ORIGIN, storage, time: () => 'now', show: () => { page.shown += 1; } });
  page.throws = (message, file = `${ORIGIN}/ui/view.js`, lineno = 7) => target.dispatchEvent(Object.assign(new Event('error'), { error: new TypeError(message), message, filename: file, lineno }));
  page.rejects = (reason) => target.dispatchEvent(Object.assign(new Event('unhandledrejection'), { reason }));
  return page;
}

const ours = (error) => Object.assign(error, { stack: `${error.name}: ${error.message}\n    at draw (${ORIGIN}/app/main.js:12:3)` });

test('an uncaught error is shown and saved for the report', () => {
  const page = make();
  page.throws('x is not a function');
  page.rejects(ours(new RangeError('out of it')));
  assert.equal(page.shown, 2);
  assert.deepEqual(page.saved(), ['now TypeError: x is not a function (/ui/view.js:7)', 'now RangeError: out of it (at draw (/app/main.js:12:3))']);
});

test('repeated errors are limited in number and size', () => {
  const page = make();
  for (let n = 0; n < 100; n += 1) page.throws('the same');
  assert.deepEqual([page.shown, page.saved().length], [1, 1]);
  for (let n = 0; n < 100; n += 1) page.throws(`${n} ${'long '.repeat(200)}`);
  assert.deepEqual([page.shown, page.saved().length], [3, 5]);
  assert.ok([...page.stored.values()].join('').length < 1500);
  const later = make(page.stored);
  later.throws('of another day');
  assert.deepEqual([later.saved().length, later.saved().at(-1)], [5, 'now TypeError: of another day (/ui/view.js:7)']);
});

test('errors of extensions are ignored, and aborted operations not shown', () => {
  const page = make();
  page.throws('boo', 'chrome-extension://abc/content.js');
  page.throws('Script error.', '');
  page.rejects('just a word');
  page.rejects(undefined);
  assert.deepEqual([page.shown, page.saved()], [0, []]);
  page.rejects(ours(Object.assign(new Error('The play() request was interrupted'), { name: 'AbortError' })));
  assert.deepEqual([page.shown, page.saved().length], [0, 1]);
});

test('scripts injected by an app or extension are ignored', () => {
  const page = make();
  page.throws('of the app', `${ORIGIN}/r/den`);
  page.throws('of the app', `${ORIGIN}/`);
  page.throws('of the app', `${ORIGIN}/r/den.js`);
  for (const extension of ['chrome-extension://abc/hook.js', 'moz-extension://abc/hook.js', 'webkit-masked-url://hidden/']) {
    page.rejects(Object.assign(new Error('boo'), { stack: `Error: boo\n    at hook (${extension}:1:2)\n    at draw (${ORIGIN}/app/main.js:12:3)` }));
  }
  assert.deepEqual([page.shown, page.saved()], [0, []]);
  page.throws('ours', `${ORIGIN}/ui/chat-panel.js`);
  assert.equal(page.shown, 1);
});

test('a saved error contains no room, no address and no other page', () => {
  const page = make();
  page.throws(`bad ${ORIGIN}/r/secret-room and 192.0.2.7 and 2001:db8:0:1::5 and wss://box.example.org/ws?token=1`);
  assert.doesNotMatch(page.saved()[0], /secret|192\.0|2001|db8|token|https|example/);
});

test('malformed saved errors are ignored', () => {
  for (const nonsense of ['[1, null, {}]', '{', 'null', '{"a": 1}']) assert.deepEqual(make(new Map([['webrtc-box.errors', nonsense]])).saved(), []);
});
