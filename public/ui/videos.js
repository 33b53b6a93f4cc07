// Videos: the own picture and that of the other participant, what is shown where there is none, and full screen.

import { makeScreenArrival } from '../media/screen-arrival.js';
import { find, setHidden, setText } from './elements.js';

/**
 * @import { RemoteState } from '../app/status.js'
 * @import { Translate } from '../locales/index.js'
 * @import { MediaState } from '../media/media.js'
 */

/** A video that would lose more than this share by filling its frame is shown whole. */
const MAX_CROPPED = 0.45;
/** On a phone, which is held close, more may be cropped: a face stays in the middle. */
const MAX_CROPPED_NARROW = 0.8;
const NARROW_PX = 760;
const FIT_MS = 180;
/** The third pause of the remote video within this time is respected. */
const REPEATED_PAUSE_MS = 5000;

export class Videos {
  /** @type {HTMLVideoElement} */
  local;
  /** @type {HTMLVideoElement & {webkitEnterFullscreen?: () => void}} */
  remote;
  #document;
  #translate;
  #localFrame;
  #remoteFrame;
  #playButton;
  #awaitsScreen = makeScreenArrival();
  /** Whether the other participant shares a screen. */
  #isScreen = false;
  /** Whether the person wants to see the other's camera or screen whole; null: as fits best. @type {{cam: boolean | null, screen: boolean | null}} */
  #wantsWhole = { cam: null, screen: null };
  /** When the remote video was paused from outside, in ms of a monotonic clock. */
  #pauses = [-Infinity, -Infinity];
  /** Whether the remote video plays muted because the browser refused sound. */
  #soundRefused = false;

