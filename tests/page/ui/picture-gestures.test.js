import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listenToGestures } from '../../../public/ui/picture-gestures.js';

function make() {
  const picture = new EventTarget();
  const page = { done: [], isLarge: true };
  listenToGestures({ picture, isLarge: () => page.isLarge, toggle: () => page.done.push('toggle'), setWhole: (whole) => page.done.push(whole ? 'whole' : 'fill') });
  const dispatch = (name, more) => picture.dispatchEvent(Object.defineProperties(new Event(name),
    Object.fromEntries(Object.entries(more).map(([key, value]) => [key, { value }]))));
  page.tap = (timeStamp, clientX = 100, clientY = 100) => dispatch('click', { timeStamp, clientX, clientY });
  page.finger = (name, pointerId, clientX, pointerType = 'touch') => dispatch(`pointer${name}`, { pointerType, pointerId, clientX, clientY: 200 });
  return page;
}

test('two quick taps in one place are one double tap', () => {
  const page = make();
  page.tap(1000);
  page.tap(1250, 110);
  assert.deepEqual(page.done, ['toggle']);
  page.tap(1400);
  assert.deepEqual(page.done, ['toggle'], 'a third tap starts again');
  page.tap(1600);
  assert.deepEqual(page.done, ['toggle', 'toggle']);
});

test('slow taps, taps apart and taps on the small picture are none', () => {
  const page = make();
  page.tap(1000);
  page.tap(1400);
  page.tap(1500, 300);
  page.isLarge = false;
  page.tap(1600, 300);
  assert.deepEqual(page.done, []);
});

test('fingers that spread fill the screen, fingers that pinch show the whole, once', () => {
  const page = make();
  page.finger('down', 1, 100);
  page.finger('down', 2, 200);
  page.finger('move', 2, 210);
  assert.deepEqual(page.done, [], 'a little is nothing');
  page.finger('move', 2, 230);
  page.finger('move', 2, 330);
  assert.deepEqual(page.done, ['fill']);
  page.finger('up', 1, 100);
  page.finger('up', 2, 330);
  page.finger('down', 3, 100);
  page.finger('down', 4, 300);
  page.finger('move', 4, 200);
  assert.deepEqual(page.done, ['fill', 'whole']);
});

test('a third finger, a lost finger and a mouse do not pinch', () => {
  const page = make();
  page.finger('down', 1, 100);
  page.finger('down', 2, 200);
  page.finger('down', 3, 250);
  page.finger('move', 2, 400);
  page.finger('cancel', 3, 250);
  page.finger('move', 2, 800);
  page.finger('cancel', 2, 800);
  page.finger('cancel', 1, 100);
  page.finger('down', 4, 100, 'mouse');
  page.finger('down', 5, 200);
  page.finger('move', 5, 400);
  assert.deepEqual(page.done, []);
});

test('a tap between two gestures of two fingers belongs to no double tap', () => {
  const page = make();
  page.tap(1000);
  page.finger('down', 1, 100);
  page.finger('down', 2, 200);
  page.finger('up', 1, 100);
  page.finger('up', 2, 200);
  page.tap(1200);
  assert.deepEqual(page.done, []);
});
