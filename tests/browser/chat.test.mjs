// The chat in real browsers: over an ICE restart and a reloaded page, with hostile words; the link that is shared
// and scanned; and that a whole call asks nobody but its own host for anything.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { get } from 'node:https';
import { createRequire } from 'node:module';
import { buffer } from 'node:stream/consumers';
import { figure } from './lib/figures.mjs';
import { setStage } from './lib/stage.mjs';
import { SPEAKS } from './lib/tour.mjs';
import { until } from './lib/work.mjs';

const stage = await setStage('chat');
const jsqr = createRequire(import.meta.url)('jsqr');

const write = (seat, text) => seat.look(`() => {
  document.getElementById('chatLine').value = ${JSON.stringify(text)};
  document.getElementById('chatForm').requestSubmit();
}`);
const log = (seat) => seat.look(`() => [...document.querySelectorAll('#chatLog [data-state]')].map((one) => one.querySelector('p').textContent)`);
const reads = (seat, ...wanted) => until(`the chat to be ${wanted}`, async () => {
  const now = await log(seat);
  return JSON.stringify(now) === JSON.stringify(wanted) ? true : Promise.reject(new Error(now.join(' / ')));
});

stage.scene('the same message twice is announced twice', async () => {
  const [one, other] = await stage.pair(['chromium', 'chromium'], stage.room());
  await Promise.all([one, other].map((seat) => seat.hearsAndSees()));
  for (const text of ['yes', 'yes', 'no']) await write(other, text);
  await reads(one, 'yes', 'yes', 'no');
  assert.deepEqual(await one.look(`() => [...document.getElementById('chatHeard').children].map((each) => each.textContent)`),
    ['New message: yes', 'New message: yes', 'New message: no']);
});

/** Events of an Enter that ends a composition, as engines send them; each is a name and what belongs to it. */
const ORDERS = {
  'Chromium and Firefox': [['compositionstart'], ['keydown', { isComposing: true, keyCode: 229 }], ['compositionend'], ['keyup']],
  Safari: [['compositionstart'], ['compositionend'], ['keydown', { keyCode: 229 }], ['keyup']],
  'none of them, before': [['compositionstart'], ['keydown', { keyCode: 13 }], ['compositionend'], ['keyup']],
  'none of them, after': [['compositionstart'], ['compositionend'], ['keydown', { keyCode: 13 }], ['keyup']],
};

for (const kind of ['chromium', 'firefox']) {
  stage.scene(`an Enter that ends a composition sends nothing in ${kind}, in any engine's order of events`, async () => {
    const [one, other] = await stage.pair([kind, 'chromium'], stage.room());
    await Promise.all([one, other].map((seat) => seat.hearsAndSees()));
    await one.click('[data-act=chat]');
    for (const [order, events] of Object.entries(ORDERS)) {
      await one.look(`() => {
        const line = document.getElementById('chatLine');
        line.focus();
        line.value = 'half a word';
        for (const [name, more] of ${JSON.stringify(events)}) {
          const options = { bubbles: true, cancelable: true, key: 'Enter', code: 'Enter', ...more };
          line.dispatchEvent(name.startsWith('key') ? new KeyboardEvent(name, options) : new CompositionEvent(name, options));
        }
      }`);
      assert.equal(await one.look(`() => document.getElementById('chatLine').value`), 'half a word', order);
    }
    // The next Enter is one.
    await until('the message', async () => {
      await one.press('Enter');
      return (await log(one)).length > 0;
    });
    assert.deepEqual(await log(one), ['half a word']);
  });
}

for (const kinds of [['chromium', 'firefox'], ['firefox', 'chromium']]) {
  stage.scene(`${kinds.join(' and ')} write to each other, after an ICE restart and a reload too`, async () => {
    const two = await stage.pair(kinds, stage.room());
    const [one, other] = two;
    await Promise.all(two.map((seat) => seat.hearsAndSees()));
    await write(one, 'one');
    await reads(other, 'one');
    assert.equal(await other.look('() => document.body.dataset.unread'), '1');
    assert.equal(await other.look(`() => document.getElementById('chatHeard').textContent`), 'New message: one');

    const name = '() => /a=ice-ufrag:(.*)/.exec(webrtcBox.call.connection().currentLocalDescription.sdp)[1]';
    const before = await one.look(name);
    await one.look('() => webrtcBox.call.connection().restartIce()');
    await until('the restart', async () => (await one.look(name)) !== before);
    await write(other, 'two');
    await reads(one, 'one', 'two');

    // What is written while the other page is away goes out when it is back, to a page that begins anew.
    const reloaded = other.reload();
    await write(one, 'three');
    await reloaded;
    await Promise.all(two.map((seat) => seat.hearsAndSees()));
    await write(other, 'four');
    await until('four', async () => (await log(one)).at(-1) === 'four');
    assert.deepEqual(await log(one), ['one', 'two', 'three', 'four']);
    assert.equal((await log(other)).at(-1), 'four');
    await until('nothing unsent', () => one.look(`() => !document.querySelector('#chatLog [data-state=waiting]')`));
  });
}

