import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Videos } from '../../../public/ui/videos.js';
import { settle } from '../harness/fakes.js';

class FakeVideo extends EventTarget {
  ownerDocument = {};
  contains() { return false; }
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
    querySelector: (name) => parts.get(name) ?? parts.set(name, new FakeVideo()).get(name),
  });
  const videos = new Videos({ document, translate: (key) => key });
  const { local, remote } = videos;
  const stream = { getTracks: () => [] };
  videos.showRemote({ stream, screen: false, cam: true, weak: false }, 0, true);
  local.srcObject = stream;
  const showPage = () => document.dispatchEvent(new Event('visibilitychange'));
  return { document, local, remote, showPage, playButton: parts.get('#btnHear') };
}

test('sound refused after a phone call is retried when the page is shown', async () => {
  const { remote, showPage, playButton } = make();
  await settle();
  Object.assign(remote, { refuses: true, paused: true });
  showPage();
  await settle();
  assert.deepEqual([remote.muted, remote.paused, playButton.hidden], [true, false, false]);
  remote.refuses = false;
  showPage();
  await settle();
  assert.deepEqual([remote.muted, playButton.hidden], [false, true]);
  const { plays } = remote;
  showPage();
  await settle();
  assert.equal(remote.plays, plays, 'a video with sound is not started again');
});

test('a paused own picture resumes while the page is visible, alone', async () => {
  const { document, local, remote } = make();
  await settle();
  Object.assign(remote, { paused: true, plays: 0 });
  local.dispatchEvent(new Event('pause'));
  assert.deepEqual([local.plays, remote.plays], [1, 0]);
  document.visibilityState = 'hidden';
  local.dispatchEvent(new Event('pause'));
  assert.equal(local.plays, 1);
});

test('a paused remote video resumes, but not after a third pause in 5 s', async (context) => {
  let now = 1000;
  context.mock.method(performance, 'now', () => now);
  const { remote, playButton } = make();
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
  assert.equal(playButton.hidden, false);
  now += 10_000;
  assert.equal(await pause(), 1);
});
