// Attention: tells the person that somebody joined, left, knocks or wrote, also while the page is in the background: a short
// message, a sound, the title and icon of the tab, and a notification of the system where it is allowed.
//
// It loads late: nothing of it is needed before the first waiting screen or an open device dialog.

import { Chime } from '../media/chime.js';

/**
 * @import { Clock, Timer } from '../lib/clock.js'
 * @import { Translate } from '../locales/index.js'
 * @import { Model } from './view.js'
 *
 * @typedef {'joined' | 'left' | 'knock' | 'message'} AttentionKind
 * @typedef {{screen: Model['session']['screen'], name: string, unread: number, knocks: string[]}} Seen `knocks`: also earlier ones
 *
 * @typedef {object} AttentionParts
 * @property {Document} document
 * @property {Translate} translate
 * @property {Clock} clock
 * @property {Pick<Storage, 'getItem' | 'setItem'>} storage of this browser
 * @property {typeof Notification} [notifications] missing in some browsers
 * @property {Pick<Chime, 'play'>} [chime]
 */

const SOUNDS_KEY = 'webrtc-box.sounds';
const NOTIFY_KEY = 'webrtc-box.notify';
const NOTICE_MS = 4000;
/** More than may wait at a time. The server names the same ones again after each reconnection. */
const MAX_TOLD_KNOCKS = 40;
const ICON = 'icon.svg';
const ICON_WITH_DOT = 'icon-dot.svg';

export class Attention {
  chime;
  /** Output device in use; '' is the default one. */
  speaker = '';
  #parts;
  #notice;
  /** @type {Timer | undefined} */
  #noticeTimer;
  /** @type {Seen | null} */
  #seen = null;
  /** @type {Notification | null} */
  #notification = null;
  /** Some browsers have the interface, but show notifications only for a service worker. */
  #cannotNotify = false;
  /** @type {(() => void)[]} */
  #redraws = [];

