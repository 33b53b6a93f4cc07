// One participant: a browser with one page. Drives the page (open, click, press), waits for its states, and reads its
// statistics.
//
// It knows the page by element ids and data attributes only. Every method takes and returns plain JSON, so that another
// process can call it (tests/nat/rpc-server.mjs).

import { launch } from './browsers.mjs';
import { installInstrumentation, readStats, startFrameTiming } from './instrumentation.mjs';
import { delay, waitFor } from './wait.mjs';

const CLOSE_TIMEOUT_MS = 10_000;
const LOAD = { waitUntil: 'domcontentloaded', timeout: 30_000 };

/** Starts a browser (`options` as in `launch`) with one participant. */
export async function launchParticipant(kind, options) {
  return createParticipant(await launch(kind, options), options);
}

/** Opens one empty page of `options.size` in this browser, without cookies, storage and cache of earlier pages unless
 *  `options.home` keeps them. */
export async function createParticipant(browser, options) {
  const context = options.home ? browser.defaultBrowserContext() : await browser.createBrowserContext();
  const [messages, requested] = [[], []];
  let page = await instrument(await context.newPage());

  async function instrument(tab) {
    await tab.evaluateOnNewDocument(installInstrumentation);
    if (options.size) await setViewport(tab, options.size);
    tab.on('console', (message) => messages.push(`${message.type()}: ${message.text()}`));
    tab.on('request', (request) => requested.push(request.url()));
    // The question before a call is closed, at a reload or another page.
    tab.on('dialog', (dialog) => {
      messages.push(`dialog: ${dialog.type()}`);
      dialog.accept().catch(() => {});
    });
    tab.on('pageerror', (error) => messages.push(`uncaught: ${error.message}`));
    return tab;
  }

  /** @type {import('puppeteer-core').CDPSession | null} Chromium only. */
  let devtools = null;
  const send = async (method, parameters) => {
    devtools ??= await page.createCDPSession();
    return devtools.send(method, parameters);
  };
  const dataset = (id, name) => page.evaluate((elementId, key) => document.getElementById(elementId)?.dataset[key] ?? null, id, name);
  const state = () => dataset('status', 'state');

  const participant = {
    // --- the browser ------------------------------------------------------------------------------------------

    async open(url) {
      await page.goto(url, LOAD);
    },
    async reload() {
      await page.reload(LOAD);
    },
    async goBack() {
      await page.goBack(LOAD);
    },
    /** Closes the tab after opening an empty one in the same browser, which the other methods drive from then on. */
    async replaceTab() {
      const previous = page;
      page = await instrument(await context.newPage());
      devtools = null;
      await previous.close();
    },
    /** Ends the browser, after ten seconds by force. */
    async close() {
      const kill = setTimeout(() => browser.process()?.kill('SIGKILL'), CLOSE_TIMEOUT_MS);
      await browser.close().finally(() => clearTimeout(kill));
    },
    /** Closes the page and its storage; the browser can be used again if this returns true. */
    closeContext: async () => browser.connected && Promise.race([
      context.close().then(() => browser.connected, () => false),
      delay(CLOSE_TIMEOUT_MS, false, { ref: false }),
    ]),
    /** Whether the browser runs a script within this time. */
    isResponsive: (timeoutMs) => Promise.race([page.evaluate('true').catch(() => false), delay(timeoutMs, false)]),

    /** Stops every process of the browser, as when the machine sleeps, until `resume`. */
    async suspend() {
      process.kill(-browser.process().pid, 'SIGSTOP');
    },
    async resume() {
      process.kill(-browser.process().pid, 'SIGCONT');
    },
    /** Freezes the page, as phones do with one in the background, or resumes it. Chromium only. */
    async setFrozen(frozen) {
      await send('Page.setWebLifecycleState', { state: frozen ? 'frozen' : 'active' });
    },
    /** Sets the browser offline or online. Chromium only. */
    setOffline: (offline) => page.setOfflineMode(offline),
    /** Emulates a slower device, and a slower network where `rttMs` is given: CPU slowdown factor, round trip in ms, rate
     *  in kbit/s. Chromium only. */
    async throttle({ cpuFactor, rttMs, kbps }) {
      await send('Emulation.setCPUThrottlingRate', { rate: cpuFactor });
      if (rttMs === undefined) return;
      await send('Network.enable');
      const throughput = (kbps * 1000) / 8;
      await send('Network.emulateNetworkConditions', { offline: false, latency: rttMs, downloadThroughput: throughput, uploadThroughput: throughput });
    },
    /** Fails every request for this file of the page from now on, whatever its version. */
    async blockPath(path) {
      await page.setRequestInterception(true);
      page.removeAllListeners('request');
      page.on('request', (request) => (new URL(request.url()).pathname.replace(/^\/v-[\da-f]{12}/, '') === path ? request.abort() : request.continue()));
    },
    /** Whether pages may run scripts, from the next load on. */
    setJavaScriptEnabled: (enabled) => page.setJavaScriptEnabled(enabled),
    /** Allows notifications without a question. Chromium only. */
    allowNotifications: (origin) => context.overridePermissions(origin, ['notifications']),
    setViewport: (width, height) => setViewport(page, { width, height }),
    /** The preferred color scheme: `light` or `dark`. */
    setColorScheme: (value) => page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value }]),
    /** Emulates CSS media features by name. Chromium only. */
    async emulateMedia(features) {
      await send('Emulation.setEmulatedMedia', { features: Object.entries(features).map(([name, value]) => ({ name, value })) });
    },

    /** Opens this page again in the same browser with a copy of its session storage, as a duplicated tab. */
    async duplicate() {
      const popup = new Promise((resolve) => { page.once('popup', resolve); });
      await page.evaluate(() => { globalThis.open(location.href); });
      const copy = await popup;
      copy.setDefaultTimeout(15_000);
      return {
        join: async () => {
          const button = await copy.waitForSelector('#btnJoin:not([disabled])', { visible: true });
          await button.evaluate((element) => element.click());
        },
        /** Waits until this JavaScript expression is true in the copy. */
        waitForCondition: (description, expression, timeoutMs) => waitFor(description, () => copy.evaluate(expression), timeoutMs),
        close: () => copy.close(),
      };
    },

    // --- scripts ----------------------------------------------------------------------------------------------

    /** Calls a function given as text in the page, e.g. `() => document.title`, and returns its result. */
    evaluate: (text) => page.evaluate(`(${text})()`),
    /** Runs a script in the page regardless of its content security policy; returns its last value. */
    runScript: (text) => page.evaluate(text),
    /** Runs a function given as text before the page's own scripts, from the next load on. */
    addInitScript: (text) => page.evaluateOnNewDocument(`(${text})()`),

    // --- input ------------------------------------------------------------------------------------------------

    press: (key) => page.keyboard.press(key),
    /** Presses a key while another one, such as `Control`, is held. */
    async pressWith(modifier, key) {
      await page.keyboard.down(modifier);
      await page.keyboard.press(key);
      await page.keyboard.up(modifier);
    },
    type: (text) => page.keyboard.type(text),
    /** Moves the pointer a little, which shows controls that were hidden. */
    async movePointer() {
      await page.mouse.move(300, 300);
      await page.mouse.move(340, 320);
    },
    async click(selector) {
      await participant.movePointer();
      await page.waitForSelector(selector, { visible: true, timeout: 15_000 });
      await page.click(selector);
    },
    doubleClick: (x, y) => page.mouse.click(x, y, { count: 2 }),
    /** A touch at this position. */
    tap: (x, y) => page.touchscreen.tap(x, y),
    /** A click at this position without moving the pointer there first. Chromium only. */
    async clickAt(x, y) {
      for (const type of ['mousePressed', 'mouseReleased']) await send('Input.dispatchMouseEvent', { type, x, y, button: 'left', clickCount: 1 });
    },
    /** Waits for the lobby and clicks join. */
    async join() {
      await participant.waitForState('preview', 30_000);
      await participant.click('#btnJoin');
    },
    leave: () => participant.click('#btnLeave'),

    // --- what the page shows ----------------------------------------------------------------------------------

    state,
    screenshot: (file) => page.screenshot({ path: file }).then(() => file),
    /** Console messages as `type: text`, uncaught errors as `uncaught: message`, questions of the browser as `dialog: type`. */
    consoleMessages: async () => messages,
    /** Every address that the page has requested. */
    requestedUrls: async () => requested,
    /** The accessible names of all elements with this role. */
    accessibleNames: async (role) => {
      const names = [];
      const visit = (node) => {
        if (node.role === role) names.push(node.name);
        for (const child of node.children ?? []) visit(child);
      };
      visit(await page.accessibility.snapshot({ interestingOnly: false }));
      return names;
    },

    /** Waits until this JavaScript expression is true in the page. */
    waitForCondition: (description, expression, timeoutMs) => waitFor(description, () => page.evaluate(expression), timeoutMs),

    /** Waits until the page is in one of these states; returns it. */
    waitForState(states, timeoutMs = 30_000) {
      const expected = [states].flat();
      return waitFor(`state ${expected.join(' or ')}`, async () => {
        const current = await state();
        return expected.includes(current) ? current : Promise.reject(new Error(`state ${current}`));
      }, timeoutMs);
    },

    /** Waits until the lobby shows that this many participants are in the room. */
    waitForOccupancy: (count) => waitFor(`${count} in the room`, async () => (await dataset('inside', 'seats')) === String(count)),

    /** Waits for the error with this code; returns its text. */
    waitForError(code, timeoutMs = 15_000) {
      return waitFor(`error ${code}`, async () => {
        const shown = await page.evaluate(() => ({ code: document.getElementById('error')?.dataset.code, text: document.getElementById('error')?.textContent }));
        if (shown.code !== code) throw new Error(`error ${shown.code}`);
        return shown.text;
      }, timeoutMs);
    },
    waitForNoError: () => waitFor('no error', () => page.evaluate(() => document.getElementById('error').hidden)),

    /** Waits until the status line contains this text. */
    waitForStatusText: (text) => waitFor(`the status "${text}"`, () => page.evaluate((part) => document.getElementById('status').textContent.includes(part), text)),

    /** Waits until the status line has contained `first` and has then been `then`, since the time `since` of Date.now;
     *  returns the milliseconds from `since` to `then`. */
    waitForStatusSequence(first, then, since, timeoutMs = 30_000) {
      return waitFor(`the status "${first}", then "${then}"`, () => page.evaluate((part, whole, from) => {
        const texts = globalThis.__observed.statusTexts.filter(({ at }) => at >= from);
        const start = texts.findIndex(({ text }) => text.includes(part));
        const found = start < 0 ? undefined : texts.slice(start).find(({ text }) => text === whole);
        return found && Math.max(1, found.at - from);
      }, first, then, since), timeoutMs);
    },

    // --- the call ---------------------------------------------------------------------------------------------

    /** Statistics of the current connection, see `readStats`. */
    stats: () => page.evaluate(readStats),

    /** The media path that the page displays, as soon as it displays one. */
    displayedPath: () => waitFor('the page to display a path', () => dataset('path', 'path'), 10_000),
    waitForPath: (path) => waitFor(`the path ${path}`, async () => (await dataset('path', 'path')) === path, 20_000),
    /** Waits until the page displays the relay path that the browser's statistics report; returns it. Firefox uses the
     *  candidate pair that answers first, on a busy machine sometimes one over TCP or TLS. */
    waitForRelayPath: () => waitFor('the page to display the relay path in use', async () => {
      const { local } = await page.evaluate(readStats);
      const used = `relay-${local.type === 'relay' ? local.relayProtocol : 'udp'}`;
      const displayed = await dataset('path', 'path');
      return displayed === used ? used : Promise.reject(new Error(`displayed ${displayed}, used ${used}`));
    }, 20_000),

    /** Times the frames of the remote video from now on. */
    startFrameTiming: () => page.evaluate(startFrameTiming),
    /** Since then: the longest gap between frames, the time `sinceLast` since the last one (both ms), and their count. */
    frameTiming: () => page.evaluate(() => {
      const { longest, last, count } = globalThis.__frames;
      const sinceLast = performance.now() - last;
      return { longest: Math.max(longest, sinceLast), sinceLast, count };
    }),

    /** Waits until the modules of a call are loaded, as they are before a person clicks on join. */
    waitForCallModules: () => waitFor('the modules of a call', () => page.evaluate(() => 'webrtcBox' in globalThis)),
    /** Milliseconds from the click on join to the connection, and to the first decoded remote frame. */
    joinTime: (timeoutMs = 30_000) => waitFor('the first remote frame', () => page.evaluate(() => {
      const { joinClickedAt, connectedAt, firstFrameAt, steps } = globalThis.__observed;
      if (firstFrameAt === null) return null;
      const since = (at) => at - joinClickedAt;
      const named = Object.entries(steps).map(([step, at]) => [step, since(at)]);
      return { connected: since(connectedAt), firstFrame: since(firstFrameAt), steps: Object.fromEntries(named) };
    }), timeoutMs),

    /** Waits until video and audio keep arriving; returns the statistics at that time. */
    async expectMedia(timeoutMs = 45_000) {
      await participant.waitForState('connected', timeoutMs);
      let before = null;
      return waitFor('video and audio to keep arriving', async () => {
        const now = await participant.stats();
        if (!now) throw new Error('no connection');
        before ??= now;
        // The counters of a new connection (after a reload or a replacement) start at zero.
        if (now.frames < before.frames) before = now;
        const arriving = now.frames >= before.frames + 10 && now.audioEmitted > before.audioEmitted && now.audioEnergy > before.audioEnergy;
        if (!arriving) throw new Error(JSON.stringify({ before, now }));
        return now;
      }, timeoutMs);
    },
  };
  return participant;
}

/** Sets the viewport. Firefox ESR sets it too, but does not know the command for the orientation that puppeteer sends along. */
async function setViewport(page, size) {
  await page.setViewport(size).catch((error) => {
    if (!/setScreenOrientationOverride/.test(error.message)) throw error;
  });
  await waitFor('the viewport', () => page.evaluate((width) => innerWidth === width, size.width), 10_000);
}
