// Page lifecycle: what a call needs when its page is hidden, left, reloaded, or shown again by Back and Forward.

import { isReloadOrBack } from '../signaling/resume-token.js';

/**
 * @import { Media } from '../media/media.js'
 * @import { Session } from './session.js'
 */

const LEFT_AT_KEY = 'webrtc-box.left-at';

export class PageLifecycle {
  #session;
  #media;
  #storage;
  #visibilityChanged;

  /**
   * @param {object} parts
   * @param {Session} parts.session
   * @param {Media} parts.media
   * @param {Pick<Storage, 'getItem' | 'setItem'>} parts.storage of this tab
   * @param {() => void} parts.visibilityChanged
   */
  constructor({ session, media, storage, visibilityChanged }) {
    this.#session = session;
    this.#media = media;
    this.#storage = storage;
    this.#visibilityChanged = visibilityChanged;
  }

  /** Follows the events of the page. */
  watch() {
    addEventListener('online', () => this.#session.checkConnection(true));
    addEventListener('pagehide', () => {
      this.#storage.setItem(LEFT_AT_KEY, String(Date.now()));
      this.#session.pageClosing();
    });
    addEventListener('pageshow', ({ persisted }) => this.#shown(persisted));
    document.addEventListener('visibilitychange', () => {
      this.#visibilityChanged();
      if (document.visibilityState !== 'visible') return;
      this.#session.checkConnection();
      this.#media.pageVisible();
    });
  }

  /** Whether the page was reloaded, or opened with Back or Forward, soon after it was left: a call then rejoins at once. */
  isResumed() {
    return this.#isSoonAfter(navigationType());
  }

  /** Only during a call: with such a listener some browsers keep no page for Back and Forward. @param {boolean} asks */
  askBeforeUnload(asks) {
    if (asks) addEventListener('beforeunload', preventUnload);
    else removeEventListener('beforeunload', preventUnload);
  }

  /** A page from the back/forward cache has lost its connections. @param {boolean} persisted */
  #shown(persisted) {
    const isUsed = ['knocking', 'waiting', 'call'].includes(this.#session.state.screen);
    if (persisted && isUsed && !this.#isSoonAfter('back_forward')) return this.#session.leave();
    this.#session.checkConnection(persisted);
    if (persisted) this.#media.pageVisible();
  }

  /** @param {string | undefined} navigation its type */
  #isSoonAfter(navigation) {
    return isReloadOrBack(navigation, this.#storage.getItem(LEFT_AT_KEY), Date.now());
  }
}

/** Undefined where the browser does not support it. */
function navigationType() {
  try {
    return /** @type {PerformanceNavigationTiming} */ (performance.getEntriesByType('navigation')[0]).type;
  } catch {
    return undefined;
  }
}

/** A question before a call is closed by mistake. @param {BeforeUnloadEvent} event */
function preventUnload(event) {
  event.preventDefault();
  event.returnValue = '';
}
