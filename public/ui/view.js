// View: draws the model of the page and calls the actions of the person. Only ui/ and connection-test/view.js use elements.
//
// It has no state of its own except what is only on the screen: which panel is open, which picture is small, what has faded.
// It creates the lobby; what only a call needs is in call-view.js, which loads after the lobby is shown.

import { isMac } from '../lib/browser.js';
import { nextTask } from '../lib/clock.js';
import { ControlButtons, drawIcons } from './controls.js';
import { find, loadStyle, preventDrops, removeStartFailure, setAttribute, setFlag, translateElements } from './elements.js';
import { LanguageMenu } from './language-menu.js';
import { Lobby } from './lobby.js';
import { Messages } from './messages.js';
import { SelfView } from './self-view.js';
import { makeChordOf } from './shortcuts.js';
import { Videos } from './videos.js';

/**
 * @import { SessionState, Status } from '../app/status.js'
 * @import { TransferCode } from '../app/transfer.js'
 * @import { Chat } from '../call/chat.js'
 * @import { Path, Quality, Sample } from '../call/selected-path.js'
 * @import { Clock } from '../lib/clock.js'
 * @import { CallPage, CallView } from './call-view.js'
 * @import { Translate } from '../locales/index.js'
 * @import { Language } from '../locales/languages.js'
 * @import { Media, MediaState } from '../media/media.js'
 * @import { Control } from './controls.js'
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
 * @property {() => void} partFailed what a button needs could not be loaded
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

/** Colors of the browser around the page, as `--background` in style.css. */
const THEME = { call: '#000', dark: '#14181a', light: '#f3f4f1' };
/** What the lobby shows. */
const LOBBY = ['.stage', '#error', '#door'];

export class View {
  #document;
  #translate;
  #actions;
  #controls;
  #lobby;
  #messages;
  #videos;
  #languageMenu;
  /** @type {Model | null} */
  #model = null;
  /** Null until it is complete. @type {CallView | null} */
  #callView = null;
  /** @type {Promise<CallView> | null} */
  #preparing = null;
  /** @type {CallPage} */
  #page;

