// One person in front of one browser: opens the page, clicks, sees states, and is asked what arrives.
//
// It knows the page by the element ids of its contract only, and every method takes and gives plain JSON,
// so that a seat can be driven from another process (see tests/nat/home.mjs).

import { launch } from './browsers.mjs';
import { until } from './work.mjs';
import { report, timeFrames, watch } from './watch.mjs';

/** Opens a browser (`options` as in `launch`) with one empty page. */
export async function makeSeat(kind, options) {
  const browser = await launch(kind, options);
  const [said, asked] = [[], []];
  const [first] = await browser.pages();
  let page = await watched(first ?? (await browser.newPage()));

  async function watched(tab) {
    await tab.evaluateOnNewDocument(watch);
    if (options.size) await tab.setViewport(options.size);
    tab.on('console', (message) => said.push(`${message.type()}: ${message.text()}`));
    tab.on('request', (request) => asked.push(request.url()));
    tab.on('pageerror', (error) => said.push(`uncaught: ${error.message}`));
    return tab;
  }

  let devtools = null;
  const read = (id, name) => page.evaluate((i, n) => document.getElementById(i)?.dataset[n] ?? null, id, name);
  const state = () => read('status', 'state');

  const seat = {
    state,
    /** Which way the page says the call goes; it may take a moment to know. */
    pathTaken: () => until('the page to name the path', () => read('path', 'path'), 10_000),
    /** Waits until the path is this one. */
    settles: (way) => until(`the path to be ${way}`, async () => (await read('path', 'path')) === way, 20_000),
    /** Waits until the page names the way that the browser says it goes, through the relay. Firefox takes the pair
     *  that answers first, on a busy machine now and then one by TCP or TLS. */
    settlesOnItsRelay: () => until('the page to name the way through the relay', async () => {
      const { local } = await page.evaluate(report);
      const way = `relay-${local.type === 'relay' ? local.relayProtocol : 'udp'}`;
      const told = await read('path', 'path');
      return told === way ? way : Promise.reject(new Error(`told ${told}, goes ${way}`));
    }, 20_000),
    stats: () => page.evaluate(report),
    said: async () => said,
    /** Looks in the page with a function given as text, e.g. `() => document.title`. */
    look: (text) => page.evaluate(`(${text})()`),
    screenshot: (file) => page.screenshot({ path: file }).then(() => file),
    resize: (width, height) => page.setViewport({ width, height }),
    /** Whether the browser runs a script at all within this time. */
    answers: (ms) => Promise.race([
      page.evaluate('true').catch(() => false),
      new Promise((done) => { setTimeout(done, ms, false); }),
    ]),
    /** Ends the browser, by force where it does not end by itself. */
    async close() {
      const force = setTimeout(() => browser.process()?.kill('SIGKILL'), 10_000);
      await browser.close().finally(() => clearTimeout(force));
    },

    async open(url) {
      await page.goto(url, { waitUntil: 'domcontentloaded', timeout: 30_000 });
    },

    async reload() {
      await page.reload({ waitUntil: 'domcontentloaded', timeout: 30_000 });
    },

    /** The tab is closed, and another one of the same browser is where things go on. */
    async anotherTab() {
      const before = page;
      page = await watched(await browser.newPage());
      await before.close();
    },

    /** The system's theme: `light` or `dark`. */
    theme: (value) => page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value }]),
    /** What the system asks of pages, by the names of media features. Chromium only. */
    async media(features) {
      devtools ??= await page.createCDPSession();
      await devtools.send('Emulation.setEmulatedMedia', { features: Object.entries(features).map(([name, value]) => ({ name, value })) });
    },
    /** A key by its name, on whatever has the focus. */
    press: (key) => page.keyboard.press(key),
    type: (text) => page.keyboard.type(text),
    /** Runs a text of scripts in the page, which no policy of the page forbids, and gives its last value. */
    run: (text) => page.evaluate(text),
    /** Runs a function given as text before the page's own scripts, from the next time it is opened. */
    before: (text) => page.evaluateOnNewDocument(`(${text})()`),
    /** Every address the page has asked for. */
    asked: async () => asked,
    /** From here on a phone: so many times slower, on a network of this round trip and rate. Chromium only. */
    async slow({ times, rtt, kbps }) {
      const devtools = await page.createCDPSession();
      await devtools.send('Emulation.setCPUThrottlingRate', { rate: times });
      await devtools.send('Network.enable');
      const rate = (kbps * 1000) / 8;
      await devtools.send('Network.emulateNetworkConditions', { offline: false, latency: rtt, downloadThroughput: rate, uploadThroughput: rate });
    },

    /** Waits until the page is in one of these states. */
    sees(states, ms = 30_000) {
      const wanted = [states].flat();
      return until(`state ${wanted.join(' or ')}`, async () => {
        const now = await state();
        return wanted.includes(now) ? now : Promise.reject(new Error(`state ${now}`));
      }, ms);
    },

    /** The door says how many are inside. */
    findsInside: (seats) => until(`${seats} inside`, async () => (await read('inside', 'seats')) === String(seats)),

    /** Waits for an error of this code and gives its sentence. */
    errs(code, ms = 15_000) {
      return until(`error ${code}`, async () => {
        const seen = await page.evaluate(() => ({ code: document.getElementById('error')?.dataset.code, text: document.getElementById('error')?.textContent }));
        if (seen.code !== code) throw new Error(`error ${seen.code}`);
        return seen.text;
      }, ms);
    },

    /** Waits for the door to be ready and clicks join. */
    async join() {
      await seat.sees('preview', 30_000);
      await seat.click('#btnJoin');
    },

    leave: () => seat.click('#btnLeave'),

    /** Waits until the status has said first the one, then the other, since the moment `since` (of Date.now); gives
     *  the milliseconds from then to the other. */
    hasSaid(first, then, since, ms = 30_000) {
      return until(`"${first}", then "${then}"`, () => page.evaluate((one, other, from) => {
        const words = globalThis.__seen.words.filter(({ at }) => at >= from);
        const begin = words.findIndex(({ said }) => said.includes(one));
        const found = begin < 0 ? undefined : words.slice(begin).find(({ said }) => said === other);
        return found && Math.max(1, found.at - from);
      }, first, then, since), ms);
    },

    /** Waits until the status says this now. */
    saysNow: (part) => until(`the words "${part}"`, () => page.evaluate((one) => document.getElementById('status').textContent.includes(one), part)),

    /** Begins to time the frames that are shown of the other person, or begins anew. */
    timeFrames: () => page.evaluate(timeFrames),
    /** The longest time between two of them since, the time `now` since the last, and how many came. */
    frameTimes: () => page.evaluate(() => {
      const { longest, last, count } = globalThis.__frames;
      const now = performance.now() - last;
      return { longest: Math.max(longest, now), now, count };
    }),

    /** The machine sleeps: nothing of the browser runs until it wakes. */
    async sleep() {
      process.kill(-browser.process().pid, 'SIGSTOP');
    },
    async wake() {
      process.kill(-browser.process().pid, 'SIGCONT');
    },

    /** The browser stops the page (as phones do with one in the background), or lets it go on. Chromium only. */
    async freeze(frozen) {
      devtools ??= await page.createCDPSession();
      await devtools.send('Page.setWebLifecycleState', { state: frozen ? 'frozen' : 'active' });
    },
    /** The browser believes that it has no network, or has one again, and tells the page. Chromium only. */
    offline: (yes) => page.setOfflineMode(yes),

    /** Opens this page once more in the same browser, with a copy of its session storage, as a duplicated tab. */
    async duplicate() {
      const opened = new Promise((resolve) => { page.once('popup', resolve); });
      await page.evaluate(() => { globalThis.open(location.href); });
      const copy = await opened;
      copy.setDefaultTimeout(15_000);
      return {
        join: async () => {
          const button = await copy.waitForSelector('#btnJoin:not([disabled])', { visible: true });
          await button.evaluate((one) => one.click());
        },
        errorCode: () => copy.evaluate(() => document.getElementById('error').dataset.code),
        close: () => copy.close(),
      };
    },

    /** Moves the pointer a little, which brings back what had stepped aside. */
    async touch() {
      await page.mouse.move(300, 300);
      await page.mouse.move(340, 320);
    },

    /** No file with this name reaches the page from here on. */
    async without(name) {
      await page.setRequestInterception(true);
      page.removeAllListeners('request');
      page.on('request', (request) => (new URL(request.url()).pathname === name ? request.abort() : request.continue()));
    },
    /** Whether the page may run scripts, from the next time it is opened. */
    scripts: (yes) => page.setJavaScriptEnabled(yes),
    /** A finger on this place, and the mouse's button over it without moving there first, as after a rest. */
    tap: (x, y) => page.touchscreen.tap(x, y),
    async clickAt(x, y) {
      devtools ??= await page.createCDPSession();
      for (const type of ['mousePressed', 'mouseReleased']) await devtools.send('Input.dispatchMouseEvent', { type, x, y, button: 'left', clickCount: 1 });
    },
    /** The names of everything of this role that whoever listens is told of. */
    namesFor: async (role) => {
      const names = [];
      const walk = (node) => {
        if (node.role === role) names.push(node.name);
        for (const child of node.children ?? []) walk(child);
      };
      walk(await page.accessibility.snapshot({ interestingOnly: false }));
      return names;
    },

    /** A person's click. */
    async click(selector) {
      await seat.touch();
      await page.waitForSelector(selector, { visible: true, timeout: 15_000 });
      await page.click(selector);
    },

    /** Milliseconds from the click on join to the first remote frame decoded. */
    async firstFrame(ms = 30_000) {
      return until('the first remote frame', () => page.evaluate(() => {
        const { clickedAt, firstFrameAt } = globalThis.__seen;
        return firstFrameAt === null ? null : Math.max(1, firstFrameAt - clickedAt);
      }), ms);
    },

    /** Waits until picture and sound keep arriving; gives the statistics of then. */
    async hearsAndSees(ms = 45_000) {
      await seat.sees('connected', ms);
      let before = null;
      return until('picture and sound to keep arriving', async () => {
        const now = await seat.stats();
        if (!now) throw new Error('no connection');
        before ??= now;
        // A new connection (after a reload or a restart) counts from nothing again.
        if (now.frames < before.frames) before = now;
        const flows = now.frames >= before.frames + 10 && now.audioEmitted > before.audioEmitted && now.audioEnergy > before.audioEnergy;
        if (!flows) throw new Error(JSON.stringify({ before, now }));
        return now;
      }, ms);
    },
  };
  return seat;
}