  /** @param {{document: Document, translate: Translate}} parts */
  constructor({ document, translate }) {
    this.#document = document;
    this.#translate = translate;
    const local = this.local = find(document, '#local');
    const remote = this.remote = find(document, '#remote');
    this.#localFrame = find(document, '#selfFrame');
    this.#remoteFrame = find(document, '#remoteFrame');
    this.#playButton = find(document, '#btnHear');
    this.#playButton.addEventListener('click', () => this.#play(remote));
    remote.addEventListener('pause', () => this.#remotePaused());
    remote.addEventListener('volumechange', () => this.#offerSound());
    local.addEventListener('pause', () => { if (local.srcObject && document.visibilityState === 'visible') this.#play(local); });
    for (const event of ['loadedmetadata', 'resize']) remote.addEventListener(event, () => this.#fit());
    document.defaultView?.addEventListener('resize', () => this.#fit());
    for (const event of ['resume', 'visibilitychange']) document.addEventListener(event, () => this.#resume());
  }

  /** @param {MediaState} media */
  showLocal(media) {
    const hasVideo = media.cam || media.screen;
    const isNew = this.local.srcObject !== media.stream && media.stream !== null;
    this.#setStream(this.local, media.stream);
    // A page that records may also play sound: once the own devices run, try again.
    if (isNew && !this.#playButton.hidden) this.#play(this.remote);
    this.#localFrame.classList.toggle('mirrored', !media.screen && media.mirrored);
    this.#localFrame.classList.toggle('whole', media.screen);
    this.#localFrame.classList.toggle('empty', !hasVideo || media.stream === null);
    this.#localFrame.classList.toggle('requesting', media.requesting);
    setText(find(this.#document, '#selfNote'), this.#translate(media.requesting ? 'self.asking' : 'self.camOff'));
  }

  /**
   * @param {RemoteState} state
   * @param {number} decoded frames of the remote video so far
   * @param {boolean} inCall without a stream, the last frame stays
   * @returns {boolean} whether a shared screen is visible
   */
  showRemote(state, decoded, inCall) {
    if (!inCall) this.remote.removeAttribute('poster');
    else if (!state.stream) this.#keepLastFrame();
    this.#setStream(this.remote, state.stream);
    if (!state.stream) setHidden(this.#playButton, true);
    const seesScreen = !this.#awaitsScreen(state, decoded) && state.screen;
    this.#remoteFrame.classList.toggle('empty', (state.stream !== null || inCall) && (state.screen ? !seesScreen : !state.cam));
    setText(find(this.#document, '#theirNote'), this.#translate(state.weak || state.screen ? 'remote.weak' : 'remote.camOff'));
    this.#isScreen = state.screen;
    this.#fit();
    return seesScreen;
  }

  /** Whether the remote picture is shown whole, not filling its frame. */
  get isWhole() {
    return this.#remoteFrame.classList.contains('whole');
  }

  /** Holds for the kind of picture there is now, camera or screen, until the call ends. @param {boolean} whole */
  setWhole(whole) {
    this.#wantsWhole[this.#isScreen ? 'screen' : 'cam'] = whole;
    const before = this.isWhole;
    this.#fit();
    if (this.isWhole !== before) this.#animateFit();
  }

  get canFullscreen() {
    // An iPhone shows a video in full screen, but no page.
    return Boolean(this.#document.documentElement.requestFullscreen ?? this.remote.webkitEnterFullscreen);
  }

  /** Browsers refuse a window without a picture. */
  get canPictureInPicture() {
    return this.isPictureInPicture || (this.#document.pictureInPictureEnabled && Boolean(this.remote.requestPictureInPicture) && this.remote.videoWidth > 0);
  }

  get isFullscreen() {
    return Boolean(this.#document.fullscreenElement);
  }

  get isPictureInPicture() {
    return Boolean(this.#document.pictureInPictureElement);
  }

  toggleFullscreen() {
    const page = this.#document.documentElement;
    if (this.isFullscreen) this.#exitFullscreen();
    else if (page.requestFullscreen) page.requestFullscreen().catch(() => {});
    else this.remote.webkitEnterFullscreen?.();
  }

  togglePictureInPicture() {
    if (this.isPictureInPicture) this.exitPictureInPicture();
    else this.enterPictureInPicture();
  }

  enterPictureInPicture() {
    this.remote.requestPictureInPicture?.().catch(() => {});
  }

  exitPictureInPicture() {
    if (this.isPictureInPicture) this.#document.exitPictureInPicture().catch(() => {});
  }

  /** Leaves full screen and picture-in-picture, and forgets how the picture was to be fitted. */
  restore() {
    this.#exitFullscreen();
    this.exitPictureInPicture();
    this.#wantsWhole = { cam: null, screen: null };
  }

  #exitFullscreen() {
    if (this.isFullscreen) this.#document.exitFullscreen().catch(() => {});
  }

  /** @param {HTMLVideoElement} video @param {MediaStream | null} stream */
  #setStream(video, stream) {
    if (video.srcObject === stream) return;
    video.srcObject = stream;
    if (stream) this.#play(video);
  }

  /** Plays a video; without sound where the browser refuses sound until the first touch of the page. @param {HTMLVideoElement} video */
  async #play(video) {
    if (video === this.remote) Object.assign(video, { muted: false, volume: 1 });
    // Some browsers return no promise, and some throw at once.
    const start = async () => video.play();
    const refused = await start().then(() => false, (error) => error.name === 'NotAllowedError');
    if (video !== this.remote) return;
    this.#soundRefused = refused;
    setHidden(this.#playButton, !refused);
    if (!refused) return;
    video.muted = true;
    start().catch(() => {});
  }

  /** A media key, a headset or another program paused the video: it continues, unless that is repeated; then a button offers it. */
  #remotePaused() {
    const stream = /** @type {MediaStream | null} */ (this.remote.srcObject);
    if (!stream?.getTracks().some(({ readyState }) => readyState === 'live')) return;
    const now = performance.now();
    const isRepeated = now - this.#pauses[0] < REPEATED_PAUSE_MS;
    this.#pauses = [this.#pauses[1], now];
    if (isRepeated) setHidden(this.#playButton, false);
    else this.#play(this.remote);
  }

  /** A browser's picture-in-picture window and extensions may mute the video. */
  #offerSound() {
    const { remote } = this;
    if (remote.srcObject) setHidden(this.#playButton, !remote.muted && remote.volume > 0 && !remote.paused);
  }

  /** Browsers pause videos of a frozen page or during a phone call, and do not resume them, or not their sound. */
  #resume() {
    for (const video of [this.local, this.remote]) {
      const isSilent = video === this.remote && this.#soundRefused;
      if (video.srcObject && (video.paused || video.ended || isSilent)) this.#play(video);
    }
  }

  /** Keeps the last frame as the poster: a video whose stream has ended is black. */
  #keepLastFrame() {
    const { remote } = this;
    if (this.#remoteFrame.classList.contains('empty')) return remote.removeAttribute('poster');
    if (remote.readyState < remote.HAVE_CURRENT_DATA || !remote.videoWidth) return;
    const canvas = this.#document.createElement('canvas');
    canvas.width = remote.videoWidth;
    canvas.height = remote.videoHeight;
    canvas.getContext('2d')?.drawImage(remote, 0, 0);
    if (!isReadable(this.#document)) return remote.removeAttribute('poster');
    remote.poster = canvas.toDataURL('image/jpeg', 0.8);
  }

  /** Faces fill the frame; a screen, or a video of a very different shape, is shown whole, unless the person wants otherwise. */
  #fit() {
    const frame = this.#remoteFrame;
    // The last frame stays as it was shown.
    if (!this.remote.videoWidth && this.remote.poster) return;
    const isTile = frame.classList.contains('tile');
    const cropped = isTile || this.#isScreen ? 0 : this.#croppedShare();
    const fitsBest = this.#isScreen || (cropped > 0 && cropped > (frame.clientWidth < NARROW_PX ? MAX_CROPPED_NARROW : MAX_CROPPED));
    const wanted = isTile ? null : this.#wantsWhole[this.#isScreen ? 'screen' : 'cam'];
    frame.classList.toggle('whole', wanted ?? fitsBest);
  }

  /** The share of the remote video that is lost where it fills its frame. */
  #croppedShare() {
    const { remote: { videoWidth: width, videoHeight: height } } = this;
    // Before a layout that a frame without a picture does not need.
    if (!width || !height) return 0;
    const { clientWidth, clientHeight } = this.#remoteFrame;
    if (!clientWidth || !clientHeight) return 0;
    const ratio = (width * clientHeight) / (height * clientWidth);
    return 1 - Math.min(ratio, 1 / ratio);
  }

  /** Grows or shrinks the picture from its fit before to the one now: `object-fit` itself changes at once. */
  #animateFit() {
    const isReduced = this.#document.defaultView?.matchMedia('(prefers-reduced-motion: reduce)').matches;
    const filling = String(1 / (1 - this.#croppedShare()));
    if (isReduced || !this.remote.animate) return;
    const scales = this.isWhole ? [filling, '1'] : ['1', filling];
    this.remote.animate(scales.map((scale) => ({ objectFit: 'contain', scale })), { duration: FIT_MS, easing: 'ease-out' });
  }
}

/**
 * Whether a canvas returns the pixels that were drawn: some browsers return noise or stripes, against tracking. A little
 * noise is accepted.
 * @param {Document} document
 */
function isReadable(document) {
  const context = Object.assign(document.createElement('canvas'), { width: 8, height: 8 }).getContext('2d');
  if (!context) return false;
  context.fillStyle = '#4080c0';
  context.fillRect(0, 0, 8, 8);
  const { data } = context.getImageData(0, 0, 8, 8);
  return data.every((value, at) => Math.abs(value - [64, 128, 192, 255][at % 4]) < 8);
}
