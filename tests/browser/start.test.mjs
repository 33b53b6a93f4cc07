// The page starts in whatever surroundings a browser gives it; where it cannot, words in both languages say so. What goes
// wrong later and is caught by nobody is told as well.

import assert from 'node:assert/strict';
import { setStage } from './lib/stage.mjs';
import { until } from './lib/work.mjs';

const stage = await setStage('start');

/** Runs inside the page: which words stand on the first screen in sight. */
const inSight = `() => [...document.querySelectorAll('.late p')].filter((one) => {
  const { top, bottom, height } = one.getBoundingClientRect();
  return height > 0 && top >= 0 && bottom <= innerHeight && one.checkVisibility({ visibilityProperty: true });
}).map((one) => one.lang).join()`;
const told = (seat) => until('the words', async () => (await seat.look(inSight)) === 'en,zh-CN', 15_000);

for (const path of ['/', '/test']) {
  stage.scene(`without JavaScript ${path} says so on its first screen, in both languages`, async () => {
    const seat = await stage.person('chromium', { size: { width: 320, height: 568 } });
    await seat.scripts(false);
    await seat.open(`${stage.box.origin}${path}`);
    assert.equal(await seat.look(inSight), 'en,zh-CN');
  });

  for (const kind of ['chromium', 'firefox']) {
    stage.scene(`a lost file leaves no blank ${path} in ${kind}: words come after a while, in both languages`, async () => {
      const seat = await stage.person(kind, { size: { width: 390, height: 844 } });
      await seat.open('about:blank');
      await seat.without(path === '/' ? '/thrift.js' : '/test-verdict.js');
      await seat.open(`${stage.box.origin}${path}`);
      assert.equal(await seat.look(inSight), '', 'not at once');
      await told(seat);
    });
  }
}

stage.scene('with motion reduced the words for a page that does not start come too', async () => {
  const seat = await stage.person('chromium');
  await seat.open('about:blank');
  await seat.media({ 'prefers-reduced-motion': 'reduce' });
  await seat.without('/main.js');
  await seat.open(stage.box.origin);
  await told(seat);
});

stage.scene('a page that has lost its style sheet starts, and takes the words away', async () => {
  const seat = await stage.person('chromium');
  await seat.open('about:blank');
  await seat.without('/style.css');
  await seat.open(stage.box.origin);
  await seat.sees('preview');
  assert.equal(await seat.look(`() => document.getElementById('late')`), null);
});

stage.scene('a language that Intl refuses is no reason for a blank page', async () => {
  const seat = await stage.person('chromium', { flags: ['--accept-lang=en-US@posix'] });
  await seat.open(stage.box.origin);
  assert.throws(() => new Intl.DateTimeFormat('en-US@posix'));
  assert.match(await seat.look('() => navigator.language'), /@posix/);
  await seat.sees('preview');
  assert.deepEqual((await seat.said()).filter((line) => line.startsWith('uncaught')), []);
});