  /** @param {ViewParts} parts */
  constructor({ document, navigator, translate, language, languages, clock, storage, actions }) {
    this.#document = document;
    this.#translate = translate;
    this.#actions = actions;
    const press = (/** @type {Control} */ control) => this.#press(control);
    const redraw = () => { if (this.#model) this.show(this.#model); };
    const controls = this.#controls = new ControlButtons({ document, translate, press, chordOf: makeChordOf(isMac(navigator)) });
    this.#languageMenu = new LanguageMenu({ document, languages, choose: actions.chooseLanguage });
    preventDrops(document);
    this.#showLanguage(language);
    this.#lobby = new Lobby({ document, translate, actions });
    this.#messages = new Messages({ document, navigator, translate, clock, actions });
    const videos = this.#videos = new Videos({ document, translate });
    const selfView = new SelfView({
      stage: find(document, '#stage'), self: find(document, '#selfFrame'), remote: find(document, '#remoteFrame'), handle: find(document, '#swap'),
      changed: redraw,
    });
    this.#page = {
      document, navigator, translate, language, clock, storage, actions, controls, videos, selfView, press, redraw, model: () => this.#model,
    };
  }

  /** Creates what the lobby shows, in short tasks. */
  async prepareLobby() {
    this.#controls.create('bar');
    for (const part of LOBBY) {
      await nextTask();
      drawIcons(find(this.#document, part));
      translateElements(find(this.#document, part), this.#translate);
    }
  }

  /** Loads and creates what only a call needs, in short tasks. After a failure the next call of this tries again. */
  prepareCall() {
    this.#preparing ??= this.#createCallView().catch((error) => {
      this.#preparing = null;
      throw error;
    });
    return this.#preparing;
  }

  /** @param {Model} model */
  show(model) {
    const { session, media } = model;
    const { body } = this.#document;
    const isNewScreen = body.dataset.screen !== session.screen;
    this.#model = model;
    body.dataset.screen = session.screen;
    // What was announced on one screen is not found on the next one.
    if (isNewScreen) for (const region of this.#document.querySelectorAll('.announcer')) region.replaceChildren();
    const decoded = model.samples.at(-1)?.frames ?? 0;
    const seesScreen = this.#videos.showRemote(session.remote, decoded, session.connectedAt !== null && session.connectionState !== 'none');
    this.#messages.show(model, seesScreen);
    this.#lobby.show(model);
    this.#videos.showLocal(media);
    this.#callView?.show(model);
    setFlag(body, 'data-muted', !media.mic || media.interrupted.mic);
    this.#controls.show(this.#context(model));
    if (isNewScreen) this.#enter(session.screen);
    removeStartFailure(this.#document);
  }

  /** The lobby does without the style of a call. After a failure the next call of this tries again. */
  loadCallStyle() {
    loadStyle(this.#document, new URL('../assets/call.css', import.meta.url).href);
  }

  /** Shows the words that `translate` has now, which are of this language. @param {Language} language */
  setLanguage(language) {
    this.#showLanguage(language);
    translateElements(this.#document, this.#translate);
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

  async #createCallView() {
    const { CallView } = await import('./call-view.js');
    const creation = CallView.create(this.#page);
    for (;;) {
      await nextTask();
      const { done, value } = creation.next();
      if (done && value) return (this.#callView = value);
    }
  }

  /** @param {Language} language */
  #showLanguage(language) {
    const { documentElement } = this.#document;
    if (documentElement.lang !== language.tag) documentElement.lang = language.tag;
    this.#document.title = this.#translate('title');
    this.#languageMenu.show(language);
    const manifest = find(this.#document, '#manifest');
    // A page served from a folder has only the manifests that are listed in its HTML.
    const suffix = manifest.dataset.manifests?.split(' ').includes(language.code) ? `.${language.code}` : '';
    setAttribute(manifest, 'href', (manifest.getAttribute('href') ?? '').replace(/[^/]*$/, `manifest${suffix}.webmanifest`));
  }

  /** The buttons that the lobby shows do without the panels. @param {Model} model */
  #context(model) {
    const callView = this.#callView;
    return {
      model, actions: this.#actions,
      get panels() {
        if (!callView) throw new Error('the panels are not loaded');
        return callView.panels;
      },
    };
  }

  /** @param {Control} control */
  #press(control) {
    // The devices of the lobby do without what is still loading.
    if (!this.#callView && !control.chord) return void this.prepareCall().then(() => this.#press(control), this.#actions.partFailed);
    if (!this.#model) return;
    const context = this.#context(this.#model);
    // They announce it.
    if (control.chord) this.#callView?.loadSigns();
    if (control.visible?.(context) ?? true) control.act(context);
  }

  /** @param {SessionState['screen']} screen */
  #enter(screen) {
    this.#callView?.enter(screen);
    this.#focus(screen).catch((error) => console.debug('focus', error));
    for (const meta of this.#document.querySelectorAll('meta[name=theme-color]')) {
      const scheme = meta.getAttribute('media')?.includes('dark') ? THEME.dark : THEME.light;
      meta.setAttribute('content', screen === 'call' ? THEME.call : scheme);
    }
  }

  /**
   * Screen readers read what has the focus, and so announce the new screen. In a task of its own: a focus needs the layout.
   * @param {SessionState['screen']} screen
   */
  async #focus(screen) {
    await nextTask();
    const { session } = this.#model ?? {};
    if (session?.screen !== screen) return;
    const focused = { waiting: '#btnCopy', knocking: '#knockingTitle', ended: '#afterTitle', lobby: session.needsKey ? '#key' : '#doorTitle', call: '#stage' }[screen];
    find(this.#document, focused).focus({ preventScroll: screen === 'waiting' || screen === 'call' });
  }
}
