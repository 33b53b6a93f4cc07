// The page starts in restricted browsers; where it cannot, a message in every language is shown. Uncaught errors later are
// shown as well.

import assert from 'node:assert/strict';
import { createHarness } from './lib/harness.mjs';
import { finishAnimations, layoutFaults } from './lib/page-checks.mjs';
import { waitFor } from './lib/wait.mjs';

const harness = await createHarness('page-start');

/** Runs in the page: the languages of the start-failure messages that are visible without scrolling. */
const visibleMessages = `() => [...document.querySelectorAll('.start-failure p')].filter((message) => {
  const { top, bottom, height } = message.getBoundingClientRect();
  return height > 0 && top >= 0 && bottom <= innerHeight && message.checkVisibility({ visibilityProperty: true });
}).map((message) => message.lang).join()`;
const waitForMessages = (participant) => waitFor('the messages', async () => (await participant.evaluate(visibleMessages)) === 'en,zh-CN,zh-Hant', 15_000);

for (const path of ['/', '/test']) {
  harness.scenario(`${path} without JavaScript shows a message in every language`, async () => {
    const participant = await harness.participant('chromium', { size: { width: 320, height: 568 } });
    await participant.setJavaScriptEnabled(false);
    await participant.open(`${harness.server.origin}${path}`);
    // Until the style sheet has loaded, the browser shows nothing, but the page has a layout with all messages.
    await waitForMessages(participant);
    // The message about a page that does not start must not cover it when its delay is over.
    await waitFor('the delayed message', () => participant.evaluate(`() => {
      const { display, visibility } = getComputedStyle(document.getElementById('startFailure'));
      return display === 'none' || visibility === 'visible';
    }`), 15_000);
    assert.ok(await participant.evaluate(`() => [...document.querySelectorAll('noscript p')].every((message) => {
      const { left, top, width, height } = message.getBoundingClientRect();
      return message.contains(document.elementFromPoint(left + width / 2, top + height / 2));
    })`));
  });

  for (const kind of ['chromium', 'firefox']) {
    harness.scenario(`${path} with a missing file shows a message after a while (${kind})`, async () => {
      const participant = await harness.participant(kind, { size: { width: 390, height: 844 } });
      await participant.open('about:blank');
      await participant.blockPath(path === '/' ? '/locales/current-language.js' : '/connection-test/main.js');
      await participant.open(`${harness.server.origin}${path}`);
      assert.equal(await participant.evaluate(visibleMessages), '', 'not at once');
      await waitForMessages(participant);
    });
  }
}

harness.scenario('the message about a failed start appears with reduced motion', async () => {
  const participant = await harness.participant('chromium');
  await participant.open('about:blank');
  await participant.emulateMedia({ 'prefers-reduced-motion': 'reduce' });
  await participant.blockPath('/app/main.js');
  await participant.open(harness.server.origin);
  await waitForMessages(participant);
});

harness.scenario('the page starts without its style sheet and removes the message', async () => {
  const participant = await harness.participant('chromium');
  await participant.open('about:blank');
  await participant.blockPath('/assets/style.css');
  await participant.open(harness.server.origin);
  await participant.waitForState('preview');
  assert.equal(await participant.evaluate(`() => document.getElementById('startFailure')`), null);
});

harness.scenario('the page starts with a language that Intl rejects', async () => {
  const participant = await harness.participant('chromium', { flags: ['--accept-lang=en-US@posix'] });
  await participant.open(harness.server.origin);
  assert.throws(() => new Intl.DateTimeFormat('en-US@posix'));
  assert.match(await participant.evaluate('() => navigator.language'), /@posix/);
  await participant.waitForState('preview');
  assert.deepEqual((await participant.consoleMessages()).filter((line) => line.startsWith('uncaught')), []);
});