/** What browsers, extensions and settings take away, each as a script that runs before the page's own. */
const LACKS = {
  localStorage: `Object.defineProperty(globalThis, 'localStorage', { get() { throw new DOMException('denied', 'SecurityError'); } })`,
  sessionStorage: `Object.defineProperty(globalThis, 'sessionStorage', { get() { throw new DOMException('denied', 'SecurityError'); } })`,
  'full stores': `Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }`,
  'no stores': `for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(globalThis, name, { value: null })`,
  'nonsense in stores': `for (const store of [localStorage, sessionStorage]) for (const key of ['webrtc-box.switches', 'webrtc-box.seat', 'webrtc-box.devices', 'webrtc-box.letters', 'webrtc-box.errors']) store.setItem(key, '[null, 7, "x"')`,
  'no languages': `Object.defineProperties(navigator, { languages: { value: undefined }, language: { value: undefined } })`,
  'empty languages': `Object.defineProperties(navigator, { languages: { value: [] }, language: { value: '' } })`,
  'strange languages': `Object.defineProperties(navigator, { languages: { value: [null, 'x-klingon', '*', '_'] }, language: { value: '*' } })`,
  'no Intl': `delete globalThis.Intl`,
  'an Intl that throws': `Date.prototype.toLocaleTimeString = () => { throw new RangeError('locale'); }; Intl.DateTimeFormat = function () { throw new RangeError('locale'); }`,
  'no locks': `Object.defineProperty(navigator, 'locks', { value: undefined })`,
  'locks that throw': `Object.defineProperty(navigator, 'locks', { value: { request: () => Promise.reject(new DOMException('denied', 'SecurityError')), query: () => { throw new Error('no'); } } })`,
  'no permissions': `Object.defineProperty(navigator, 'permissions', { value: undefined })`,
  'permissions that throw': `Object.defineProperty(navigator, 'permissions', { value: { query() { throw new TypeError('no'); } } })`,
  'no mediaDevices': `Object.defineProperty(navigator, 'mediaDevices', { value: undefined })`,
  'mediaDevices that throw': `for (const name of ['getUserMedia', 'enumerateDevices']) navigator.mediaDevices[name] = () => { throw new TypeError('no'); }`,
  'no wakeLock': `Object.defineProperty(navigator, 'wakeLock', { value: undefined })`,
  'no AudioContext': `delete globalThis.AudioContext`,
  'no MediaStream': `delete globalThis.MediaStream`,
  'no RTCPeerConnection': `delete globalThis.RTCPeerConnection`,
  'no visualViewport': `Object.defineProperty(globalThis, 'visualViewport', { value: undefined })`,
  'no matchMedia': `globalThis.matchMedia = undefined`,
  'no dialogs': `delete HTMLDialogElement.prototype.showModal`,
  'no marks': `Performance.prototype.mark = undefined; Performance.prototype.getEntriesByType = undefined`,
  'entries that throw': `Performance.prototype.getEntriesByType = () => { throw new Error('no'); }`,
  'no randomUUID': `delete Crypto.prototype.randomUUID; delete Crypto.prototype.subtle`,
  'policies that throw': `Object.defineProperty(document, 'featurePolicy', { value: { allowsFeature() { throw new Error('no'); } } })`,
  'no full screen': `Element.prototype.requestFullscreen = undefined; HTMLVideoElement.prototype.requestPictureInPicture = undefined`,
  'no play': `HTMLMediaElement.prototype.play = function () { return undefined; }`,
  'no setSinkId': `delete HTMLMediaElement.prototype.setSinkId`,
  'no WebSocket': `globalThis.WebSocket = function () { throw new DOMException('denied', 'SecurityError'); }`,
  'no history': `History.prototype.replaceState = () => { throw new DOMException('denied', 'SecurityError'); }`,
};

for (const path of ['/', '/test']) {
  stage.scene(`${path} starts whatever the browser lacks or refuses`, async () => {
    const seat = await stage.person('chromium');
    // Nothing is measured here.
    if (path === '/test') await seat.before(`() => { globalThis.fetch = () => Promise.reject(new TypeError('no network')); }`);
    await seat.before(`() => { (${JSON.stringify(Object.keys(LACKS))}.includes(decodeURIComponent(location.hash.slice(1)))) && ({
      ${Object.entries(LACKS).map(([name, script]) => `${JSON.stringify(name)}() { ${script}; }`).join(',\n')}
    })[decodeURIComponent(location.hash.slice(1))](); }`);
    const wrong = [];
    for (const name of Object.keys(LACKS)) {
      await seat.open('about:blank');
      const before = (await seat.said()).length;
      await seat.open(`${stage.box.origin}${path}#${encodeURIComponent(name)}`);
      await until('a start', () => seat.look(`() => !document.getElementById('late') && (!document.getElementById('btnJoin')
        || (document.getElementById('joinWord').textContent && !document.getElementById('btnJoin').disabled))`), 4000)
        .catch(() => wrong.push(`${name}: no start`));
      wrong.push(...(await seat.said()).slice(before).filter((line) => line.startsWith('uncaught')).map((line) => `${name}: ${line}`));
    }
    assert.deepEqual(wrong, []);
  });
}
