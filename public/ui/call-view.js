// Call view: what a call needs beside the pictures: its panels, the settings, the waiting and the last screen, and the parts
// that load when they are needed.
//
// The lobby is shown before any of this exists: `CallView.create` makes it step by step, since the whole of it takes a slow
// phone a quarter of a second.

import { endKey } from '../app/status.js';
import { browserNames } from '../lib/browser.js';
import { formatDuration } from '../locales/index.js';
import { AutoHide } from './auto-hide.js';
import { ChatPanel } from './chat-panel.js';
import { drawIcons } from './controls.js';
import { DeviceMenu } from './device-menu.js';
import { announce, announceInDialog, createElement, find, setAttribute, setHidden, setLabel, setText, translateElements } from './elements.js';
import { drawCode, InviteLink } from './invite-link.js';
import { makeChordOf, Shortcuts } from './shortcuts.js';
import { StatsPanel } from './stats-panel.js';

/**
 * @import { SessionState } from '../app/status.js'
 * @import { Clock } from '../lib/clock.js'
 * @import { Translate } from '../locales/index.js'
 * @import { Language } from '../locales/languages.js'
 * @import { Attention } from './attention.js'
 * @import { Control, ControlButtons, Panels } from './controls.js'
 * @import { SelfView } from './self-view.js'
 * @import { Videos } from './videos.js'
 * @import { Actions, Model } from './view.js'
 *
 * @typedef {object} CallPage what the parts of a call share with the lobby
 * @property {Document} document
 * @property {Navigator} navigator
 * @property {Translate} translate
 * @property {Language} language in use
 * @property {Clock} clock
 * @property {Pick<Storage, 'getItem' | 'setItem'>} storage of this browser
 * @property {Actions} actions
 * @property {ControlButtons} controls
 * @property {Videos} videos
 * @property {SelfView} selfView
 * @property {() => Model | null} model the one that is shown
 * @property {() => void} redraw
 * @property {(control: Control) => void} press
 *
 * @typedef {object} CallParts
 * @property {StatsPanel} stats
 * @property {ChatPanel} chat
 * @property {Shortcuts} shortcuts
 * @property {InviteLink} inviteLink
 * @property {AutoHide} autoHide
 */

/** A part that could not be loaded is not requested again before this. */
const LATE_RETRY_MS = 5000;

export class CallView {
  /** @type {Panels} */
  panels;
  #page;
  #parts;
  #settings;
  /** Creates the signs of a call. @type {() => Promise<{show: (model: Model) => void}>} */
  #createSigns;
  /** @type {() => Promise<Attention>} */
  #createAttention;
  /** @type {Promise<Attention> | null} */
  #loadingAttention = null;
  /** @type {Attention | null} */
  #attention = null;
  /** Parts that are loaded when they are needed; null while one loads. @type {Map<string, {show: (model: Model) => void} | null>} */
  #lateParts = new Map();

  /** Creates the parts, one in each step. @param {CallPage} page @returns {Generator<void, CallView>} */
  static *create(page) {
    const { document, navigator, translate, language, clock, storage, controls, press, redraw } = page;
    const browser = browserNames(navigator);
    /** @type {CallView | null} */
    let view = null;
    const stats = new StatsPanel({ document, translate });
    yield;
    const shortcuts = new Shortcuts({ document, storage, isMac: browser.includes('mac'), press, escape: () => view?.closePanels(), changed: redraw });
    yield;
    const autoHide = new AutoHide({ body: document.body, stage: find(document, '#stage'), clock, mayHide: () => view?.mayHideControls() ?? false });
    const chat = new ChatPanel({
      document, translate, clock, unreadAdded: () => autoHide.show(), isAndroid: browser.includes('android'),
      // Readers of other languages get the fallback language, with times as their browser writes them.
      locale: language.fallback ? navigator.language : language.tag,
    });
    yield;
    const inviteLink = new InviteLink({ document, translate, clock, navigator });
    yield;
    drawIcons(document);
    yield;
    // The lobby has its words, some of which say what is going on.
    for (const part of document.querySelectorAll('.screen:not(#door), .side, dialog')) {
      translateElements(part, translate);
      yield;
    }
    // Once they are there, each drawing needs the whole view.
    controls.create('menu');
    controls.create('picture');
    drawIcons(find(document, '#settings'));
    view = new CallView(page, { stats, chat, shortcuts, inviteLink, autoHide });
    return view;
  }

