// Call signs: what only a call shows beside the pictures: with whom and for how long, and a hint for somebody who speaks while
// muted. It also announces devices that are switched, gives the pictures their names, and follows gestures and media keys.
//
// This file loads when a device is first switched, or the waiting for a call begins. What it shares with the page is passed in.

import { CallMediaSession } from '../media/media-session.js';
import { listenToGestures } from './picture-gestures.js';

/**
 * @import { Clock, Timer } from '../lib/clock.js'
 * @import { formatDuration } from '../locales/index.js'
 * @import { Translate } from '../locales/index.js'
 * @import { announce, find, setAttribute, setText } from './elements.js'
 * @import { Actions, Model } from './view.js'
 * @import { Videos } from './videos.js'
 *
 * @typedef {{mic: boolean, cam: boolean, screen: boolean}} Devices true: on
 *
 * @typedef {object} PagePart what the page passes in
 * @property {typeof announce} announce
 * @property {typeof find} find
 * @property {typeof formatDuration} formatDuration
 * @property {typeof setAttribute} setAttribute
 * @property {typeof setText} setText
 *
 * @typedef {object} CallSignsParts
 * @property {Document} document
 * @property {Navigator} navigator
 * @property {Translate} translate
 * @property {Clock} clock
 * @property {Actions} actions
 * @property {Videos} videos
 * @property {string} micKeys the shortcut of the microphone
 * @property {() => void} reveal shows the controls
 * @property {PagePart} page
 */

const HINT_MS = 6000;
/** A hint that was shown is not repeated before this. */
const HINT_PAUSE_MS = 20_000;
/** Without announcements people expect this when a call begins. */
const EXPECTED = { mic: true, cam: true, screen: false };

export class CallSigns {
  #parts;
  #elements;
  #mediaSession;
  /** Whether the browser opened the small window by itself. */
  #autoPictureInPicture = false;
  /** Own devices as last announced; null while unknown. @type {Devices | null} */
  #own = null;
  /** Their devices as last announced; null outside of a call. @type {Devices | null} */
  #theirs = null;
  #wasSpeaking = false;
  #hintedAt = -Infinity;
  /** @type {Timer | undefined} */
  #hintTimer;