/** Interfaces that browsers, extensions or settings remove or break, each as an init script. */
const RESTRICTIONS = {
  localStorage: `Object.defineProperty(globalThis, 'localStorage', { get() { throw new DOMException('denied', 'SecurityError'); } })`,
  sessionStorage: `Object.defineProperty(globalThis, 'sessionStorage', { get() { throw new DOMException('denied', 'SecurityError'); } })`,
  'full storage': `Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }`,
  'no storage': `for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(globalThis, name, { value: null })`,
  'invalid data in storage': `for (const store of [localStorage, sessionStorage]) for (const key of ['webrtc-box.switches', 'webrtc-box.seat', 'webrtc-box.devices', 'webrtc-box.letters', 'webrtc-box.errors', 'webrtc-box.language', 'webrtc-box.name']) store.setItem(key, '[null, 7, "x"')`,
  'no languages': `Object.defineProperties(navigator, { languages: { value: undefined }, language: { value: undefined } })`,
  'empty languages': `Object.defineProperties(navigator, { languages: { value: [] }, language: { value: '' } })`,
  'invalid languages': `Object.defineProperties(navigator, { languages: { value: [null, 'x-klingon', '*', '_'] }, language: { value: '*' } })`,
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
  harness.scenario(`${path} starts with each interface missing or broken`, async () => {
    const participant = await harness.participant('chromium');
    // Keeps the connection test from measuring.
    if (path === '/test') await participant.addInitScript(`() => { globalThis.fetch = () => Promise.reject(new TypeError('no network')); }`);
    // The fragment of the address selects the restriction.
    await participant.addInitScript(`() => { (${JSON.stringify(Object.keys(RESTRICTIONS))}.includes(decodeURIComponent(location.hash.slice(1)))) && ({
      ${Object.entries(RESTRICTIONS).map(([name, script]) => `${JSON.stringify(name)}() { ${script}; }`).join(',\n')}
    })[decodeURIComponent(location.hash.slice(1))](); }`);
    const faults = [];
    for (const name of Object.keys(RESTRICTIONS)) {
      await participant.open('about:blank');
      const before = (await participant.consoleMessages()).length;
      await participant.open(`${harness.server.origin}${path}#${encodeURIComponent(name)}`);
      await participant.waitForCondition('a start', `!document.getElementById('startFailure') && (!document.getElementById('btnJoin')
        || (document.getElementById('joinWord').textContent && !document.getElementById('btnJoin').disabled))`, 4000)
        .catch(() => faults.push(`${name}: the page did not start`));
      faults.push(...(await participant.consoleMessages()).slice(before).filter((line) => line.startsWith('uncaught')).map((line) => `${name}: ${line}`));
    }
    assert.deepEqual(faults, []);
  });
}

for (const kind of ['chromium', 'firefox']) {
  harness.scenario(`a file or link dropped outside text fields changes nothing (${kind})`, async () => {
    const participant = await harness.participant(kind);
    for (const path of ['/', '/test']) {
      await participant.open(`${harness.server.origin}${path}`);
      await participant.waitForCondition('a start', `!document.getElementById('startFailure')`);
      const prevented = await participant.evaluate(`() => ['body', 'button', '${path === '/' ? '#room' : '#report'}'].flatMap((selector) => ['file', 'text'].flatMap((type) => ['dragover', 'drop'].map((name) => {
        const data = new DataTransfer();
        if (type === 'file') data.items.add(new File(['x'], 'x.txt'));
        else data.setData('text/uri-list', 'https://example.org/');
        const event = new DragEvent(name, { bubbles: true, cancelable: true, dataTransfer: data });
        return !document.querySelector(selector).dispatchEvent(event);
      })))`);
      // Only text may be dropped, and only on a field that can be edited.
      assert.deepEqual(prevented, [...Array(10).fill(true), ...Array(2).fill(path !== '/')]);
    }
  });

  harness.scenario(`an uncaught error is shown once, and on the test page (${kind})`, async () => {
    const participant = await harness.participant(kind);
    await participant.open(harness.server.origin);
    await participant.waitForState('preview');
    await participant.evaluate(`() => { HTMLDialogElement.prototype.showModal = () => { throw new TypeError('made to fail'); }; }`);
    await participant.click('.outside-call[data-act=settings]');
    assert.match(await participant.waitForError('page-error'), /^\s*Something went wrong on this page/);
    await participant.click('#btnDismiss');
    await participant.click('.outside-call[data-act=settings]');
    assert.ok(await participant.evaluate(`() => document.getElementById('error').hidden`), 'shown once');
    await participant.open(`${harness.server.origin}/test`);
    await participant.waitForCondition('the report', `/TypeError: made to fail/.test(document.getElementById('report').value)`);
  });
}

harness.scenario('a translated page is not rewritten until its texts change', async () => {
  const [first, second] = await harness.joinPair(['chromium', 'chromium'], harness.roomUrl());
  await harness.expectMedia([first, second]);
  await first.press('p');
  const duration = () => first.evaluate(`() => document.querySelector('#figures > div:last-child dd').textContent`);
  const translated = await first.evaluate(`() => {
    const elements = [...document.querySelectorAll('#pathWord, #pathWhy, #trustHow, #numbersTitle, #status, #numbers dt, #theirMic span, #selfNote, #theirNote')].filter((element) => element.textContent);
    for (const element of elements) {
      const font = document.createElement('font');
      font.textContent = 'übersetzt';
      element.replaceChildren(font);
    }
    for (const button of document.querySelectorAll('.bar button')) button.title = 'übersetzt';
    globalThis.__writes = 0;
    const observer = new MutationObserver((all) => { __writes += all.filter(({ target }) => elements.some((element) => element.contains(target)) || target.matches?.('.bar button')).length; });
    observer.observe(document.body, { subtree: true, childList: true, characterData: true, attributeFilter: ['title', 'aria-label', 'placeholder'] });
    return elements.length;
  }`);
  assert.ok(translated > 10);
  const durations = new Set();
  await waitFor('three updates of the duration', async () => durations.add(await duration()).size > 3);
  assert.ok(!durations.has(''));
  assert.equal(await first.evaluate('() => globalThis.__writes'), 0);
});

