// Messages: the status, the error with its buttons, and the note over a shared screen that stands still.

import { browserNames } from '../lib/browser.js';
import { errorKey, joinSentences } from '../locales/index.js';
import { announce, announceInDialog, find, setHidden, setText } from './elements.js';

/**
 * @import { Clock, Timer } from '../lib/clock.js'
 * @import { Translate } from '../locales/index.js'
 * @import { Actions, Model } from './view.js'
 */

/** Errors that stay true until they are solved, and so have no button to close them. */
const PERMANENT = ['no-path', 'unreachable', 'no-server-yet'];
/** A status that lasts less is not announced: on a weak network there are many short interruptions. */
const STATUS_ANNOUNCED_MS = 1000;

export class Messages {
  #document;
  #translate;
  #clock;
  #navigator;
  #status;
  #screenNote;
  #announcer;
  #wasStill = false;
  /** The status to announce next, and the one announced last. */
  #nextStatus = '';
  #announcedStatus = '';
  /** @type {Timer | undefined} */
  #statusTimer;
  #error;
  #errorText;
  #retry;
  #dismiss;

  /** @param {{document: Document, navigator: Navigator, translate: Translate, clock: Clock, actions: Actions}} parts */
  constructor({ document, navigator, translate, clock, actions }) {
    this.#document = document;
    this.#translate = translate;
    this.#clock = clock;
    this.#navigator = navigator;
    this.#status = find(document, '#status');
    this.#screenNote = find(document, '#theirScreen');
    this.#announcer = find(document, '#announcer');
    this.#error = find(document, '#error');
    this.#errorText = find(document, '#errorText');
    this.#retry = find(document, '#btnRetry');
    this.#dismiss = find(document, '#btnDismiss');
    this.#retry.addEventListener('click', actions.retry);
    this.#dismiss.addEventListener('click', actions.dismissError);
  }

  /** @param {Model} model @param {boolean} seesScreen whether a shared screen is visible */
  show(model, seesScreen) {
    // During a short interruption the note and the space for it stay.
    const isStill = seesScreen && ['connected', 'reconnecting'].includes(model.status) && model.session.remote.weak;
    this.#showStatus(model, isStill);
    this.#showError(model);
  }

  /** @param {Model} model @param {boolean} isStill a shared screen is visible and stands still */
  #showStatus({ status, statusKey, session }, isStill) {
    this.#status.dataset.state = status;
    // A status of `connected` is shown only with something else to say.
    const isDetailed = status === 'connected' && statusKey !== 'status.connected';
    // Over a still screen both are shown in one place: a second line would cover the screen.
    this.#status.classList.toggle('detailed', isDetailed && !isStill);
    const text = this.#translate(statusKey, { name: session.peerName });
    setText(this.#status, text);
    // The headline, which has the focus, says the same.
    this.#announceStatus(statusKey === 'status.knocking' ? '' : text);
    const bothStill = statusKey === 'status.connected.weak' || (status === 'reconnecting' && session.outgoingVideo === 'paused');
    const keys = bothStill ? ['remote.both'] : [...(isDetailed ? [statusKey] : []), 'remote.still'];
    setText(this.#screenNote, isStill ? joinSentences(this.#translate, keys) : '');
    // The other part of the note is the status, which is announced.
    if (isStill && !this.#wasStill) announce(this.#announcer, this.#translate('remote.still'));
    this.#wasStill = isStill;
  }

  /** @param {string} text '' for none */
  #announceStatus(text) {
    if (text === this.#nextStatus) return;
    this.#nextStatus = text;
    this.#clock.cancel(this.#statusTimer);
    this.#statusTimer = this.#clock.after(() => {
      if (text && text !== this.#announcedStatus) announce(this.#announcer, text);
      this.#announcedStatus = text;
    }, STATUS_ANNOUNCED_MS);
  }

  /** @param {Model} model */
  #showError({ error, session, media, canRetry }) {
    setHidden(this.#error, error === null);
    this.#error.dataset.code = error ?? '';
    setHidden(this.#retry, !canRetry);
    setHidden(this.#dismiss, error !== null && PERMANENT.includes(error));
    if (error === null) return setText(this.#errorText, '');
    const key = error === 'key-required' && session.triedKey ? 'error.key-wrong' : errorKey(error, this.#translate, browserNames(this.#navigator));
    const alternative = `error.or.${error}`;
    const hasAlternative = session.screen === 'lobby' && this.#translate(alternative) !== alternative;
    const text = joinSentences(this.#translate, hasAlternative ? [key, alternative] : [key], { device: media.label });
    if (setText(this.#errorText, text)) announceInDialog(this.#document, text);
  }
}
