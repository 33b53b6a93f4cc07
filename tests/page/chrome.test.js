import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeChrome } from '../../public/ui/auto-hide.js';
import { makeClock } from './harness/fakes.js';

class FakeElement extends EventTarget {
  dataset = {};
  focused = null;
  querySelector() { return this.focused; }
}
globalThis.Element = FakeElement;
globalThis.HTMLTextAreaElement = class {};

function make() {
  const clock = makeClock();
  const body = new FakeElement();
  makeChrome({ body, stage: new FakeElement(), clock, mayStepBack: () => true }).come();
  /** Something happens on this element: whether it went on to it. */
  const happens = (name, target, more = {}) => {
    const event = Object.assign(new Event(name, { cancelable: true }), more);
    Object.defineProperty(event, 'target', { value: target });
    return body.dispatchEvent(event);
  };
  const button = Object.assign(new FakeElement(), { closest: () => button });
  const picture = Object.assign(new FakeElement(), { closest: () => null });
  return { clock, body, happens, button, picture };
}

test('controls do not fade while one of them has the focus of the keyboard', async () => {
  const { clock, body, button } = make();
  body.focused = button;
  await clock.advance(10_000);
  assert.equal(body.dataset.chrome, 'shown');
  body.focused = null;
  await clock.advance(3000);
  assert.equal(body.dataset.chrome, 'away');
});

test('the touch that brings controls back presses none of them', async () => {
  const { clock, body, happens, button, picture } = make();
  await clock.advance(3000);
  happens('pointerdown', picture);
  assert.equal(body.dataset.chrome, 'shown');
  assert.equal(happens('click', button, { detail: 1 }), false);
  assert.equal(happens('click', button, { detail: 0 }), true, 'a key, or a screen reader, means the button');
  happens('pointerdown', button);
  assert.equal(happens('click', button, { detail: 1 }), true);
  await clock.advance(3000);
  happens('pointerdown', button);
  assert.equal(happens('click', button, { detail: 1 }), true, 'what stays in sight is pressed at once');
});

test('a touch that brought controls back says nothing of the next press', async () => {
  const { clock, happens, button, picture } = make();
  for (const last of ['click', 'pointercancel']) {
    await clock.advance(3000);
    happens('pointerdown', picture);
    happens(last, picture, { detail: 1 });
    assert.equal(happens('click', button, { detail: 1 }), true, last);
  }
});
