// Media errors: from a browser's exception to one of our codes, each of which has a sentence in the locales.
//
// Pure. Browsers name the same error differently.

/**
 * @typedef {'camera-denied' | 'camera-denied-again' | 'camera-denied-system' | 'device-not-found' | 'device-busy' | 'device-unfit' |
 *   'insecure-origin' | 'unsupported' | 'blocked-by-site' | 'timeout' | 'device-trouble' | 'mic-lost' | 'cam-lost' |
 *   'device-taken' | 'device-switched' | 'screen-denied-system' | 'screen-blocked' | 'screen-not-found' | 'screen-failed'} MediaErrorCode
 */

/** @type {Record<string, MediaErrorCode>} */
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
 * @param {any} error from getUserMedia
 * @returns {MediaErrorCode}
 */
export function mediaErrorCode(error) {
  const name = String(error?.name ?? '');
  const message = String(error?.message ?? '');
  if (name === 'InsecureOrigin') return 'insecure-origin';
  // The message is "Permission denied by system" in Chromium, in Firefox "... not allowed by the user agent or the platform".
  if (name === 'NotAllowedError' && /\bsystem\b/i.test(message)) return 'camera-denied-system';
  // Firefox reports a device unplugged between listing and opening like this.
  if (name === 'NotFoundError' || /object can not be found/i.test(message)) return 'device-not-found';
  return BY_NAME[name] ?? 'device-trouble';
}

/** @type {Partial<Record<MediaErrorCode, MediaErrorCode | null>>} */
const SCREEN_CODES = {
  // The person closed the picker, which is no error.
  'camera-denied': null,
  'camera-denied-system': 'screen-denied-system',
  'blocked-by-site': 'screen-blocked',
  'device-not-found': 'screen-not-found',
};

/**
 * @param {any} error from getDisplayMedia
 * @param {boolean} allowed by the site's policy
 * @returns {MediaErrorCode | null} null if the person cancelled
 */
export function screenErrorCode(error, allowed) {
  const code = mediaErrorCode(error);
  if (code === 'camera-denied' && !allowed) return 'screen-blocked';
  const { [code]: screen = 'screen-failed' } = SCREEN_CODES;
  return screen;
}

/**
 * Whether a request for one device alone may succeed, since the error may be the other's.
 * @param {MediaErrorCode} code
 */
export function mayRequestOne(code) {
  return code === 'device-not-found' || code === 'device-busy' || code === 'device-unfit';
}

/** Errors that a retry does not fix, or that resolve by themselves. */
const NO_RETRY = new Set(['timeout', 'insecure-origin', 'unsupported', 'blocked-by-site', 'device-switched', 'device-taken', 'mic-lost',
  'cam-lost', 'screen-denied-system', 'screen-blocked', 'screen-not-found', 'screen-failed']);

/** @param {string} code */
export function mayRetry(code) {
  return !NO_RETRY.has(code);
}
