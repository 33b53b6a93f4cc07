// Starts Debian's Chromium or Firefox ESR with fake media devices and a temporary profile that trusts the tests'
// certificate authority.

import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import puppeteer from 'puppeteer-core';
import { trustInChromium, trustInFirefox } from './certificate-authority.mjs';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const FIREFOX = process.env.FIREFOX ?? '/usr/bin/firefox-esr';

/** Chromium makes no network requests of its own and runs the page under test without a sandbox. The resolver rules also apply to
 *  literal addresses where it connects over TCP: the connection test uses the server's. */
const CHROMIUM_FLAGS = ['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-sync',
  '--disable-quic', '--no-first-run', '--disable-gpu', '--disable-dev-shm-usage', '--mute-audio',
  '--disable-background-timer-throttling', '--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE localhost., EXCLUDE *.test, EXCLUDE *.test., EXCLUDE 45.0.0.10, EXCLUDE [2a05:d000::10], EXCLUDE 2a05:d000::10'];

/** Access to camera and microphone: granted with fake devices, refused, or no device attached. */
const CHROMIUM_DEVICES = {
  fake: ['--use-fake-device-for-media-stream=fps=10', '--use-fake-ui-for-media-stream'],
  refused: ['--use-fake-device-for-media-stream', '--deny-permission-prompts'],
  none: ['--use-fake-ui-for-media-stream'],
};

const FIREFOX_DEVICES = {
  fake: { 'media.navigator.streams.fake': true, 'media.navigator.permission.disabled': true },
  refused: { 'media.navigator.streams.fake': true, 'permissions.default.camera': 2, 'permissions.default.microphone': 2 },
  none: { 'media.navigator.permission.disabled': true },
};

const FIREFOX_PREFS = {
  // Few and small frames: browsers encode and render in software here, and a call would take all of two processors.
  'layout.frame_rate': 10,
  'media.navigator.video.default_fps': 10,
  'media.navigator.video.default_width': 320,
  'media.navigator.video.default_height': 240,
  // Firefox's own button over videos intercepts clicks, at a position that depends on the window size.
  'media.videocontrols.picture-in-picture.video-toggle.enabled': false,
  'app.update.enabled': false,
  'browser.region.update.enabled': false,
  'browser.safebrowsing.downloads.enabled': false,
  'browser.safebrowsing.malware.enabled': false,
  'browser.safebrowsing.phishing.enabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'extensions.systemAddon.update.enabled': false,
  'media.autoplay.default': 0,
  'media.gmp-manager.updateEnabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'network.dns.disablePrefetch': true,
  'network.prefetch-next': false,
  'services.settings.server': 'data:,',
};

/**
 * Starts one browser. `devices`: `fake`, `refused` or `none`; `cameraVideo`: an MJPEG file that Chromium plays as its
 * camera; `flags`: more flags for Chromium; `prefs`: more preferences for Firefox; `home`: a folder whose profile is used and
 * kept. Another profile is deleted when the browser exits.
 */
export async function launch(kind, { dir, ca, devices = 'fake', cameraVideo, flags = [], prefs = {}, home: kept }) {
  await mkdir(dir, { recursive: true });
  const home = kept ?? (await mkdtemp(path.join(dir, `${kind}-`)));
  const profile = path.join(home, 'profile');
  await mkdir(profile, { recursive: true });
  const common = {
    userDataDir: profile, headless: true, protocolTimeout: 60_000,
    env: { ...process.env, HOME: home, XDG_CONFIG_HOME: `${home}/.config`, XDG_CACHE_HOME: `${home}/.cache`, LANGUAGE: 'en', LANG: 'C.UTF-8' },
  };
  const browser = await (kind === 'firefox' ? firefox() : chromium());
  if (!kept) browser.process().once('exit', () => rm(home, { recursive: true, force: true, maxRetries: 9 }).catch(() => {}));
  return browser;

  async function firefox() {
    await trustInFirefox(profile, ca);
    const extraPrefsFirefox = { ...FIREFOX_PREFS, ...FIREFOX_DEVICES[devices], ...prefs };
    return puppeteer.launch({ ...common, browser: 'firefox', executablePath: FIREFOX, extraPrefsFirefox });
  }

  async function chromium() {
    await trustInChromium(home, ca);
    const args = [...CHROMIUM_FLAGS, ...CHROMIUM_DEVICES[devices], ...(cameraVideo ? [`--use-file-for-fake-video-capture=${cameraVideo}`] : []), ...flags];
    return puppeteer.launch({ ...common, executablePath: CHROMIUM, pipe: true, args });
  }
}

/**
 * Browsers that are used again with the same options. `acquire` takes the options of `launch`; `release` returns a browser
 * whose pages are closed.
 */
export function createBrowserPool() {
  /** @type {Map<string, import('puppeteer-core').Browser[]>} */
  const idle = new Map();
  const keys = new WeakMap();

  return {
    async acquire(kind, options) {
      const { devices, cameraVideo, flags, prefs } = options;
      const key = JSON.stringify([kind, devices, cameraVideo, flags, prefs]);
      const browser = idle.get(key)?.pop() ?? (await launch(kind, options));
      keys.set(browser, key);
      return browser;
    },
    release(browser) {
      const key = keys.get(browser);
      if (!idle.has(key)) idle.set(key, []);
      idle.get(key).push(browser);
    },
    close: () => Promise.all([...idle.values()].flat().map((browser) => browser.close().catch(() => {}))),
  };
}
