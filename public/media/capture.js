// Capture: requests microphone, camera and screen from the browser.
//
// Only this file uses getUserMedia. An error is a value and never an exception: a result may hold the stream of what is
// available together with the error of the rest.

import { mayRequestOne, mediaErrorCode, screenErrorCode } from './media-errors.js';

/**
 * @import { Selection } from './device-preferences.js'
 * @import { MediaErrorCode } from './media-errors.js'
 *
 * @typedef {{stream: MediaStream | null, error: MediaErrorCode | null}} CaptureResult
 *
 * @typedef {object} CaptureParts
 * @property {MediaDevices | undefined} devices missing on insecure origins and in the browsers of some apps
 * @property {boolean} [secure] whether the page is a secure context
 * @property {Permissions} [permissions]
 * @property {(feature: string) => boolean} [allowed] whether the permissions policy of the site or a frame allows it
 */

/** Options a browser does not know are ignored. The call's own audio must not be captured together with the screen's. */
const SCREEN = /** @type {DisplayMediaStreamOptions} */ ({
  video: true, audio: { restrictOwnAudio: true }, systemAudio: 'include', selfBrowserSurface: 'exclude', surfaceSwitching: 'include',
});

export class Capture {
  /** @type {CaptureParts & {secure: boolean, allowed: (feature: string) => boolean}} */
  #parts;

  /** @param {CaptureParts} parts */
  constructor({ secure = true, allowed = () => true, ...parts }) {
    this.#parts = { secure, allowed, ...parts };
  }

