// Device preferences: the camera, microphone and speaker the person selected last, and how the browser processes their sound
// and picture, stored in this browser.
//
// A browser may give a device another id at the next visit; then its label identifies it.

const KEY = 'webrtc-box.devices';
const KINDS = /** @type {const} */ (['audioinput', 'videoinput', 'audiooutput']);

/**
 * @typedef {'audioinput' | 'videoinput' | 'audiooutput'} DeviceKind
 * @typedef {'echoCancellation' | 'noiseSuppression' | 'autoGainControl'} SoundProcessing constraints of a microphone; all are on until they are switched off
 * @typedef {SoundProcessing | 'backgroundBlur' | 'highResolution' | 'music'} Processing
 * @typedef {{audioinput: string, videoinput: string, audiooutput: string, facing: 'user' | 'environment', backgroundBlur?: boolean, highResolution: boolean, music: boolean}
 *   & Record<SoundProcessing, boolean>} Selection ids, empty where nothing is selected; the blur is left to the system until it
 *   was switched here; `highResolution`: 1080p in place of 720p; `music`: stereo without any
 *   processing of sound
 * @typedef {Pick<Storage, 'getItem' | 'setItem'>} PreferenceStorage
 *
 * @typedef {object} DevicePreferences
 * @property {Selection} selected
 * @property {(devices: MediaDeviceInfo[]) => void} save stores the selection, with labels from these devices
 * @property {(devices: MediaDeviceInfo[]) => void} match finds stored devices by label where their ids are gone
 * @property {(kind: DeviceKind, running: MediaStreamTrack, devices: MediaDeviceInfo[]) => boolean} isOther whether the
 *   selected device is available and another one runs
 */

/**
 * @param {PreferenceStorage | undefined} storage
 * @returns {DevicePreferences}
 */
export function makeDevicePreferences(storage) {
  const stored = read(storage);
  /** @type {Selection} */
  const selected = {
    audioinput: text(stored.audioinput), videoinput: text(stored.videoinput), audiooutput: text(stored.audiooutput),
    facing: stored.facing === 'environment' ? 'environment' : 'user',
    echoCancellation: stored.echoCancellation !== false, noiseSuppression: stored.noiseSuppression !== false,
    autoGainControl: stored.autoGainControl !== false, highResolution: stored.highResolution === true,
    music: stored.music === true,
    ...(typeof stored.backgroundBlur === 'boolean' && { backgroundBlur: stored.backgroundBlur }),
  };
  const labels = { audioinput: text(stored.labels?.audioinput), videoinput: text(stored.labels?.videoinput), audiooutput: text(stored.labels?.audiooutput) };

  return {
    selected,
    save(devices) {
      for (const kind of KINDS) labels[kind] = devices.find((each) => each.kind === kind && each.deviceId === selected[kind])?.label ?? labels[kind];
      try {
        storage?.setItem(KEY, JSON.stringify({ ...selected, labels }));
      } catch {
        // Storage is full or forbidden: the selection holds for this visit.
      }
    },
    match(devices) {
      for (const kind of KINDS) {
        const available = devices.filter((each) => each.kind === kind);
        if (!selected[kind] || !labels[kind] || available.some((each) => each.deviceId === selected[kind])) continue;
        const same = available.find((each) => each.label === labels[kind]);
        if (same) selected[kind] = same.deviceId;
      }
    },
    isOther(kind, running, devices) {
      const { [kind]: id } = selected;
      return id !== '' && running.getSettings().deviceId !== id && devices.some((each) => each.kind === kind && each.deviceId === id);
    },
  };
}

/**
 * @param {PreferenceStorage | undefined} storage
 * @returns {Record<string, any>}
 */
function read(storage) {
  try {
    const stored = JSON.parse(storage?.getItem(KEY) ?? '{}');
    return stored && typeof stored === 'object' ? stored : {};
  } catch {
    return {};
  }
}

/** @param {unknown} value */
const text = (value) => (typeof value === 'string' ? value : '');