stage.scene('what a stranger writes is text and safe links, and a flood of it leaves the page alive', async () => {
  const [one, other] = await stage.pair(['chromium', 'chromium'], stage.room());
  await Promise.all([one.hearsAndSees(), other.hearsAndSees()]);
  await write(other, '<img src=x onerror=alert(1)> javascript:alert(1) https://example.org/a?b=1&c. \u202Egpj');
  await until('the message', async () => (await log(one)).length === 1);
  assert.deepEqual(await one.look(`() => [...document.querySelectorAll('#chatLog a')].map((a) => [a.href, a.textContent, a.target, a.rel])`),
    [['https://example.org/a?b=1&c', 'https://example.org/a?b=1&c', '_blank', 'noopener noreferrer']]);
  assert.equal(await one.look(`() => document.querySelectorAll('#chatLog img').length`), 0);
  assert.doesNotMatch((await log(one))[0], /\u202E/);

  await other.look(`() => {
    const { send } = RTCDataChannel.prototype;
    let n = 0;
    RTCDataChannel.prototype.send = function (text) {
      if (this.label !== 'chat' || n) return send.call(this, text);
      for (n = 1; n <= 5000; n += 1) send.call(this, n % 3 ? JSON.stringify({ from: 'flood' + n, n, text: 'flood '.repeat(100) }) : '{'.repeat(1000));
    };
  }`);
  await write(other, 'begin');
  await until('some of the flood', async () => (await log(one)).length > 5);
  await one.hearsAndSees();
  assert.ok((await log(one)).length <= 400);
  await one.click('[data-act=chat]');
  assert.ok(await one.look(`() => document.getElementById('chatLog').scrollWidth <= document.getElementById('chatLog').clientWidth`));
  const tooLong = 'x'.repeat(4001);
  await write(one, tooLong);
  assert.match(await one.look(`() => document.getElementById('chatNote').textContent`), /4000.*4001/);
  assert.equal(await one.look(`() => document.getElementById('chatLine').value.length`), 4001);
});

stage.scene('where a keyboard lies over the page, as in Safari, the sheet stands on it', async () => {
  const url = stage.room();
  const other = await stage.person('chromium');
  await other.open(url);
  await other.join();
  const one = await stage.person('chromium', { size: { width: 390, height: 844 } });
  await one.before(`() => {
    const seen = Object.assign(new EventTarget(), { height: 844, offsetTop: 0, scale: 1 });
    Object.defineProperty(globalThis, 'visualViewport', { value: seen });
  }`);
  await one.open(url);
  await one.join();
  await one.hearsAndSees();
  await one.click('[data-act=chat]');
  const edges = `() => ['chat', 'stage'].map((id) => Math.round(document.getElementById(id).getBoundingClientRect().bottom))`;
  const [foot] = await one.look(edges);
  assert.equal(foot, 844);
  await one.look(`() => { visualViewport.height = 500; visualViewport.dispatchEvent(new Event('resize')); }`);
  const [above, picture] = await one.look(edges);
  assert.equal(above, 500);
  assert.ok(picture > 200 && picture < 300, `the picture ends at ${picture}`);
});

