import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CallSigns } from '../../../public/ui/call-signs.js';
import { makeClock } from '../harness/fakes.js';

class FakeElement extends EventTarget {
  hidden = true;
  textContent = '';
  dataset = { view: 'remote' };
  attributes = new Map();
  focused = 0;
  focus() { this.focused += 1; }
}

const SESSION = { screen: 'call', peerName: 'Ada', connectedAt: 5, remote: { mic: true, cam: true, screen: false, weak: false } };
const MEDIA = { mic: true, cam: true, screen: false, requesting: false, interrupted: { mic: false, cam: false }, speakingWhileMuted: false };

function make(context) {
  let now = 100_000;
  context.mock.method(performance, 'now', () => now);
  const elements = new Map();
  const find = (_, id) => elements.get(id) ?? elements.set(id, new FakeElement()).get(id);
  const document = Object.assign(new EventTarget(), {
    visibilityState: 'visible', activeElement: null, body: { dataset: { screen: 'call' } },
    defaultView: { matchMedia: () => ({ matches: false }) },
  });
  const page = { document, find: (id) => find(document, id), said: [], done: [], clock: makeClock(), wait: (ms) => { now += ms; } };
  const videos = {
    remote: new FakeElement(), local: new FakeElement(), isWhole: false,
    enterPictureInPicture: () => page.done.push('enter'), exitPictureInPicture: () => page.done.push('exit'),
  };
  const handlers = page.handlers = {};
  const navigator = { mediaSession: { setActionHandler: (name, handler) => { handlers[name] = handler; }, metadata: null } };
  globalThis.MediaMetadata ??= class {};
  const signs = new CallSigns({
    document, navigator, videos, clock: page.clock, micKeys: 'Ctrl+D', reveal: () => page.done.push('reveal'),
    translate: (key, values) => [key, ...Object.values(values ?? {})].join(' '),
    actions: { toggle: (what) => page.done.push(what), leave: () => page.done.push('leave') },
    page: {
      find, announce: (_, text) => page.said.push(text), formatDuration: (seconds) => `0:${seconds}`,
      setText: (element, text) => { element.textContent = text; }, setAttribute: (element, name, value) => element.attributes.set(name, value),
    },
  });
  page.videos = videos;
  page.show = ({ status = 'connected', session = {}, media = {} } = {}) =>
    signs.show({
      status, seconds: 12, session: { ...SESSION, ...session, remote: { ...SESSION.remote, ...session.remote } }, media: { ...MEDIA, ...media },
    });
  return page;
}

test('the top shows the name and the time, the pictures have names', (context) => {
  const page = make(context);
  page.show();
  assert.deepEqual(['#theirName', '#callTime'].map((id) => page.find(id).textContent), ['Ada', '0:12']);
  assert.equal(page.find('#who').hidden, false);
  assert.deepEqual([page.videos.remote, page.videos.local].map(({ attributes }) => attributes.get('aria-label')), ['remote.labelNamed Ada', 'self.label']);
  page.show({ session: { peerName: '', connectedAt: null }, media: { mic: false } });
  assert.equal(page.find('#who').hidden, true);
  assert.deepEqual([page.videos.remote, page.videos.local].map(({ attributes }) => attributes.get('aria-label')), ['remote.label', 'self.labelMuted']);
});

test('what is switched in a call is announced once, also where its button has the focus', (context) => {
  const page = make(context);
  page.show();
  page.document.activeElement = page.find('[data-act=mic]');
  for (const [media, remote, said] of [
    [{}, { mic: false }, ['remote.micOff']], [{ mic: false }, { mic: false }, ['self.micOff']], [{ screen: true }, {}, ['remote.micOn', 'self.micOn', 'self.screenOn']],
    [{}, { cam: false }, ['remote.camOff', 'self.screenOff']], [{}, {}, ['remote.camOn']],
  ]) {
    page.said.length = 0;
    for (let drawn = 0; drawn < 2; drawn += 1) page.show({ media, session: { remote } });
    assert.deepEqual(page.said, said);
  }
  page.said.length = 0;
  page.show({ media: { interrupted: { mic: true, cam: true } }, session: { remote: { screen: true } } });
  assert.deepEqual(page.said, ['remote.screenOn', 'self.micOff', 'self.camOff']);
  page.said.length = 0;
  page.show({ media: { interrupted: { mic: true, cam: true } }, session: { remote: { screen: true, cam: false, weak: true } } });
  page.show({ status: 'reconnecting', media: { interrupted: { mic: true, cam: true } }, session: { remote: { mic: false } } });
  page.show({ media: { interrupted: { mic: true, cam: true } }, session: { remote: { screen: true } } });
  assert.deepEqual(page.said, [], 'neither a weak network nor an interruption switches anything of theirs');
});

test('what is off when a call begins is announced', (context) => {
  const page = make(context);
  page.show({ status: 'connecting', session: { connectedAt: null }, media: { mic: false } });
  assert.deepEqual(page.said, []);
  for (let call = 0; call < 2; call += 1) {
    page.said.length = 0;
    page.show({ session: { remote: { screen: true } }, media: { mic: false } });
    assert.deepEqual(page.said, ['remote.screenOn', 'self.micOff']);
    page.show({ status: 'idle', session: { screen: 'ended', connectedAt: null }, media: { cam: false } });
  }
});

test('own devices are announced outside of a call, once the browser has asked', (context) => {
  const page = make(context);
  const show = (media) => page.show({ status: 'preview', session: { screen: 'lobby', connectedAt: null }, media });
  show({ requesting: true });
  show({ cam: false });
  assert.deepEqual(page.said, []);
  show({});
  show({ mic: false });
  assert.deepEqual(page.said, ['self.camOn', 'self.micOff']);
});

test('who speaks while muted is told for a while, and not again within 20 s', async (context) => {
  const page = make(context);
  const speak = (speakingWhileMuted) => page.show({ media: { mic: false, speakingWhileMuted } });
  speak(false);
  page.said.length = 0;
  speak(true);
  speak(true);
  const hint = page.find('#mutedHint');
  assert.deepEqual([hint.hidden, page.said, page.done], [false, ['self.mutedKeys Ctrl+D'], ['reveal']]);
  page.document.activeElement = hint;
  await page.clock.advance(6000);
  assert.equal(hint.hidden, false, 'it has the focus');
  page.document.activeElement = null;
  await page.clock.advance(6000);
  assert.equal(hint.hidden, true);
  for (const [after, said] of [[10_000, 1], [10_000, 2]]) {
    page.wait(after);
    speak(false);
    speak(true);
    assert.equal(page.said.length, said);
  }
  page.document.activeElement = hint;
  hint.dispatchEvent(new Event('click'));
  assert.equal(page.done.at(-1), 'mic');
  page.show();
  assert.equal(hint.hidden, true, 'once the microphone is on');
  assert.equal(page.find('[data-act=mic]').focused, 1, 'the focus is not lost');
});

test('the small window that the browser opened closes when the page is seen again', (context) => {
  const page = make(context);
  page.show();
  page.document.dispatchEvent(new Event('visibilitychange'));
  assert.deepEqual(page.done, [], 'a window that the person opened stays');
  page.handlers.enterpictureinpicture();
  page.document.visibilityState = 'hidden';
  page.document.dispatchEvent(new Event('visibilitychange'));
  assert.deepEqual(page.done, ['enter']);
  page.document.visibilityState = 'visible';
  page.document.dispatchEvent(new Event('visibilitychange'));
  assert.deepEqual(page.done, ['enter', 'exit']);
});
