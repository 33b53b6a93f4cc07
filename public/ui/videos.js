// The two pictures: streams put into their video elements, and what stands there when there is no picture.

import { makeScreenArrival } from '../media/screen-arrival.js';
import { find, setText } from './elements.js';

/** A picture that would lose more than this share of itself when cropped to fill is shown whole. */
const MOST_CROPPED = 0.45;
/** Who pauses for the third time within this long means it. */
const INSISTS_MS = 5000;

/**
 * @typedef {import('../media/media.js').MediaState} MediaState
 * @typedef {import('../app/status.js').SessionState} State
 */

/**
 * @param {object} parts
 * @param {Document} parts.document
 * @param {import('../locales/index.js').Say} parts.say
 */
export function makePictures({ document, say }) {
  /** @type {HTMLVideoElement} */
  const local = find(document, '#local');
  /** @type {HTMLVideoElement} */
  const remote = find(document, '#remote');
  const selfFrame = find(document, '#selfFrame');
  const remoteFrame = find(document, '#remoteFrame');
  const selfNote = find(document, '#selfNote');
  const theirNote = find(document, '#theirNote');
  const hear = find(document, '#btnHear');
  let sharedByThem = false;
  const toCome = makeScreenArrival();

  /** When the remote picture was paused by something outside, by a clock that nobody sets. */
  let pauses = [-Infinity, -Infinity];
  /** Their picture runs without its sound, which was refused. */
  let silenced = false;

  hear.addEventListener('click', () => play(remote));
  remote.addEventListener('pause', paused);
  remote.addEventListener('volumechange', offerSound);
  local.addEventListener('pause', () => { if (local.srcObject && document.visibilityState === 'visible') play(local); });
  for (const event of ['loadedmetadata', 'resize']) remote.addEventListener(event, fit);
  document.defaultView?.addEventListener('resize', fit);
  for (const event of ['resume', 'visibilitychange']) document.addEventListener(event, goOn);

  /** @param {HTMLVideoElement} video @param {MediaStream | null} stream */
  function put(video, stream) {
    if (video.srcObject === stream) return;
    video.srcObject = stream;
    if (stream) play(video);
  }

  /** What was last seen, as the poster that stands where there is no frame: an ended stream shows black. */
  function keepLast() {
    if (remoteFrame.classList.contains('empty')) return remote.removeAttribute('poster');
    if (remote.readyState < remote.HAVE_CURRENT_DATA || !remote.videoWidth) return;
    const canvas = document.createElement('canvas');
    canvas.width = remote.videoWidth;
    canvas.height = remote.videoHeight;
    canvas.getContext('2d')?.drawImage(remote, 0, 0);
    // Where a page may not read pictures back, what it reads is noise.
    if (!readsBack(canvas)) return remote.removeAttribute('poster');
    remote.poster = canvas.toDataURL('image/jpeg', 0.8);
  }

  /**
   * Where sound is refused until somebody touches the page, the picture comes without it for now.
   * @param {HTMLVideoElement} video
   */
  async function play(video) {
    if (video === remote) Object.assign(video, { muted: false, volume: 1 });
    // Some give no promise, and some throw at once.
    const begin = async () => video.play();
    const refused = await begin().then(() => false, (error) => error.name === 'NotAllowedError');
    if (video !== remote) return;
    silenced = refused;
    hear.hidden = !refused;
    if (!refused) return;
    video.muted = true;
    begin().catch(() => {});
  }

  /** A key for media, a headset, another program: it goes on at once, unless somebody insists; then a touch is enough. */
  function paused() {
    if (!remote.srcObject || !theirs()) return;
    const now = performance.now();
    const insists = now - pauses[0] < INSISTS_MS;
    pauses = [pauses[1], now];
    if (insists) hear.hidden = false;
    else play(remote);
  }

  const theirs = () => /** @type {MediaStream} */ (remote.srcObject).getTracks().some(({ readyState }) => readyState === 'live');

  /** A browser's floating window and its extensions mute the element. */
  function offerSound() {
    if (remote.srcObject) hear.hidden = !remote.muted && remote.volume > 0 && !remote.paused;
  }

  /** Browsers pause what a page shows while they freeze it, or while the phone rings, and leave it so, or without its sound. */
  function goOn() {
    for (const video of [local, remote]) if (video.srcObject && (video.paused || video.ended || (video === remote && silenced))) play(video);
  }

  /** Faces fill the screen; a screen, or a picture of quite another shape, is shown whole. */
  function fit() {
    const [w, h] = [remote.videoWidth, remote.videoHeight];
    const [W, H] = [remoteFrame.clientWidth, remoteFrame.clientHeight];
    // What was last seen stays as it was shown.
    if (!w && remote.poster) return;
    const lost = w && h && W && H ? 1 - Math.min((w * H) / (h * W), (h * W) / (w * H)) : 0;
    const tile = remoteFrame.classList.contains('tile');
    remoteFrame.classList.toggle('whole', sharedByThem || (!tile && lost > mostCropped(W)));
  }

  return {
    /** @param {MediaState} media */
    showOwn(media) {
      const seen = media.cam || media.screen;
      const arrived = local.srcObject !== media.stream && media.stream !== null;
      put(local, media.stream);
      // A page that records may also sound: once our own devices run, ask again.
      if (arrived && !hear.hidden) play(remote);
      selfFrame.classList.toggle('mirrored', !media.screen && media.mirrored);
      selfFrame.classList.toggle('whole', media.screen);
      selfFrame.classList.toggle('empty', !seen || media.stream === null);
      setText(selfNote, say(media.requesting ? 'self.asking' : 'self.off'));
    },
    /** @param {State['remote']} theirs @param {number} decoded frames of it so far @param {boolean} goesOn a call runs: what
     *  was last seen stays while there is no stream @returns {boolean} whether it is a screen that is in sight */
    showTheirs(theirs, decoded, goesOn) {
      if (!goesOn) remote.removeAttribute('poster');
      else if (!theirs.stream) keepLast();
      put(remote, theirs.stream);
      if (!theirs.stream) hear.hidden = true;
      const seesScreen = !toCome(theirs, decoded) && theirs.screen;
      remoteFrame.classList.toggle('empty', (theirs.stream !== null || goesOn) && (theirs.screen ? !seesScreen : !theirs.cam));
      setText(theirNote, say(theirs.weak || theirs.screen ? 'remote.weak' : 'remote.camOff'));
      sharedByThem = theirs.screen;
      fit();
      return seesScreen;
    },
    local,
    remote,
  };
}

/**
 * A phone held close may crop more: a face stays in the middle.
 * @param {number} width
 */
function mostCropped(width) {
  return width < 760 ? 0.8 : MOST_CROPPED;
}

/**
 * Whether what is drawn on a canvas is what is read from it: some browsers are set to give noise or stripes instead.
 * A little noise on some pixels is allowed.
 * @param {HTMLCanvasElement} canvas of a picture; a corner of a fresh one is tried
 */
function readsBack({ ownerDocument }) {
  const ink = Object.assign(ownerDocument.createElement('canvas'), { width: 8, height: 8 }).getContext('2d');
  if (!ink) return false;
  ink.fillStyle = '#4080c0';
  ink.fillRect(0, 0, 8, 8);
  const { data } = ink.getImageData(0, 0, 8, 8);
  return data.every((value, at) => Math.abs(value - [64, 128, 192, 255][at % 4]) < 8);
}