  /** @param {AttentionParts} parts */
  constructor({ chime = browserChime(), ...parts }) {
    const { document } = parts;
    this.chime = chime;
    this.#parts = parts;
    this.#notice = document.querySelector('#notice');
    document.addEventListener('visibilitychange', () => { if (!document.hidden) this.#clear(); });
    document.defaultView?.addEventListener('pagehide', () => this.#notification?.close());
    const place = document.querySelector('#notifyPlace');
    // Of blocked notifications only the settings tell: nothing is wrong with waiting.
    if (place && this.#mayNotify && parts.notifications?.permission !== 'denied') place.append(this.#notifySwitch());
  }

  /** Raises what has changed since the last model. @param {Model} model */
  show({ session, chat, media }) {
    const { translate } = this.#parts;
    const speakers = media.devices.filter(({ kind }) => kind === 'audiooutput');
    this.speaker = speakers.some(({ deviceId }) => deviceId === media.selected.audiooutput) ? media.selected.audiooutput : '';
    const before = this.#seen;
    const { screen, ended } = session;
    const knocks = [...new Set([...before?.knocks ?? [], ...session.knocks.map(({ id }) => id)])].slice(-MAX_TOLD_KNOCKS);
    const seen = this.#seen = { screen, name: session.peerName || translate('presence.other'), unread: chat.unread(), knocks };
    if (!before) return;
    for (const { id, name } of session.knocks) {
      if (!before.knocks.includes(id)) this.raise('knock', translate(name ? 'named.knocks' : 'knocks.somebody', { name }));
    }
    if (screen === 'call' && before.screen === 'waiting') this.raise('joined', translate('presence.joined', { name: seen.name }));
    // The host, who opened the room with the key, was not let in by anybody.
    if (before.screen === 'knocking' && !session.triedKey && (screen === 'call' || screen === 'waiting')) this.raise('joined', translate('presence.admitted'));
    if (before.screen === 'call') {
      const { name } = before;
      if (screen === 'waiting' || ended?.reason === 'theyLeft' || ended?.reason === 'theyClosed') this.raise('left', translate('presence.left', { name }));
      else if (ended?.reason === 'theyDropped') this.raise('left', translate('presence.dropped', { name }));
    }
    if (seen.unread > before.unread) this.raise('message', translate('presence.messages', { n: seen.unread }));
  }

  /** @param {AttentionKind} kind @param {string} text */
  raise(kind, text) {
    if (kind !== 'message' && this.sounds) this.chime.play(kind, this.speaker);
    // The screen at the end of a call says it itself.
    if ((kind === 'joined' || kind === 'left') && this.#seen?.screen !== 'ended') this.#showNotice(text);
    if (this.#parts.document.hidden) this.#markTab(text);
  }

  get sounds() {
    return this.#parts.storage.getItem(SOUNDS_KEY) !== 'off';
  }

  /** The switches of sounds and notifications, for the device dialog. @returns {HTMLElement[]} */
  createSwitches() {
    const { document, translate, storage } = this.#parts;
    const sounds = createSwitch({ document, translate, key: 'settings.sounds', toggled: (on) => storage.setItem(SOUNDS_KEY, on ? 'on' : 'off') });
    sounds.setOn(this.sounds);
    return [sounds.element, ...(this.#mayNotify ? [this.#notifySwitch()] : [])];
  }

  get #mayNotify() {
    return typeof this.#parts.notifications === 'function';
  }

  get #notifies() {
    return this.#parts.notifications?.permission === 'granted' && this.#parts.storage.getItem(NOTIFY_KEY) === 'on' && !this.#cannotNotify;
  }

  /** A switch that asks for permission when it is switched on, and says why where notifications are blocked. */
  #notifySwitch() {
    const { document, translate } = this.#parts;
    const box = document.createElement('div');
    const { element, input, setOn } = createSwitch({ document, translate, key: 'settings.notify', toggled: (on) => { this.#setNotify(on); } });
    const blocked = createText(document, translate, 'p', 'settings.notifyBlocked');
    blocked.className = 'small';
    box.append(element, blocked);
    const redraw = () => {
      const isDenied = this.#parts.notifications?.permission === 'denied';
      box.hidden = this.#cannotNotify;
      setOn(this.#notifies);
      input.disabled = isDenied;
      blocked.hidden = !isDenied;
    };
    this.#redraws.push(redraw);
    redraw();
    return box;
  }

  /** @param {boolean} on */
  async #setNotify(on) {
    const { notifications, storage } = this.#parts;
    storage.setItem(NOTIFY_KEY, on ? 'on' : 'off');
    try {
      if (on && notifications?.permission === 'default') await notifications.requestPermission();
    } catch {
      this.#cannotNotify = true;
    }
    for (const redraw of this.#redraws) redraw();
  }

  /** @param {string} text */
  #showNotice(text) {
    const { clock } = this.#parts;
    if (!this.#notice) return;
    this.#notice.textContent = text;
    clock.cancel(this.#noticeTimer);
    this.#noticeTimer = clock.after(() => { if (this.#notice) this.#notice.textContent = ''; }, NOTICE_MS);
  }

  /** @param {string} text */
  #markTab(text) {
    const { document, translate } = this.#parts;
    document.title = `● ${text} — ${translate('title')}`;
    this.#setIcon(ICON_WITH_DOT);
    if (this.#notifies) this.#notify(text);
  }

  /** @param {string} text */
  #notify(text) {
    const { document, translate, notifications } = this.#parts;
    if (!notifications) return;
    this.#notification?.close();
    try {
      // The sound is that of the page, or none.
      const notification = this.#notification = new notifications(text, { body: translate('title'), icon: new URL('../icon-192.png', import.meta.url).href, silent: true });
      notification.onclick = () => {
        document.defaultView?.focus();
        notification.close();
      };
    } catch {
      this.#cannotNotify = true;
      for (const redraw of this.#redraws) redraw();
    }
  }

  /** The page is visible again. */
  #clear() {
    this.#notification?.close();
    this.#notification = null;
    this.#parts.document.title = this.#parts.translate('title');
    this.#setIcon(ICON);
    // The permission may have been changed in the settings of the browser.
    for (const redraw of this.#redraws) redraw();
  }

  /** @param {string} file beside the icon in the HTML */
  #setIcon(file) {
    const link = this.#parts.document.querySelector('link[rel=icon]');
    const before = link?.getAttribute('href') ?? '';
    const href = before.replace(/[^/]*$/, file);
    if (href !== before) link?.setAttribute('href', href);
  }
}

/**
 * A labelled check box.
 * @param {object} parts
 * @param {Document} parts.document
 * @param {Translate} parts.translate
 * @param {string} parts.key of its text
 * @param {(on: boolean) => void} parts.toggled by the person
 */
export function createSwitch({ document, translate, key, toggled }) {
  const element = document.createElement('label');
  const input = document.createElement('input');
  element.className = 'switch';
  input.type = 'checkbox';
  input.dataset.switch = key.replace('settings.', '');
  input.addEventListener('change', () => toggled(input.checked));
  element.append(input, createText(document, translate, 'span', key));
  return { element, input, setOn: (/** @type {boolean} */ on) => { input.checked = on; } };
}

/**
 * An element with a text that follows the language of the page.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {Document} document
 * @param {Translate} translate
 * @param {T} name
 * @param {string} key
 */
export function createText(document, translate, name, key) {
  const element = document.createElement(name);
  element.dataset.word = key;
  element.textContent = translate(key);
  return element;
}

function browserChime() {
  return new Chime({
    newContext: () => new AudioContext(), newAudio: () => new Audio(),
    // Where the browser does not say, the chime is tried.
    mayPlay: () => navigator.userActivation?.hasBeenActive ?? true,
  });
}
