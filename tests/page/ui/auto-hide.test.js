import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AutoHide } from '../../../public/ui/auto-hide.js';
import { makeClock } from '../harness/fakes.js';

class FakeElement extends EventTarget {
  dataset = {};
  focused = null;
  hovered = false;
  querySelector(selector) { return this.focused ?? (this.hovered && selector.includes(':hover') ? this : null); }
}
globalThis.Element = FakeElement;
globalThis.HTMLTextAreaElement = class {};

function make() {
  const clock = makeClock();
  const body = new FakeElement();
  const stage = new FakeElement();
  new AutoHide({ body, stage, clock, mayHide: () => true }).show();
  /** Dispatches an event to an element. @returns whether it was not prevented */
  const dispatch = (name, target, more = {}) => {
    const event = Object.assign(new Event(name, { cancelable: true }), more);
    Object.defineProperty(event, 'target', { value: target });
    return body.dispatchEvent(event);
  };
  const button = Object.assign(new FakeElement(), { closest: () => button });
  const video = Object.assign(new FakeElement(), { closest: () => null });
  /** A press and its click on the video. */
  const tap = () => {
    dispatch('pointerdown', video);
    dispatch('click', video, { detail: 1 });
    stage.dispatchEvent(Object.defineProperty(new Event('click'), 'target', { value: video }));
  };
  return { clock, body, dispatch, button, video, tap };
}

test('controls do not fade while one of them has the keyboard focus', async () => {
  const { clock, body, button } = make();
  body.focused = button;
  await clock.advance(10_000);
  assert.equal(body.dataset.chrome, 'shown');
  body.focused = null;
  await clock.advance(3000);
  assert.equal(body.dataset.chrome, 'away');
});

test('controls do not fade under a resting mouse, but after a touch', async () => {
  const { clock, body, dispatch, button } = make();
  body.hovered = true;
  dispatch('pointermove', button, { pointerType: 'mouse' });
  await clock.advance(10_000);
  assert.equal(body.dataset.chrome, 'shown');
  dispatch('pointerdown', button, { pointerType: 'touch' });
  await clock.advance(3000);
  assert.equal(body.dataset.chrome, 'away');
  dispatch('pointermove', button, { pointerType: 'mouse' });
  body.hovered = false;
  await clock.advance(3000);
  assert.equal(body.dataset.chrome, 'away');
});

test('the touch that shows the controls presses none of them', async () => {
  const { clock, body, dispatch, button, video } = make();
  await clock.advance(3000);
  dispatch('pointerdown', video);
  assert.equal(body.dataset.chrome, 'shown');
  assert.equal(dispatch('click', button, { detail: 1 }), false);
  assert.equal(dispatch('click', button, { detail: 0 }), true, 'a key or a screen reader presses it');
  dispatch('pointerdown', button);
  assert.equal(dispatch('click', button, { detail: 1 }), true);
  await clock.advance(3000);
  dispatch('pointerdown', button);
  assert.equal(dispatch('click', button, { detail: 1 }), true, 'a visible button is pressed at once');
});

test('the press after the touch that showed the controls counts', async () => {
  const { clock, dispatch, button, video } = make();
  for (const last of ['click', 'pointercancel']) {
    await clock.advance(3000);
    dispatch('pointerdown', video);
    dispatch(last, video, { detail: 1 });
    assert.equal(dispatch('click', button, { detail: 1 }), true, last);
  }
});

test('one tap on the video hides the controls, two neither hide nor show them', async () => {
  const { clock, body, tap } = make();
  tap();
  assert.equal(body.dataset.chrome, 'shown', 'a second tap may follow');
  await clock.advance(400);
  assert.equal(body.dataset.chrome, 'away');
  for (const start of ['hidden', 'shown']) {
    tap();
    assert.equal(body.dataset.chrome, 'shown', start);
    await clock.advance(200);
    tap();
    await clock.advance(1000);
    assert.equal(body.dataset.chrome, 'shown', start);
  }
});