  /** @param {CallSignsParts} parts */
  constructor(parts) {
    const { document, navigator, actions, videos, page: { find } } = this.#parts = parts;
    const element = (/** @type {string} */ id) => find(document, id);
    this.#elements = {
      who: element('#who'), name: element('#theirName'), time: element('#callTime'), hint: element('#mutedHint'),
      hintText: element('#mutedHintText'), announcer: element('#announcer'), micButton: element('[data-act=mic]'),
    };
    this.#mediaSession = new CallMediaSession({
      session: navigator.mediaSession,
      newMetadata: (init) => new MediaMetadata(init),
      actions: {
        toggleMic: () => actions.toggle('mic'),
        toggleCam: () => actions.toggle('cam'),
        hangUp: actions.leave,
        enterPictureInPicture: () => this.#enterPictureInPicture(),
      },
    });
    // Safari opens the small window by itself for a video with this attribute.
    if ('autoPictureInPicture' in videos.remote) Object.assign(videos.remote, { autoPictureInPicture: true });
    document.addEventListener('visibilitychange', () => this.#pageShown());
    this.#elements.hint.addEventListener('click', () => actions.toggle('mic'));
    listenToGestures({
      picture: element('#remoteFrame'),
      isLarge: () => element('#stage').dataset.view === 'remote',
      toggle: () => videos.setWhole(!videos.isWhole),
      setWhole: (whole) => videos.setWhole(whole),
    });
  }

  /** @param {Model} model */
  show(model) {
    const { session, seconds } = model;
    const { translate, page } = this.#parts;
    const { who, name, time } = this.#elements;
    const inCall = session.screen === 'call';
    const { peerName } = session;
    page.setText(name, peerName);
    page.setText(time, session.connectedAt === null ? '' : page.formatDuration(seconds));
    who.hidden = peerName === '' && session.connectedAt === null;
    this.#namePictures(model);
    // Setting its handlers takes a while: after the first picture is on its way.
    this.#mediaSession.show(inCall && session.connectedAt !== null ? { title: peerName || translate('title'), mic: isMicOn(model), cam: isCamOn(model) } : null);
    this.#announceDevices(model);
    this.#showHint(model);
  }

  /** @param {Model} model */
  #namePictures(model) {
    const { document, translate, videos, page: { setAttribute } } = this.#parts;
    const { peerName } = model.session;
    const isMuted = document.body.dataset.screen === 'call' && !isMicOn(model);
    setAttribute(videos.remote, 'aria-label', peerName ? translate('remote.labelNamed', { name: peerName }) : translate('remote.label'));
    setAttribute(videos.local, 'aria-label', translate(isMuted ? 'self.labelMuted' : 'self.label'));
  }

  /** Announces own devices that are switched on any screen, theirs in a call, and what is off when it begins. @param {Model} model */
  #announceDevices(model) {
    const { status, media, session: { screen, connectedAt, remote } } = model;
    const { translate } = this.#parts;
    if (connectedAt === null) this.#theirs = null;
    if (status === 'connected') {
      if (!this.#theirs) this.#own = this.#theirs = EXPECTED;
      // Without their video because of the network, nothing is known of their camera.
      const cam = remote.weak ? this.#theirs.cam : remote.cam;
      this.#theirs = this.#announceChanges(this.#theirs, { mic: remote.mic, cam, screen: remote.screen }, (change) => translate(`remote.${change}`));
    }
    // The end of a call stops everything, and an error says what was not granted.
    if (screen === 'ended' || media.requesting) return;
    const own = { mic: isMicOn(model), cam: isCamOn(model), screen: media.screen };
    this.#own = this.#announceChanges(this.#own ?? own, own, (change) => translate(`self.${change}`));
  }

  /** @param {Devices} before @param {Devices} now @param {(change: string) => string} sentence */
  #announceChanges(before, now, sentence) {
    for (const what of /** @type {const} */ (['mic', 'cam', 'screen'])) {
      if (now[what] !== before[what]) this.#parts.page.announce(this.#elements.announcer, sentence(`${what}${now[what] ? 'On' : 'Off'}`));
    }
    return now;
  }

  /** @param {Model} model */
  #showHint(model) {
    const { document, translate, clock, micKeys, reveal, page } = this.#parts;
    const { hint, hintText, announcer } = this.#elements;
    const isSpeaking = model.session.screen === 'call' && !model.media.mic && model.media.speakingWhileMuted === true;
    const isNew = isSpeaking && !this.#wasSpeaking && performance.now() - this.#hintedAt >= HINT_PAUSE_MS;
    this.#wasSpeaking = isSpeaking;
    if (model.media.mic || model.session.screen !== 'call') this.#hideHint();
    if (!isNew) return;
    this.#hintedAt = performance.now();
    const isTouch = document.defaultView?.matchMedia('(pointer: coarse)').matches;
    page.setText(hintText, isTouch ? translate('self.muted') : translate('self.mutedKeys', { keys: micKeys }));
    hint.hidden = false;
    reveal();
    page.announce(announcer, hintText.textContent ?? '');
    clock.cancel(this.#hintTimer);
    this.#endHintLater();
  }

  /** A hint with the focus stays. */
  #endHintLater() {
    const { document, clock } = this.#parts;
    this.#hintTimer = clock.after(() => {
      if (document.activeElement === this.#elements.hint) this.#endHintLater();
      else this.#hideHint();
    }, HINT_MS);
  }

  /** A focus that would be lost with the hint moves to the button that does the same. */
  #hideHint() {
    const { hint, micButton } = this.#elements;
    if (this.#parts.document.activeElement === hint) micButton.focus();
    hint.hidden = true;
  }

  #enterPictureInPicture() {
    this.#autoPictureInPicture = true;
    this.#parts.videos.enterPictureInPicture();
  }

  #pageShown() {
    if (!this.#autoPictureInPicture || this.#parts.document.visibilityState !== 'visible') return;
    this.#autoPictureInPicture = false;
    this.#parts.videos.exitPictureInPicture();
  }
}

/** Whether the peer can hear the own microphone. @param {Model} model */
function isMicOn({ media }) {
  return media.mic && !media.interrupted.mic;
}

/** @param {Model} model */
function isCamOn({ media }) {
  return media.cam && !media.interrupted.cam;
}
