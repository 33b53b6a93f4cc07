// Capture: asks the browser for microphone, camera and screen, and says what came of it.
//
// The only file that knows getUserMedia. A refusal is a value, never an exception: whatever can be had is
// had, and the trouble with the rest comes along as a code.

import { mediaCode, mayHaveSoundOnly, screenCode } from './media-errors.js';

/**
 * @typedef {import('./media-errors.js').MediaCode} MediaCode
 * @typedef {{stream: MediaStream | null, trouble: MediaCode | null}} Catch
 * @typedef {'user' | 'environment'} Facing
 *
 * @typedef {object} Edge
 * @property {MediaDevices | undefined} devices undefined on insecure origins, and in browsers within apps
 * @property {boolean} [secure] whether this is a page to which a browser gives devices at all
 * @property {Permissions} [permissions]
 * @property {(feature: string) => boolean} [allowed] whether the site's, or a frame's, policy allows it
 *
 * @typedef {object} Capture
 * @property {(wanted: {mic: boolean, cam: boolean}, chosen: import('./device-preferences.js').Chosen) => Promise<Catch>} both
 * @property {(kind: 'mic' | 'cam', chosen: import('./device-preferences.js').Chosen) => Promise<Catch>} one
 * @property {() => Promise<Catch>} screen with its sound where the browser gives it; neither when put off
 * @property {(granted: () => void) => void} whenGranted
 */

/**
 * @param {Edge} edge
 * @returns {Capture}
 */
export function makeCapture({ devices, secure = true, permissions, allowed = () => true }) {
  /**
   * @param {MediaStreamConstraints} constraints
   * @returns {Promise<Catch>}
   */
  async function ask(constraints) {
    if (!devices?.getUserMedia) return { stream: null, trouble: secure ? 'unsupported' : 'insecure-origin' };
    try {
      return { stream: await devices.getUserMedia(constraints), trouble: null };
    } catch (error) {
      const trouble = mediaCode(error);
      const open = mayHaveSoundOnly(trouble) && trouble !== 'device-busy' ? anyDevice(constraints) : null;
      if (open) return ask(open);
      return { stream: null, trouble: trouble === 'camera-denied' ? await whoDenied(constraints) : trouble };
    }
  }

  /**
   * The person, the site, or the system behind a browser that would give it.
   * @param {MediaStreamConstraints} constraints
   * @returns {Promise<MediaCode>}
   */
  async function whoDenied({ audio, video }) {
    /** @type {('camera' | 'microphone')[]} */
    const names = [];
    if (audio) names.push('microphone');
    if (video) names.push('camera');
    if (!names.every((name) => allowed(name))) return 'blocked-by-site';
    const states = await Promise.all(names.map(async (name) => (await permission(name))?.state));
    return states.every((state) => state === 'granted') ? 'camera-denied-system' : 'camera-denied';
  }

  /**
   * @param {'camera' | 'microphone'} name
   * @returns {Promise<PermissionStatus | null>} null where the browser does not tell
   */
  async function permission(name) {
    try {
      return await permissions?.query({ name: /** @type {PermissionName} */ (name) }) ?? null;
    } catch {
      return null;
    }
  }

  /**
   * @param {DisplayMediaStreamOptions} options
   * @returns {Promise<{stream?: MediaStream, error?: unknown}>}
   */
  async function pickScreen(options) {
    try {
      return { stream: await devices?.getDisplayMedia(options) };
    } catch (error) {
      return { error };
    }
  }

  return {
    /** With one question; where one of them is not to be had, the other alone, and nobody is asked twice. */
    async both(wanted, chosen) {
      // The microphone is asked for even when it starts switched off: switching it on must not ask again.
      const both = await ask({ audio: microphone(chosen), video: wanted.cam && camera(chosen) });
      if (!both.trouble || !wanted.cam) return both;
      const refused = both.trouble.startsWith('camera-denied');
      if (!refused && !mayHaveSoundOnly(both.trouble)) return both;
      for (const [name, constraints] of /** @type {const} */ ([['microphone', { audio: microphone(chosen) }], ['camera', { video: camera(chosen) }]])) {
        if (refused && (await permission(name))?.state !== 'granted') continue;
        const { stream } = await ask(constraints);
        if (stream) return { stream, trouble: both.trouble };
      }
      return both;
    },

    one: (kind, chosen) => ask(kind === 'mic' ? { audio: microphone(chosen) } : { video: camera(chosen) }),

    async screen() {
      const first = await pickScreen(SCREEN);
      // Some browsers refuse to hear of sound at all; a person who put it off is not asked again.
      const { stream = null, error } = first.error instanceof TypeError ? await pickScreen({ video: true }) : first;
      return { stream, trouble: error === undefined ? null : screenCode(error, allowed('display-capture')) };
    },

    whenGranted(granted) {
      for (const name of /** @type {const} */ (['camera', 'microphone'])) {
        permission(name).then((status) => {
          status?.addEventListener?.('change', () => { if (status.state === 'granted') granted(); });
        });
      }
    },
  };
}

/** What a browser does not know of these it leaves aside. The call's own sound is not to come back with the screen's. */
const SCREEN = /** @type {DisplayMediaStreamOptions} */ ({
  video: true, audio: { restrictOwnAudio: true }, systemAudio: 'include', selfBrowserSurface: 'exclude', surfaceSwitching: 'include',
});

/**
 * The same question to whatever device there is: the one that was chosen is gone.
 * @param {MediaStreamConstraints} constraints
 * @returns {MediaStreamConstraints | null} null where none was named
 */
function anyDevice(constraints) {
  let named = false;
  const open = Object.entries(constraints).map(([kind, wanted]) => {
    if (!wanted?.deviceId) return [kind, wanted];
    named = true;
    const { deviceId, ...rest } = wanted;
    return [kind, rest];
  });
  return named ? Object.fromEntries(open) : null;
}

// By `exact`, since Chromium takes another camera for an `ideal` one that is there as well.

/** @param {import('./device-preferences.js').Chosen} chosen */
function microphone({ audioinput }) {
  return { echoCancellation: true, noiseSuppression: true, autoGainControl: true, ...(audioinput && { deviceId: { exact: audioinput } }) };
}

/** @param {import('./device-preferences.js').Chosen} chosen */
function camera({ videoinput, facing }) {
  return { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 },
    ...(videoinput ? { deviceId: { exact: videoinput } } : { facingMode: facing }) };
}
