import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeSerialQueue } from '../../../public/lib/serial-queue.js';
import { makeClock, settle } from '../harness/fakes.js';

/** Tasks that start when the queue runs them; the test settles them. */
function makeHarness() {
  const clock = makeClock();
  const enqueue = makeSerialQueue(clock);
  const tasks = {};
  const started = [];
  const queue = (...names) => names.map((name) => enqueue(() => new Promise((done, refuse) => {
    started.push(name);
    tasks[name] = { done, refuse };
  })));
  return { clock, tasks, started, queue };
}

test('the first task starts at once, each next one when the last has settled', async () => {
  const { tasks, started, queue } = makeHarness();
  const all = queue('one', 'two', 'three');
  for (const name of ['one', 'two', 'three']) {
    await settle();
    assert.equal(started.at(-1), name);
    tasks[name].done(`of ${name}`);
  }
  assert.deepEqual(await Promise.all(all), ['of one', 'of two', 'of three']);
});

test('a rejected task counts as settled and rejects for its caller', async () => {
  const { tasks, started, queue } = makeHarness();
  const [first] = queue('one', 'two');
  await settle();
  tasks.one.refuse(new Error('refused'));
  await assert.rejects(first, /refused/);
  await settle();
  assert.deepEqual(started, ['one', 'two']);
});

test('a task that never settles blocks for ten seconds, then order continues', async () => {
  const { clock, tasks, started, queue } = makeHarness();
  queue('never');
  await clock.advance(4000);
  queue('two', 'three');
  await clock.advance(5999);
  assert.deepEqual(started, ['never']);
  await clock.advance(1);
  assert.deepEqual(started, ['never', 'two']);
  tasks.never.done();
  await settle();
  assert.deepEqual(started, ['never', 'two'], 'a late result settles only its own task');
  tasks.two.done();
  await settle();
  assert.deepEqual(started, ['never', 'two', 'three']);
});
