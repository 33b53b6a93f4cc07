// View: draws the model of the page and calls the actions of the person. Only ui/ and connection-test/view.js use elements.
//
// It has no state of its own except what is only on the screen: which panel is open, which picture is small, what has faded.

import { endKey } from '../app/status.js';
import { browserNames } from '../lib/browser.js';
import { formatDuration } from '../locales/index.js';
import { AutoHide } from './auto-hide.js';
import { ChatPanel } from './chat-panel.js';
import { ControlButtons, drawIcons } from './controls.js';
import { DeviceMenu } from './device-menu.js';
import { announce, announceInDialog, createElement, find, loadStyle, preventDrops, removeStartFailure, setAttribute, setFlag, setHidden, setLabel, setText, translatePage } from './elements.js';
import { drawCode, InviteLink } from './invite-link.js';
import { LanguageMenu } from './language-menu.js';
import { Lobby } from './lobby.js';
import { Messages } from './messages.js';
import { SelfView } from './self-view.js';
import { makeChordOf, Shortcuts } from './shortcuts.js';
import { StatsPanel } from './stats-panel.js';
import { Videos } from './videos.js';

/**
 * @import { SessionState, Status } from '../app/status.js'
 * @import { TransferCode } from '../app/transfer.js'
 * @import { Chat } from '../call/chat.js'
 * @import { Path, Quality, Sample } from '../call/selected-path.js'
 * @import { Clock } from '../lib/clock.js'
 * @import { Translate } from '../locales/index.js'
 * @import { Language } from '../locales/languages.js'
 * @import { Media, MediaState } from '../media/media.js'
 * @import { Attention } from './attention.js'
 * @import { Control, Panels } from './controls.js'
 *
 * @typedef {object} Model
 * @property {SessionState} session
 * @property {Status} status
 * @property {string} statusKey of its sentence, which may have the name of the other participant in it
 * @property {boolean} showsPath whether path and quality are true now
 * @property {boolean} dimmed the picture of the other participant stands still
 * @property {MediaState} media
 * @property {string | null} error code from the server, the call or the devices
 * @property {boolean} canRetry
 * @property {boolean} invited opened with a link to a room
 * @property {string} ownName as remembered by this browser; '' without one
 * @property {string} inviterName of the participant in the room of the lobby; '' where unknown
 * @property {boolean} continues the link moves a call to this device
 * @property {Chat} chat
 * @property {string} link to the room
 * @property {TransferCode | null} transfer the code that moves the call to another device, while it is shown
 * @property {Path | null} path
 * @property {boolean} udpBlocked
 * @property {Quality} quality of both directions
 * @property {Sample[]} samples
 * @property {'loss' | 'delay' | null} reason why the quality is not good
 * @property {number} seconds of this call
 *
 * @typedef {object} Actions
 * @property {(room: string, key: string, name?: string) => void} join `name`: ours, which may be ''; the remembered one without it
 * @property {() => void} roomTyped the text of the room field has changed
 * @property {() => void} leave
 * @property {() => void} joinAgain
 * @property {() => void} newRoom
 * @property {(key: string) => void} openRoom with the host key, while waiting in front of the room
 * @property {(knock: string, admit: boolean) => void} answerKnock
 * @property {() => void} requestTransfer asks for a code with which another device takes our place in the call
 * @property {() => void} closeTransfer
 * @property {() => void} transferFailed the dialog with the code could not be loaded
 * @property {() => void} retry
 * @property {() => void} dismissError
 * @property {(what: 'mic' | 'cam' | 'screen') => void} toggle
 * @property {Media} media
 * @property {(language: Language) => void} chooseLanguage
 * @property {() => void} chooseSpeaker in the browser's own dialog
 * @property {(open: boolean) => void} settingsToggled
 *
 * @typedef {object} ViewParts
 * @property {Document} document
 * @property {Navigator} navigator
 * @property {Translate} translate
 * @property {Language} language in use
 * @property {readonly Language[]} languages to choose from
 * @property {Clock} clock
 * @property {Pick<Storage, 'getItem' | 'setItem'>} storage of this browser
 * @property {Actions} actions
 */

/** A part that could not be loaded is not requested again before this. */
const LATE_RETRY_MS = 5000;
/** Colors of the browser around the page, as `--background` in style.css. */
const THEME = { call: '#000', dark: '#14181a', light: '#f3f4f1' };

