import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SelfView } from '../../../public/ui/self-view.js';

class FakeElement extends EventTarget {
  dataset = {};
  classList = { toggle() {} };
  toggleAttribute() {}
}

test('the self view goes to each corner without a drag', () => {
  const [stage, self, remote, handle] = Array.from({ length: 4 }, () => new FakeElement());
  const view = new SelfView({ stage, self, remote, handle, changed() {} });
  const corners = Array.from({ length: 4 }, () => {
    view.moveOn();
    return stage.dataset.corner;
  });
  assert.deepEqual(corners, ['tr', 'tl', 'bl', 'br']);
  handle.dispatchEvent(Object.assign(new Event('keydown'), { key: 'ArrowLeft' }));
  assert.equal(stage.dataset.corner, 'bl');
  view.moveOn();
  assert.equal(stage.dataset.corner, 'br', 'on from where it was moved by other means');
});