stage.scene('the link is shared by the browser\'s own sheet, and its picture says the same', async () => {
  const seat = await stage.person('chromium', { size: { width: 390, height: 844 } });
  await seat.before(`() => { navigator.share = async (what) => { globalThis.shared = what; }; }`);
  await seat.open(stage.box.origin);
  await seat.join();
  await seat.sees('waiting');
  const link = await seat.look(`() => document.getElementById('link').value`);
  assert.match(link, /\/r\/([a-z]{4}-){5}[a-z]{4}$/);
  assert.equal(link, await seat.look('() => location.href'));
  await seat.click('#btnShare');
  assert.equal((await seat.look('() => globalThis.shared')).url, link);
  const { size, pixels } = await until('the code', () => seat.look(`async () => {
    const svg = document.getElementById('qr').cloneNode(true);
    if (!svg.childElementCount) return null;
    const size = 400;
    svg.setAttribute('width', size);
    svg.setAttribute('height', size);
    const image = new Image();
    image.src = 'data:image/svg+xml,' + encodeURIComponent(new XMLSerializer().serializeToString(svg));
    await image.decode();
    const ink = Object.assign(document.createElement('canvas'), { width: size, height: size }).getContext('2d');
    ink.fillStyle = '#fff';
    ink.fillRect(0, 0, size, size);
    ink.drawImage(image, 0, 0, size, size);
    return { size, pixels: [...ink.getImageData(0, 0, size, size).data] };
  }`));
  assert.equal((jsqr.default ?? jsqr)(Uint8ClampedArray.from(pixels), size, size)?.data, link);
});

stage.scene('a whole call asks nobody but its own host, and for the words of one language', async () => {
  const url = stage.room();
  const two = [await stage.person('chromium', { flags: SPEAKS.zh }), await stage.person('firefox')];
  for (const seat of two) {
    await seat.open(url);
    await seat.join();
    await seat.sees(['waiting', 'connected', 'connecting']);
  }
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
  await write(two[0], 'https://example.org/ is not looked at');
  await until('the message', async () => (await log(two[1])).length === 1);
  await two[1].leave();
  for (const [seat, words] of [[two[0], '/locales/zh.js'], [two[1], '/locales/en.js']]) {
    const asked = (await seat.asked()).filter((each) => !/^(data|blob|about):/.test(each));
    assert.deepEqual(asked.filter((each) => ![stage.box.origin, stage.box.origin.replace('https', 'wss')].includes(new URL(each).origin)), []);
    assert.deepEqual([...new Set(asked.map((each) => new URL(each).pathname).filter((each) => /^\/locales\/(en|zh)\.js$/.test(each)))], [words]);
  }
});

stage.scene('a whole call transfers at most 60 KiB of page', async (context) => {
  if (process.env.WEBRTC_BOX_PUBLIC) return context.skip('a page from a folder comes unpacked');
  const sizeOf = async (name) => {
    const headers = { 'accept-encoding': 'br' };
    const [reply] = await once(get(`${stage.box.origin}/${name}`, { ca: await readFile(stage.authority.ca), headers }), 'response');
    assert.deepEqual([reply.statusCode, reply.headers['content-encoding']], [200, 'br'], name);
    return (await buffer(reply)).length;
  };
  const html = await readFile(new URL('../../public/index.html', import.meta.url), 'utf8');
  const named = [...html.matchAll(/<link rel="(?:stylesheet|manifest)"[^>]* href="\/([^"]+)"/g)].map(([, name]) => name);
  // The program joins the other modules into these.
  const scripts = ['app/main.js', 'locales/language.js', 'lib/qr-code.js'];
  assert.equal(named.length, 3);
  // A browser loads one language: the larger one counts.
  const words = Math.max(...await Promise.all(['locales/en.js', 'locales/zh.js'].map(sizeOf)));
  const sizes = await Promise.all(['', ...named, ...scripts].map(sizeOf));
  const weight = sizes.reduce((sum, size) => sum + size, words);
  context.diagnostic(`figure: weight of the page: ${(weight / 1024).toFixed(1)} KiB (goal 60 KiB)`);
  assert.ok(weight <= 60 * 1024, `${weight} bytes`);
});

// The page comes unpacked from a folder here and packed from the program, about a third of it.
for (const [what, rtt, kbps, goal] of [['60 ms and 9 Mbit/s', 60, 9000, 1000], ['150 ms and 1.6 Mbit/s', 150, 1600, 3000]]) {
  stage.scene(`on a phone four times slower, with ${what}, the door opens in time`, async () => {
    const seat = await stage.person('chromium', { size: { width: 390, height: 844 } });
    await seat.slow({ times: 4, rtt, kbps });
    await seat.open(stage.room());
    const usable = await until('the door', () => seat.look(`() => performance.getEntriesByName('door')[0]?.startTime`));
    figure(`door usable on a slow phone with ${what}`, usable, goal);
  });
}