export class View {
  #document;
  #translate;
  #clock;
  #actions;
  /** Creates the signs of a call. @type {() => Promise<{show: (model: Model) => void}>} */
  #createSigns;
  #controls;
  #lobby;
  #messages;
  #videos;
  #selfView;
  #settings;
  #inviteLink;
  #languageMenu;
  #stats;
  #chat;
  #shortcuts;
  #autoHide;
  /** @type {() => Promise<Attention>} */
  #createAttention;
  /** @type {Promise<Attention> | null} */
  #loadingAttention = null;
  /** @type {Attention | null} */
  #attention = null;
  /** @type {Panels} */
  #panels;
  /** Parts that are loaded when they are needed; null while one loads. @type {Map<string, {show: (model: Model) => void} | null>} */
  #lateParts = new Map();
  /** @type {Model | null} */
  #model = null;

  /** @param {ViewParts} parts */
  constructor({ document, navigator, translate, language, languages, clock, storage, actions }) {
    this.#document = document;
    this.#translate = translate;
    this.#clock = clock;
    this.#actions = actions;
    const press = (/** @type {Control} */ control) => this.#press(control);
    const isMac = browserNames(navigator).includes('mac');
    this.#controls = new ControlButtons({ document, translate, press, chordOf: makeChordOf(isMac) });
    this.#shortcuts = new Shortcuts({
      document, storage, isMac, press, escape: () => this.#closePanels(), changed: () => { if (this.#model) this.show(this.#model); },
    });
    this.#stats = new StatsPanel({ document, translate });
    this.#languageMenu = new LanguageMenu({ document, languages, choose: actions.chooseLanguage });
    preventDrops(document);
    drawIcons(document);
    this.setLanguage(language);
    this.#lobby = new Lobby({ document, translate, actions });
    this.#messages = new Messages({ document, navigator, translate, clock, actions });
    this.#videos = new Videos({ document, translate });
    const stage = find(document, '#stage');
    this.#selfView = new SelfView({
      stage, self: find(document, '#selfFrame'), remote: find(document, '#remoteFrame'), handle: find(document, '#swap'),
      changed: () => { if (this.#model) this.show(this.#model); },
    });
    this.#settings = new DeviceMenu({
      document, navigator, translate, actions, remote: this.#videos.remote, loadAttention: () => this.#loadAttention(),
    });
    this.#createAttention = async () => {
      const { Attention } = await import('./attention.js');
      return new Attention({ document, translate, clock, storage, notifications: globalThis.Notification });
    };
    this.#inviteLink = new InviteLink({ document, translate, clock, navigator });
    this.#chat = new ChatPanel({
      document, translate, clock, unreadAdded: () => this.#autoHide.show(), isAndroid: browserNames(navigator).includes('android'),
      // Readers of other languages get the fallback language, with times as their browser writes them.
      locale: language.fallback ? navigator.language : language.tag,
    });
    this.#autoHide = new AutoHide({ body: document.body, stage, clock, mayHide: () => this.#mayHideControls() });
    this.#createSigns = async () => new (await import('./call-signs.js')).CallSigns({
      document, navigator, translate, clock, actions, videos: this.#videos, micKeys: makeChordOf(isMac)('D')?.shown ?? '',
      reveal: () => this.#autoHide.show(), page: { announce, find, formatDuration, setAttribute, setText },
    });
    this.#panels = this.#createPanels();
    this.#listen();
  }

  /** @param {Model} model */
  show(model) {
    const { session, media } = model;
    const { body } = this.#document;
    const isNewScreen = body.dataset.screen !== session.screen;
    const inCall = session.connectedAt !== null;
    this.#model = model;
    body.dataset.screen = session.screen;
    // What was announced on one screen is not found on the next one.
    if (isNewScreen) for (const region of this.#document.querySelectorAll('.announcer')) region.replaceChildren();
    const decoded = model.samples.at(-1)?.frames ?? 0;
    const seesScreen = this.#videos.showRemote(session.remote, decoded, inCall && session.connectionState !== 'none');
    find(this.#document, '#remoteFrame').classList.toggle('dimmed', model.dimmed);
    this.#messages.show(model, seesScreen);
    this.#lobby.show(model);
    this.#showLate(model);
    this.#showEnded(model);
    this.#stats.show(model);
    find(this.#document, '#theirMic').hidden = model.status !== 'connected' || session.remote.mic;
    if (session.screen === 'waiting') this.#inviteLink.show(model.link, model.invited);
    this.#videos.showLocal(media);
    this.#selfView.show(session.screen === 'call' && inCall);
    this.#settings.show(media);
    this.#chat.show(model.chat, session.peerName);
    this.#attention?.show(model);
    setLabel(find(this.#document, '#swap'), this.#translate(this.#selfView.isHidden ? 'self.show' : 'self.swap'));
    setFlag(body, 'data-muted', !media.mic || media.interrupted.mic);
    this.#showControls();
    if (isNewScreen) this.#enter(session.screen);
    removeStartFailure(this.#document);
  }

  /** The lobby does without the style of a call. After a failure the next call of this tries again. */
  loadCallStyle() {
    loadStyle(this.#document, new URL('../assets/call.css', import.meta.url).href);
  }

  /** Shows the words that `translate` has now, which are of this language. @param {Language} language */
  setLanguage(language) {
    this.#document.documentElement.lang = language.tag;
    translatePage(this.#document, this.#translate);
    this.#languageMenu.show(language);
    const manifest = find(this.#document, '#manifest');
    // A page served from a folder has only the manifests that are listed in its HTML.
    const suffix = manifest.dataset.manifests?.split(' ').includes(language.code) ? `.${language.code}` : '';
    setAttribute(manifest, 'href', (manifest.getAttribute('href') ?? '').replace(/[^/]*$/, `manifest${suffix}.webmanifest`));
    if (this.#model) this.show(this.#model);
  }

  /** The level of the microphone. @param {number} level 0 to 1 */
  showLevel(level) {
    for (const meter of this.#document.querySelectorAll('.level')) {
      find(meter, 'i').style.transform = `scaleX(${level.toFixed(2)})`;
      setAttribute(meter, 'aria-valuenow', String(Math.round(level * 4) * 25));
    }
  }

  /** The text of the room field. */
  get room() {
    return this.#lobby.room;
  }

  set room(name) {
    this.#lobby.room = name;
  }

  async #loadAttention() {
    // The session changes its state in place.
    const before = this.#model && { ...this.#model, session: { ...this.#model.session } };
    this.#loadingAttention ??= this.#createAttention();
    try {
      const attention = await this.#loadingAttention;
      if (this.#attention) return attention;
      this.#attention = attention;
      // What has happened while it was loading.
      for (const model of [before, this.#model]) if (model) attention.show(model);
      return attention;
    } catch (error) {
      this.#loadingAttention = null;
      throw error;
    }
  }

  #listen() {
    const listen = (/** @type {string} */ id, /** @type {() => void} */ action) => find(this.#document, id).addEventListener('click', action);
    listen('#btnAgain', this.#actions.joinAgain);
    listen('#btnAfterNew', this.#actions.newRoom);
    listen('#btnCancel', this.#actions.leave);
    listen('#path', this.#panels.toggleStats);
    listen('#btnNumbersClose', this.#panels.toggleStats);
    listen('#trust', () => {
      this.#panels.toggleStats();
      find(this.#document, '#trustPart').scrollIntoView({ block: 'nearest' });
    });
  }

  /** @returns {Panels} */
  #createPanels() {
    /** Runs with the settings closed. @param {() => void} action */
    const fromSettings = (action) => () => {
      if (this.#settings.isOpen) this.#settings.close();
      action();
    };
    const [videos, selfView] = [this.#videos, this.#selfView];
    return {
      videos, selfView,
      toggleFit: fromSettings(() => videos.setWhole(!videos.isWhole)),
      toggleSelf: fromSettings(() => selfView.setHidden(!selfView.isHidden)),
      moveSelf: fromSettings(() => selfView.moveOn()),
      openSettings: () => {
        this.#showControls();
        this.#settings.open();
      },
      openShortcuts: fromSettings(() => this.#shortcuts.open()),
      toggleChat: () => this.#toggleChat(),
      toggleStats: fromSettings(() => this.#toggleStats()),
      toggleFullscreen: fromSettings(() => videos.toggleFullscreen()),
      openTransfer: fromSettings(() => this.#actions.requestTransfer()),
      togglePictureInPicture: fromSettings(() => videos.togglePictureInPicture()),
    };
  }

  /** @param {Control} control */
  #press(control) {
    if (!this.#model) return;
    const context = { model: this.#model, actions: this.#actions, panels: this.#panels };
    // They announce it.
    if (control.chord) this.#late('signs', this.#createSigns);
    if (control.visible?.(context) ?? true) control.act(context);
  }

  #showControls() {
    if (this.#model) this.#controls.show({ model: this.#model, actions: this.#actions, panels: this.#panels });
  }

  /** Loads what only a call needs, or few calls, when they need it. @param {Model} model */
  #showLate(model) {
    const { session: { knocks, screen }, transfer } = model;
    const announcer = find(this.#document, '#announcer');
    const parts = { document: this.#document, translate: this.#translate, actions: this.#actions, createElement, setText, announce: (/** @type {string} */ text) => announce(announcer, text) };
    if (screen === 'waiting' || screen === 'call') this.#late('signs', this.#createSigns);
    if (screen === 'call') this.#late('verification', async () => new (await import('./verification-panel.js')).VerificationPanel({
      ...parts, page: { announceInDialog, createElement, find, setHidden, setLabel, setText }, open: () => { if (!this.#stats.isOpen) this.#toggleStats(); },
    }));
    if (screen === 'knocking') this.#late('knocking', async () => new (await import('./knocking-screen.js')).KnockingScreen(parts));
    if (knocks.length) this.#late('knocks', async () => new (await import('./knocks.js')).Knocks({ ...parts, reveal: () => this.#autoHide.show() }));
    if (transfer) this.#late('transfer', async () => new (await import('./transfer-dialog.js')).TransferDialog({ ...parts, drawCode }), this.#actions.transferFailed);
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
    // Devices change their state in place.
    const before = this.#model && { ...this.#model, media: { ...this.#model.media } };
    load().then((part) => {
      this.#lateParts.set(name, part);
      // What has happened while it was loading.
      for (const model of [before, this.#model]) if (model) part.show(model);
    }, () => {
      this.#clock.after(() => this.#lateParts.delete(name), LATE_RETRY_MS);
      failed?.();
    });
  }

  #mayHideControls() {
    return this.#model?.status === 'connected' && !this.#settings.isOpen && !this.#stats.isOpen && !this.#model.error;
  }

  /** There is room for one panel at the side: opening one closes the other. */
  #toggleStats() {
    const open = !this.#stats.isOpen;
    this.#closePanels();
    if (open) this.#stats.setOpen(true);
    this.#autoHide.show();
  }

  #toggleChat() {
    const open = !this.#chat.isOpen;
    this.#closePanels();
    if (open) this.#chat.open();
    this.#showControls();
    this.#autoHide.show();
  }

  #closePanels() {
    this.#chat.close();
    this.#stats.setOpen(false);
  }

  /** @param {SessionState['screen']} screen */
  #enter(screen) {
    this.#autoHide.show();
    for (const dialog of this.#document.querySelectorAll('dialog')) dialog.close();
    if (screen !== 'call') this.#closePanels();
    if (screen !== 'lobby') this.#loadAttention().catch((error) => console.debug('attention', error));
    // Screen readers read what has the focus, and so announce the new screen.
    const focused = { waiting: '#btnCopy', knocking: '#knockingTitle', ended: '#afterTitle', lobby: this.#model?.session.needsKey ? '#key' : '#doorTitle', call: '#stage' }[screen];
    find(this.#document, focused).focus({ preventScroll: screen === 'waiting' || screen === 'call' });
    for (const meta of this.#document.querySelectorAll('meta[name=theme-color]')) {
      const scheme = meta.getAttribute('media')?.includes('dark') ? THEME.dark : THEME.light;
      meta.setAttribute('content', screen === 'call' ? THEME.call : scheme);
    }
    if (screen !== 'call') this.#videos.restore();
  }

  /** @param {Model} model */
  #showEnded({ session: { ended } }) {
    if (!ended) return;
    const isElsewhere = ended.reason === 'moved' || ended.reason === 'replaced';
    const title = isElsewhere ? this.#translate('after.titleMoved') : ended.seconds === null ? this.#translate('after.title')
      : this.#translate('after.titleAndTime', { time: formatDuration(ended.seconds) });
    setText(find(this.#document, '#afterTitle'), title);
    setText(find(this.#document, '#afterWhy'), this.#translate(endKey(ended), { name: ended.name }));
    // The device that has the call can give it back; another tab has no say.
    const again = find(this.#document, '#btnAgain');
    again.hidden = ended.reason === 'moved';
    setText(find(again, 'span'), this.#translate(ended.reason === 'replaced' ? 'after.takeBack' : 'after.again'));
  }
}