for (const kind of ['chromium', 'firefox']) {
  harness.scenario(`a call starts in one press, and a chosen language is remembered (${kind})`, async () => {
    const [first, guest] = [await harness.participant(kind), await harness.participant('chromium')];
    const choose = (participant, code) => participant.evaluate(`() => {
      const select = document.getElementById('language');
      select.value = '${code}';
      select.dispatchEvent(new Event('change', { bubbles: true }));
    }`);
    const hasButton = (text) => first.waitForCondition(`the button ${text}`, `document.getElementById('joinWord').textContent === '${text}'`);
    await first.open(harness.server.origin);
    await first.waitForState('preview');
    await hasButton('Start a call');
    await choose(first, 'zh-Hant');
    await hasButton('發起通話');
    await first.reload();
    await first.waitForState('preview');
    await hasButton('發起通話');
    assert.equal(await first.evaluate('() => document.documentElement.lang'), 'zh-Hant');
    await choose(first, 'en');
    await hasButton('Start a call');
    await first.evaluate(`() => { document.getElementById('ownName').value = 'Ann'; }`);
    await first.click('#btnJoin');
    await first.waitForState('waiting');
    const link = await first.evaluate(`() => document.getElementById('link').value`);

    await guest.open(link);
    await guest.waitForOccupancy(1);
    const visible = await guest.evaluate(`() => [...document.querySelectorAll('#door :is(input, button)')].filter((each) => each.checkVisibility()).map(({ id }) => id)`);
    assert.deepEqual(visible, ['ownName', 'btnJoin'], 'one button, and the optional name');
    assert.equal(await guest.evaluate(`() => document.getElementById('doorTitle').textContent`), 'The other person is already here');
    await guest.join();
    await harness.expectMedia([first, guest]);
    // The language changes during the call, which goes on.
    await choose(first, 'zh');
    await first.waitForCondition('the words of the call', `document.querySelector('[data-act=chat]').ariaLabel === '聊天' && document.querySelector('#path').ariaLabel.startsWith('连接方式')`);
    await harness.expectMedia([first, guest]);
  });
}

harness.scenario('the lobby fits in every language, with a long name too', async () => {
  const participant = await harness.participant('chromium');
  await participant.addInitScript(`() => {
    const Native = globalThis.WebSocket;
    globalThis.WebSocket = class extends Native {
      set onmessage(handle) {
        // The server tells the name of who waits only to somebody who was in the room.
        super.onmessage = ({ data }) => handle.call(this, { data: location.hash && data.includes('"room"') ? JSON.stringify({ ...JSON.parse(data), seats: 1, name: 'Maximiliane Wilhelmina von Hohenstein-Langenberg' }) : data });
      }
    };
  }`);
  const faults = [];
  for (const path of ['/', '/r/den', '/r/baba-dodo-kiki-luzu-pena-vero#named']) {
    await participant.open('about:blank');
    await participant.open(`${harness.server.origin}${path}`);
    await participant.waitForState('preview');
    if (path !== '/') await participant.waitForOccupancy(path.includes('#') ? 1 : 0);
    for (const code of ['en', 'zh', 'zh-Hant']) {
      await participant.evaluate(`() => { const select = document.getElementById('language'); select.value = '${code}'; select.dispatchEvent(new Event('change')); }`);
      await participant.waitForCondition(code, `document.documentElement.lang.startsWith('${code}')`);
      if (path.includes('#')) assert.match(await participant.evaluate(`() => document.getElementById('doorTitle').textContent`), /^Maximiliane .* (is waiting for you|正在等您)$/);
      for (const [width, height] of [[360, 640], [390, 844], [667, 375], [844, 390], [1440, 900]]) {
        await participant.setViewport(width, height);
        await participant.evaluate(finishAnimations);
        faults.push(...(await participant.evaluate(`${layoutFaults}`)).map((fault) => `${path} ${code} ${width}x${height}: ${fault}`));
      }
    }
  }
  assert.deepEqual(faults, []);
});
