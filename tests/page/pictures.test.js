import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makePictures } from '../../public/ui/videos.js';
import { settle } from './harness/fakes.js';

class Video extends EventTarget {
  srcObject = null;
  paused = true;
  muted = false;
  volume = 1;
  plays = 0;
  refuses = false;
  classList = { toggle() {}, contains: () => false };
  removeAttribute() {}
  async play() {
    this.plays += 1;
    if (this.refuses && !this.muted) throw Object.assign(new Error('sound is refused'), { name: 'NotAllowedError' });
    this.paused = false;
  }
}

function make() {
  const parts = new Map();
  const document = Object.assign(new EventTarget(), {
    visibilityState: 'visible', defaultView: null,
    querySelector: (name) => parts.get(name) ?? parts.set(name, new Video()).get(name),
  });
  const pictures = makePictures({ document, say: (key) => key });
  const { local, remote } = pictures;
  const stream = { getTracks: () => [] };
  pictures.showTheirs({ stream, screen: false, cam: true, weak: false }, 0, true);
  local.srcObject = stream;
  const seen = () => document.dispatchEvent(new Event('visibilitychange'));
  return { document, local, remote, seen, hear: parts.get('#btnHear') };
}

test('their sound that was refused after a phone call comes back when the page is looked at again', async () => {
  const { remote, seen, hear } = make();
  await settle();
  Object.assign(remote, { refuses: true, paused: true });
  seen();
  await settle();
  assert.deepEqual([remote.muted, remote.paused, hear.hidden], [true, false, false]);
  remote.refuses = false;
  seen();
  await settle();
  assert.deepEqual([remote.muted, hear.hidden], [false, true]);
  const { plays } = remote;
  seen();
  await settle();
  assert.equal(remote.plays, plays, 'what runs with its sound is left alone');
});

test('an own picture that pauses is played again while the page is seen, and theirs is not touched', async () => {
  const { document, local, remote } = make();
  await settle();
  Object.assign(remote, { paused: true, plays: 0 });
  local.dispatchEvent(new Event('pause'));
  assert.deepEqual([local.plays, remote.plays], [1, 0]);
  document.visibilityState = 'hidden';
  local.dispatchEvent(new Event('pause'));
  assert.equal(local.plays, 1);
});

test('a picture that is paused in the first seconds of a page goes on, and the third pause within five is heeded', async (context) => {
  let now = 1000;
  context.mock.method(performance, 'now', () => now);
  const { remote, hear } = make();
  remote.srcObject = { getTracks: () => [{ readyState: 'live' }] };
  const pause = async () => {
    Object.assign(remote, { paused: true, plays: 0 });
    remote.dispatchEvent(new Event('pause'));
    await settle();
    now += 300;
    return remote.plays;
  };
  await settle();
  assert.deepEqual([await pause(), await pause(), await pause()], [1, 1, 0]);
  assert.equal(hear.hidden, false);
  now += 10_000;
  assert.equal(await pause(), 1);
});
