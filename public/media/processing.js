// Processing: what the browser does to the sound of a microphone and to the picture of a camera, as switches: echo
// cancellation, noise suppression, automatic gain, the blur of the background, 1080p, and music: stereo without
// the other three. The page itself processes nothing.

/**
 * @import { Processing, SoundProcessing } from './device-preferences.js'
 */

/** What can be switched of a microphone. @type {readonly SoundProcessing[]} */
export const SOUND = ['noiseSuppression', 'echoCancellation', 'autoGainControl'];

/** Names and values that are not in the type library yet. @typedef {Record<string, unknown>} Values */

/**
 * Whether a switch makes sense, and its position.
 * @param {Processing} name
 * @param {object} parts
 * @param {MediaStreamTrack | null} parts.track that is processed
 * @param {boolean | undefined} parts.preferred
 * @param {Values} parts.supported constraints that the browser knows
 * @returns {boolean | null} on or off; null where it cannot be switched
 */
export function processingState(name, { track, preferred, supported }) {
  if (name === 'highResolution') return hasHighResolution(track) ? preferred ?? false : null;
  if (name === 'music') return supported.channelCount === true ? preferred ?? false : null;
  if (supported[name] !== true) return null;
  const offered = capabilities(track)[name];
  const isSwitchable = Array.isArray(offered) && offered.includes(true) && offered.includes(false);
  // Only the camera knows whether the system can blur its picture.
  if (name === 'backgroundBlur' ? !isSwitchable : offered !== undefined && !isSwitchable) return null;
  const actual = /** @type {Values | undefined} */ (track?.getSettings())?.[name];
  return typeof actual === 'boolean' ? actual : preferred ?? false;
}

/**
 * Applies constraints to a running track. Chromium resolves without an effect on a microphone, so the settings are read.
 * @param {MediaStreamTrack} track
 * @param {MediaTrackConstraints} constraints
 * @param {Processing} name of the one that has changed
 * @returns {Promise<boolean>} whether the track now does what the constraints ask
 */
export async function reconfigure(track, constraints, name) {
  try {
    await track.applyConstraints(constraints);
  } catch {
    return false;
  }
  const [actual, wanted] = [/** @type {Values} */ (track.getSettings()), /** @type {Values} */ (constraints)];
  return (name === 'music' ? SOUND : [name]).every((each) => actual[each] === undefined || actual[each] === wanted[each]);
}

/** Whether the camera may have it; a browser may not tell. @param {MediaStreamTrack | null} track */
function hasHighResolution(track) {
  const { width, height } = /** @type {MediaTrackCapabilities} */ (capabilities(track));
  return Math.min(width?.max ?? Infinity, height?.max ?? Infinity) >= 1080;
}

/** @param {MediaStreamTrack | null} track @returns {Values} empty where the browser tells none */
function capabilities(track) {
  try {
    return /** @type {Values} */ (track?.getCapabilities?.() ?? {});
  } catch {
    return {};
  }
}
