// Media trouble: from a browser's refusal to one of our codes, each of which has its sentence in words.js.
//
// Pure. Browsers name the same trouble differently; here the names meet.

/**
 * @typedef {'camera-denied' | 'camera-denied-again' | 'camera-denied-system' | 'device-not-found' | 'device-busy' | 'device-unfit' |
 *   'insecure-origin' | 'unsupported' | 'blocked-by-site' | 'timeout' | 'device-trouble' | 'mic-lost' | 'cam-lost' |
 *   'device-taken' | 'device-switched' | 'screen-denied-system' | 'screen-blocked' | 'screen-not-found' | 'screen-failed'} MediaCode
 */

/** @type {Record<string, MediaCode>} */
const BY_NAME = {
  NotAllowedError: 'camera-denied',
  PermissionDeniedError: 'camera-denied',
  NotFoundError: 'device-not-found',
  DevicesNotFoundError: 'device-not-found',
  NotReadableError: 'device-busy',
  TrackStartError: 'device-busy',
  AbortError: 'device-busy',
  OverconstrainedError: 'device-unfit',
  SecurityError: 'blocked-by-site',
};

/**
 * @param {any} error what getUserMedia threw
 * @returns {MediaCode}
 */
export function mediaCode(error) {
  const name = String(error?.name ?? '');
  const message = String(error?.message ?? '');
  if (name === 'InsecureOrigin') return 'insecure-origin';
  // Chromium says "Permission denied by system", Firefox "... not allowed by the user agent or the platform".
  if (name === 'NotAllowedError' && /\bsystem\b/i.test(message)) return 'camera-denied-system';
  // A device pulled out between the list and the asking reads like this in Firefox.
  if (name === 'NotFoundError' || /object can not be found/i.test(message)) return 'device-not-found';
  return BY_NAME[name] ?? 'device-trouble';
}

/** @type {Partial<Record<MediaCode, MediaCode | null>>} */
const OF_SCREEN = {
  // The person closed the picker: no trouble at all.
  'camera-denied': null,
  'camera-denied-system': 'screen-denied-system',
  'blocked-by-site': 'screen-blocked',
  'device-not-found': 'screen-not-found',
};

/**
 * @param {any} error what getDisplayMedia threw
 * @param {boolean} allowed whether the site's policy lets a screen be shared at all
 * @returns {MediaCode | null} null where there is nothing to tell
 */
export function screenCode(error, allowed) {
  const code = mediaCode(error);
  if (code === 'camera-denied' && !allowed) return 'screen-blocked';
  const { [code]: screen = 'screen-failed' } = OF_SCREEN;
  return screen;
}

/**
 * Whether asking for the microphone alone could still succeed: the trouble may be the camera's only.
 * @param {MediaCode} code
 */
export function mayHaveSoundOnly(code) {
  return code === 'device-not-found' || code === 'device-busy' || code === 'device-unfit';
}

/** Troubles that another try does not mend, or that mend themselves. */
const NO_RETRY = new Set(['timeout', 'insecure-origin', 'unsupported', 'blocked-by-site', 'device-switched', 'device-taken', 'mic-lost',
  'cam-lost', 'screen-denied-system', 'screen-blocked', 'screen-not-found', 'screen-failed']);

/** @param {string} code */
export function mayRetry(code) {
  return !NO_RETRY.has(code);
}
