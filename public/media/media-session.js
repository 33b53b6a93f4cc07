// Media session: the buttons of headsets, keyboards, lock screens and the browser's own windows act on the call, and show
// what it sends.
//
// Browsers know different actions and throw for others, so each one is set on its own.

/**
 * @typedef {object} MediaSessionActions
 * @property {() => void} toggleMic
 * @property {() => void} toggleCam
 * @property {() => void} hangUp
 * @property {() => void} enterPictureInPicture the page is hidden and the browser offers a small window
 *
 * @typedef {{title: string, mic: boolean, cam: boolean}} MediaSessionState
 */

export class CallMediaSession {
  #session;
  #newMetadata;
  #handlers;
  #active = false;
  /** What was last set, by name. @type {Partial<MediaSessionState>} */
  #shown = {};

  /**
   * @param {object} parts
   * @param {MediaSession | undefined} parts.session of the navigator
   * @param {(init: MediaMetadataInit) => MediaMetadata} parts.newMetadata
   * @param {MediaSessionActions} parts.actions
   */
  constructor({ session, newMetadata, actions }) {
    this.#session = session;
    this.#newMetadata = newMetadata;
    /** @type {Record<string, () => void>} */
    this.#handlers = {
      togglemicrophone: actions.toggleMic,
      togglecamera: actions.toggleCam,
      hangup: actions.hangUp,
      enterpictureinpicture: actions.enterPictureInPicture,
      // Without these a media key would stop the picture of the other participant.
      play: () => {},
      pause: () => {},
    };
  }

  /** @param {MediaSessionState | null} state null: there is no call */
  show(state) {
    if (!this.#session) return;
    if (Boolean(state) !== this.#active) this.#setActive(Boolean(state));
    if (!state) return;
    const { title, mic, cam } = state;
    const shown = this.#shown;
    if (shown.title !== title) attempt(() => { if (this.#session) this.#session.metadata = this.#newMetadata({ title }); });
    if (shown.mic !== mic) attempt(() => this.#call('setMicrophoneActive', mic));
    if (shown.cam !== cam) attempt(() => this.#call('setCameraActive', cam));
    this.#shown = { title, mic, cam };
  }

  /** @param {boolean} active */
  #setActive(active) {
    const session = /** @type {MediaSession} */ (this.#session);
    this.#active = active;
    this.#shown = {};
    for (const [name, handler] of Object.entries(this.#handlers)) {
      attempt(() => session.setActionHandler(/** @type {MediaSessionAction} */ (name), active ? () => attempt(handler) : null));
    }
    attempt(() => { session.playbackState = active ? 'playing' : 'none'; });
    if (!active) attempt(() => { session.metadata = null; });
  }

  /** Not every browser has these methods. @param {'setMicrophoneActive' | 'setCameraActive'} name @param {boolean} active */
  #call(name, active) {
    const session = /** @type {any} */ (this.#session);
    // A newer browser may return a promise that it rejects.
    session[name]?.(active)?.catch?.(() => {});
  }
}

/** @param {() => void} action */
function attempt(action) {
  try {
    action();
  } catch {
    // This browser does not know it, and the call goes on without it.
  }
}
