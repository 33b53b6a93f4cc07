// The page starts in whatever surroundings a browser gives it; where it cannot, words in both languages say so. What goes
// wrong later and is caught by nobody is told as well.

import assert from 'node:assert/strict';
import { setStage } from './lib/stage.mjs';
import { until } from './lib/work.mjs';

const stage = await setStage('start');

/** Runs inside the page: which words stand on the first screen in sight. */
const inSight = `() => [...document.querySelectorAll('.start-failure p')].filter((one) => {
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
    // Nor do the words of a page that does not start cover it, once their time has come.
    await until('the time of the other words', () => seat.look(`() => {
      const { display, visibility } = getComputedStyle(document.getElementById('startFailure'));
      return display === 'none' || visibility === 'visible';
    }`), 15_000);
    assert.ok(await seat.look(`() => [...document.querySelectorAll('noscript p')].every((one) => {
      const { left, top, width, height } = one.getBoundingClientRect();
      return one.contains(document.elementFromPoint(left + width / 2, top + height / 2));
    })`));
  });

  for (const kind of ['chromium', 'firefox']) {
    stage.scene(`a lost file leaves no blank ${path} in ${kind}: words come after a while, in both languages`, async () => {
      const seat = await stage.person(kind, { size: { width: 390, height: 844 } });
      await seat.open('about:blank');
      await seat.without(path === '/' ? '/locales/language.js' : '/connection-test/main.js');
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
  await seat.without('/app/main.js');
  await seat.open(stage.box.origin);
  await told(seat);
});

stage.scene('a page that has lost its style sheet starts, and takes the words away', async () => {
  const seat = await stage.person('chromium');
  await seat.open('about:blank');
  await seat.without('/assets/style.css');
  await seat.open(stage.box.origin);
  await seat.sees('preview');
  assert.equal(await seat.look(`() => document.getElementById('startFailure')`), null);
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
      await until('a start', () => seat.look(`() => !document.getElementById('startFailure') && (!document.getElementById('btnJoin')
        || (document.getElementById('joinWord').textContent && !document.getElementById('btnJoin').disabled))`), 4000)
        .catch(() => wrong.push(`${name}: no start`));
      wrong.push(...(await seat.said()).slice(before).filter((line) => line.startsWith('uncaught')).map((line) => `${name}: ${line}`));
    }
    assert.deepEqual(wrong, []);
  });
}

stage.scene('a damaged link says so and opens no room of its own', async () => {
  const seat = await stage.person('chromium');
  for (const name of ['%E0%A4', '%F0%9F%98%80']) {
    await seat.open(`${stage.box.origin}/r/${name}`);
    assert.match(await seat.errs('bad-link'), /^\s*This link is damaged/);
    await seat.sees('preview');
    assert.equal(await seat.look(`() => document.getElementById('room').value`), '');
  }
});

stage.scene('the page\'s own link, pasted into its field, is its room', async () => {
  const seat = await stage.person('chromium');
  await seat.open(stage.box.origin);
  await seat.sees('preview');
  await seat.click('#room');
  await seat.type(`Come here: ${stage.box.origin}/r/${'den-'.repeat(12)}den.`);
  await seat.findsInside(0);
  await seat.press('Enter');
  await seat.sees('waiting');
  assert.equal(await seat.look('() => location.pathname'), `/r/${'den-'.repeat(12)}den`);
});

for (const kind of ['chromium', 'firefox']) {
  stage.scene(`a file dropped on the page, or a link beside a field, changes nothing in ${kind}`, async () => {
    const seat = await stage.person(kind);
    for (const path of ['/', '/test']) {
      await seat.open(`${stage.box.origin}${path}`);
      await until('a start', () => seat.look(`() => !document.getElementById('startFailure')`));
      const prevented = await seat.look(`() => ['body', 'button', '${path === '/' ? '#room' : '#report'}'].flatMap((selector) => ['file', 'text'].flatMap((what) => ['dragover', 'drop'].map((name) => {
        const data = new DataTransfer();
        if (what === 'file') data.items.add(new File(['x'], 'x.txt'));
        else data.setData('text/uri-list', 'https://example.org/');
        const event = new DragEvent(name, { bubbles: true, cancelable: true, dataTransfer: data });
        return !document.querySelector(selector).dispatchEvent(event);
      })))`);
      // Words go into a field that can be written in, and only they.
      assert.deepEqual(prevented, [...Array(10).fill(true), ...Array(2).fill(path !== '/')]);
    }
  });

  stage.scene(`what nobody caught is told in one sentence, and stands in the report of the test page (${kind})`, async () => {
    const seat = await stage.person(kind);
    await seat.open(stage.box.origin);
    await seat.sees('preview');
    await seat.look(`() => { HTMLDialogElement.prototype.showModal = () => { throw new TypeError('made to fail'); }; }`);
    await seat.click('.outside[data-act=settings]');
    assert.match(await seat.errs('page-error'), /^\s*Something in this page went wrong/);
    await seat.click('#btnDismiss');
    await seat.click('.outside[data-act=settings]');
    assert.ok(await seat.look(`() => document.getElementById('error').hidden`), 'once is enough');
    await seat.open(`${stage.box.origin}/test`);
    await until('the report', () => seat.look(`() => /TypeError: made to fail/.test(document.getElementById('report').value)`));
  });
}

stage.scene('the button that copies the link stays where it is when the code comes', async () => {
  const seat = await stage.person('chromium');
  await seat.open('about:blank');
  const places = {};
  for (const code of ['lost', 'there']) {
    if (code === 'lost') await seat.without('/lib/qr-code.js');
    else await seat.without('/nothing');
    for (const [width, height] of [[390, 844], [1440, 900], [667, 375]]) {
      await seat.resize(width, height);
      await seat.open(stage.room());
      await seat.join();
      await seat.sees('waiting');
      if (code === 'there') await until('the code', () => seat.look(`() => document.getElementById('qr').childElementCount > 0`));
      (places[code] ??= []).push(await seat.look(`() => { const { left, top, width } = document.getElementById('btnCopy').getBoundingClientRect(); return [left, top, width].join(); }`));
    }
  }
  assert.deepEqual(places.there, places.lost);
});

stage.scene('a page that is translated is left alone until its words change', async () => {
  const [one, other] = await stage.pair(['chromium', 'chromium'], stage.room());
  await Promise.all([one, other].map((seat) => seat.hearsAndSees()));
  await one.press('p');
  const duration = () => one.look(`() => document.querySelector('#figures > div:last-child dd').textContent`);
  const translated = await one.look(`() => {
    const places = [...document.querySelectorAll('#pathWord, #pathWhy, #trustHow, #numbersTitle, #status, #numbers dt, #theirMic span, #selfNote, #theirNote')].filter((one) => one.textContent);
    for (const one of places) {
      const font = document.createElement('font');
      font.textContent = 'übersetzt';
      one.replaceChildren(font);
    }
    for (const one of document.querySelectorAll('.bar button')) one.title = 'übersetzt';
    globalThis.__writes = 0;
    const watcher = new MutationObserver((all) => { __writes += all.filter(({ target }) => places.some((one) => one.contains(target)) || target.matches?.('.bar button')).length; });
    watcher.observe(document.body, { subtree: true, childList: true, characterData: true, attributeFilter: ['title', 'aria-label', 'placeholder'] });
    return places.length;
  }`);
  assert.ok(translated > 10);
  const [first, times] = [await duration(), new Set()];
  await until('three seconds to be drawn', async () => times.add(await duration()).size > 3);
  assert.ok(!times.has('') && first);
  assert.equal(await one.look('() => globalThis.__writes'), 0);
});