  /**
   * Both with one question; if one is not available, the other alone without a second question.
   * @param {{mic: boolean, cam: boolean}} wanted
   * @param {Selection} selected
   * @returns {Promise<CaptureResult>}
   */
  async both(wanted, selected) {
    // The microphone is requested even if it starts muted: unmuting must not ask again.
    const both = await this.#request({ audio: constraintsOf('mic', selected), video: wanted.cam && constraintsOf('cam', selected) });
    if (!both.error || !wanted.cam) return both;
    const denied = both.error.startsWith('camera-denied');
    if (!denied && !mayRequestOne(both.error)) return both;
    for (const [name, constraints] of /** @type {const} */ ([['microphone', { audio: constraintsOf('mic', selected) }], ['camera', { video: constraintsOf('cam', selected) }]])) {
      if (denied && (await this.#permission(name))?.state !== 'granted') continue;
      const { stream } = await this.#request(constraints);
      if (stream) return { stream, error: both.error };
    }
    return both;
  }

  /** @param {'mic' | 'cam'} kind @param {Selection} selected @returns {Promise<CaptureResult>} */
  one(kind, selected) {
    return this.#request({ [kind === 'mic' ? 'audio' : 'video']: constraintsOf(kind, selected) });
  }

  /**
   * The microphone with processing that was switched just now. Chromium prefers the settings of a track that is still open,
   * unless others are required.
   * @param {Selection} selected
   * @returns {Promise<CaptureResult>}
   */
  async switchedMicrophone(selected) {
    const { echoCancellation, noiseSuppression, autoGainControl, ...wanted } = /** @type {Record<string, any>} */ (constraintsOf('mic', selected));
    const required = { echoCancellation: { exact: echoCancellation }, noiseSuppression: { exact: noiseSuppression }, autoGainControl: { exact: autoGainControl } };
    try {
      const stream = await this.#parts.devices?.getUserMedia({ audio: { ...wanted, ...required } });
      if (stream) return { stream, error: null };
    } catch {
      // The device cannot do all of it.
    }
    return this.one('mic', selected);
  }

  /** With audio where the browser supports it. Neither stream nor error if cancelled. @returns {Promise<CaptureResult>} */
  async screen() {
    const first = await this.#pickScreen(SCREEN);
    // Some browsers reject the audio option; a person who cancelled is not asked again.
    const { stream = null, error } = first.error instanceof TypeError ? await this.#pickScreen({ video: true }) : first;
    return { stream, error: error === undefined ? null : screenErrorCode(error, this.#parts.allowed('display-capture')) };
  }

  /** @param {() => void} granted called when a permission becomes granted in the browser's settings */
  whenGranted(granted) {
    for (const name of /** @type {const} */ (['camera', 'microphone'])) {
      this.#permission(name).then((status) => {
        status?.addEventListener?.('change', () => { if (status.state === 'granted') granted(); });
      });
    }
  }

  /**
   * @param {MediaStreamConstraints} constraints
   * @returns {Promise<CaptureResult>}
   */
  async #request(constraints) {
    const { devices, secure } = this.#parts;
    if (!devices?.getUserMedia) return { stream: null, error: secure ? 'unsupported' : 'insecure-origin' };
    try {
      return { stream: await devices.getUserMedia(constraints), error: null };
    } catch (thrown) {
      const error = mediaErrorCode(thrown);
      const anyDevice = mayRequestOne(error) && error !== 'device-busy' ? withoutDevice(constraints) : null;
      if (anyDevice) return this.#request(anyDevice);
      return { stream: null, error: error === 'camera-denied' ? await this.#denialOf(constraints) : error };
    }
  }

  /**
   * Whether the person, the site or the operating system denied it.
   * @param {MediaStreamConstraints} constraints
   * @returns {Promise<MediaErrorCode>}
   */
  async #denialOf({ audio, video }) {
    /** @type {('camera' | 'microphone')[]} */
    const names = [];
    if (audio) names.push('microphone');
    if (video) names.push('camera');
    if (!names.every((name) => this.#parts.allowed(name))) return 'blocked-by-site';
    const states = await Promise.all(names.map(async (name) => (await this.#permission(name))?.state));
    return states.every((state) => state === 'granted') ? 'camera-denied-system' : 'camera-denied';
  }

  /**
   * @param {'camera' | 'microphone'} name
   * @returns {Promise<PermissionStatus | null>} null where the browser does not support the query
   */
  async #permission(name) {
    try {
      return await this.#parts.permissions?.query({ name: /** @type {PermissionName} */ (name) }) ?? null;
    } catch {
      return null;
    }
  }

  /**
   * @param {DisplayMediaStreamOptions} options
   * @returns {Promise<{stream?: MediaStream, error?: unknown}>}
   */
  async #pickScreen(options) {
    try {
      return { stream: await this.#parts.devices?.getDisplayMedia(options) };
    } catch (error) {
      return { error };
    }
  }
}

/**
 * The permissions policy of this site and of a page that frames it.
 * @param {Document} document
 * @returns {(feature: string) => boolean} whether it allows a feature; true where the browser does not expose it
 */
export function policyOf(document) {
  const { permissionsPolicy, featurePolicy } = /** @type {any} */ (document);
  return (feature) => {
    try {
      return (permissionsPolicy ?? featurePolicy)?.allowsFeature?.(feature) ?? true;
    } catch {
      return true;
    }
  };
}

/**
 * The same constraints for any device, since the selected one is gone.
 * @param {MediaStreamConstraints} constraints
 * @returns {MediaStreamConstraints | null} null if no device was selected
 */
function withoutDevice(constraints) {
  let selected = false;
  const open = Object.entries(constraints).map(([kind, wanted]) => {
    if (!wanted?.deviceId) return [kind, wanted];
    selected = true;
    const { deviceId, ...rest } = wanted;
    return [kind, rest];
  });
  return selected ? Object.fromEntries(open) : null;
}

/**
 * The device is `exact`, since Chromium may open another camera for an `ideal` one that is present.
 * @param {'mic' | 'cam'} kind
 * @param {Selection} selected
 * @returns {MediaTrackConstraints}
 */
export function constraintsOf(kind, { audioinput, videoinput, facing, echoCancellation, noiseSuppression, autoGainControl, backgroundBlur, highResolution, music }) {
  if (kind === 'mic') {
    return { echoCancellation: echoCancellation && !music, noiseSuppression: noiseSuppression && !music, autoGainControl: autoGainControl && !music,
      ...(music && { channelCount: 2 }), ...(audioinput && { deviceId: { exact: audioinput } }) };
  }
  const height = highResolution ? 1080 : 720;
  return { width: { ideal: height * 16 / 9 }, height: { ideal: height }, frameRate: { ideal: 30 }, ...(backgroundBlur !== undefined && { backgroundBlur }),
    ...(videoinput ? { deviceId: { exact: videoinput } } : { facingMode: facing }) };
}