  /** @param {CallPage} page @param {CallParts} parts */
  constructor(page, parts) {
    this.#page = page;
    this.#parts = parts;
    const { document, navigator, translate, clock, storage, actions, videos } = page;
    this.#settings = new DeviceMenu({
      document, navigator, translate, actions, remote: videos.remote, loadAttention: () => this.#loadAttention(),
    });
    this.#createAttention = async () => {
      const { Attention } = await import('./attention.js');
      return new Attention({ document, translate, clock, storage, notifications: globalThis.Notification });
    };
    const micKeys = makeChordOf(browserNames(navigator).includes('mac'))('D')?.shown ?? '';
    this.#createSigns = async () => new (await import('./call-signs.js')).CallSigns({
      document, navigator, translate, clock, actions, videos, micKeys,
      reveal: () => parts.autoHide.show(), page: { announce, find, formatDuration, setAttribute, setText },
    });
    this.panels = this.#createPanels();
    this.#listen();
  }

  /** @param {Model} model */
  show(model) {
    const { document, translate, selfView } = this.#page;
    const { session, media } = model;
    const { stats, inviteLink, chat } = this.#parts;
    find(document, '#remoteFrame').classList.toggle('dimmed', model.dimmed);
    this.#showLate(model);
    this.#showEnded(model);
    stats.show(model);
    find(document, '#theirMic').hidden = model.status !== 'connected' || session.remote.mic;
    if (session.screen === 'waiting') inviteLink.show(model.link, model.invited);
    selfView.show(session.screen === 'call' && session.connectedAt !== null);
    this.#settings.show(media);
    chat.show(model.chat, session.peerName);
    this.#attention?.show(model);
    setLabel(find(document, '#swap'), translate(selfView.isHidden ? 'self.show' : 'self.swap'));
  }

  /** @param {SessionState['screen']} screen */
  enter(screen) {
    this.#parts.autoHide.show();
    for (const dialog of this.#page.document.querySelectorAll('dialog')) dialog.close();
    if (screen !== 'call') {
      this.closePanels();
      this.#page.videos.restore();
    }
    if (screen !== 'lobby') this.#loadAttention().catch((error) => console.debug('attention', error));
  }

  /** Loads what announces the press of a device's shortcut. */
  loadSigns() {
    this.#late('signs', this.#createSigns);
  }

  mayHideControls() {
    const model = this.#page.model();
    return model?.status === 'connected' && !this.#settings.isOpen && !this.#parts.stats.isOpen && !model.error;
  }

  closePanels() {
    this.#parts.chat.close();
    this.#parts.stats.setOpen(false);
  }

  #listen() {
    const { document, actions } = this.#page;
    const listen = (/** @type {string} */ id, /** @type {() => void} */ action) => find(document, id).addEventListener('click', action);
    listen('#btnAgain', actions.joinAgain);
    listen('#btnAfterNew', actions.newRoom);
    listen('#btnCancel', actions.leave);
    listen('#path', this.panels.toggleStats);
    listen('#btnNumbersClose', this.panels.toggleStats);
    listen('#trust', () => {
      this.panels.toggleStats();
      find(document, '#trustPart').scrollIntoView({ block: 'nearest' });
    });
  }

  /** @returns {Panels} */
  #createPanels() {
    /** Runs with the settings closed. @param {() => void} action */
    const fromSettings = (action) => () => {
      if (this.#settings.isOpen) this.#settings.close();
      action();
    };
    const { videos, selfView, actions, redraw } = this.#page;
    return {
      videos, selfView,
      toggleFit: fromSettings(() => videos.setWhole(!videos.isWhole)),
      toggleSelf: fromSettings(() => selfView.setHidden(!selfView.isHidden)),
      moveSelf: fromSettings(() => selfView.moveOn()),
      openSettings: () => {
        redraw();
        this.#settings.open();
      },
      openShortcuts: fromSettings(() => this.#parts.shortcuts.open()),
      toggleChat: () => this.#toggleChat(),
      toggleStats: fromSettings(() => this.#toggleStats()),
      toggleFullscreen: fromSettings(() => videos.toggleFullscreen()),
      openTransfer: fromSettings(() => actions.requestTransfer()),
      togglePictureInPicture: fromSettings(() => videos.togglePictureInPicture()),
    };
  }

  async #loadAttention() {
    const model = this.#page.model();
    // The session changes its state in place.
    const before = model && { ...model, session: { ...model.session } };
    this.#loadingAttention ??= this.#createAttention();
    try {
      const attention = await this.#loadingAttention;
      if (this.#attention) return attention;
      this.#attention = attention;
      this.#showSince(before, attention);
      return attention;
    } catch (error) {
      this.#loadingAttention = null;
      throw error;
    }
  }

  /** Loads what only a call needs, or few calls, when they need it. @param {Model} model */
  #showLate(model) {
    const { document, translate, actions } = this.#page;
    const { session: { knocks, screen }, transfer } = model;
    const announcer = find(document, '#announcer');
    const parts = { document, translate, actions, createElement, setText, announce: (/** @type {string} */ text) => announce(announcer, text) };
    if (screen === 'waiting' || screen === 'call') this.loadSigns();
    if (screen === 'call') this.#late('verification', async () => new (await import('./verification-panel.js')).VerificationPanel({
      ...parts, page: { announceInDialog, createElement, find, setHidden, setLabel, setText },
      open: () => { if (!this.#parts.stats.isOpen) this.#toggleStats(); },
    }));
    if (screen === 'knocking') this.#late('knocking', async () => new (await import('./knocking-screen.js')).KnockingScreen(parts));
    if (knocks.length) this.#late('knocks', async () => new (await import('./knocks.js')).Knocks({ ...parts, reveal: () => this.#parts.autoHide.show() }));
    if (transfer) this.#late('transfer', async () => new (await import('./transfer-dialog.js')).TransferDialog({ ...parts, drawCode }), actions.transferFailed);
    for (const part of this.#lateParts.values()) part?.show(model);
  }

  /**
   * @param {string} name
   * @param {() => Promise<{show: (model: Model) => void}>} load
   * @param {() => void} [failed]
   */
  #late(name, load, failed) {
    if (this.#lateParts.has(name)) return;
    this.#lateParts.set(name, null);
    const model = this.#page.model();
    // Devices change their state in place.
    const before = model && { ...model, media: { ...model.media } };
    load().then((part) => {
      this.#lateParts.set(name, part);
      this.#showSince(before, part);
    }, () => {
      this.#page.clock.after(() => this.#lateParts.delete(name), LATE_RETRY_MS);
      failed?.();
    });
  }

  /** What has happened while a part was loading. @param {Model | null} before @param {{show: (model: Model) => void}} part */
  #showSince(before, part) {
    for (const model of [before, this.#page.model()]) if (model) part.show(model);
  }

  /** There is room for one panel at the side: opening one closes the other. */
  #toggleStats() {
    const { stats, autoHide } = this.#parts;
    const open = !stats.isOpen;
    this.closePanels();
    if (open) stats.setOpen(true);
    autoHide.show();
  }

  #toggleChat() {
    const { chat, autoHide } = this.#parts;
    const open = !chat.isOpen;
    this.closePanels();
    if (open) chat.open();
    this.#page.redraw();
    autoHide.show();
  }

  /** @param {Model} model */
  #showEnded({ session: { ended } }) {
    if (!ended) return;
    const { document, translate } = this.#page;
    const isElsewhere = ended.reason === 'moved' || ended.reason === 'replaced';
    const title = isElsewhere ? translate('after.titleMoved') : ended.seconds === null ? translate('after.title')
      : translate('after.titleAndTime', { time: formatDuration(ended.seconds) });
    setText(find(document, '#afterTitle'), title);
    setText(find(document, '#afterWhy'), translate(endKey(ended), { name: ended.name }));
    // The device that has the call can give it back; another tab has no say.
    const again = find(document, '#btnAgain');
    again.hidden = ended.reason === 'moved';
    setText(find(again, 'span'), translate(ended.reason === 'replaced' ? 'after.takeBack' : 'after.again'));
  }
}
