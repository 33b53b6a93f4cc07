// Chosen: which camera, microphone and speaker the person took last, remembered on this device.
//
// A browser may give the same device another id at the next visit; its label then finds it again.

const KEPT = 'webrtc-box.devices';
const KINDS = /** @type {const} */ (['audioinput', 'videoinput', 'audiooutput']);

/**
 * @typedef {'audioinput' | 'videoinput' | 'audiooutput'} DeviceKind
 * @typedef {{audioinput: string, videoinput: string, audiooutput: string, facing: 'user' | 'environment'}} Chosen
 *   ids; empty where the person chose nothing
 * @typedef {Pick<Storage, 'getItem' | 'setItem'>} Memory
 * @typedef {{chosen: Chosen, keep: (devices: MediaDeviceInfo[]) => void, match: (devices: MediaDeviceInfo[]) => void,
 *   isOther: (kind: DeviceKind, running: MediaStreamTrack, devices: MediaDeviceInfo[]) => boolean}} Kept
 */

/**
 * @param {Memory | undefined} memory
 * @returns {Kept}
 */
export function makeChosen(memory) {
  const kept = read(memory);
  /** @type {Chosen} */
  const chosen = {
    audioinput: text(kept.audioinput), videoinput: text(kept.videoinput), audiooutput: text(kept.audiooutput),
    facing: kept.facing === 'environment' ? 'environment' : 'user',
  };
  const labels = { audioinput: text(kept.labels?.audioinput), videoinput: text(kept.labels?.videoinput), audiooutput: text(kept.labels?.audiooutput) };

  return {
    chosen,

    /** Remembers what is chosen now, with the labels of these devices. */
    keep(devices) {
      for (const kind of KINDS) labels[kind] = devices.find((each) => each.kind === kind && each.deviceId === chosen[kind])?.label ?? labels[kind];
      try {
        memory?.setItem(KEPT, JSON.stringify({ ...chosen, labels }));
      } catch {
        // A full or forbidden store: it is chosen for this visit.
      }
    },

    /** Finds remembered devices by their labels where their ids are gone. */
    match(devices) {
      for (const kind of KINDS) {
        const there = devices.filter((each) => each.kind === kind);
        if (!chosen[kind] || !labels[kind] || there.some((each) => each.deviceId === chosen[kind])) continue;
        const same = there.find((each) => each.label === labels[kind]);
        if (same) chosen[kind] = same.deviceId;
      }
    },

    /** Whether the one chosen is among these devices, and another one runs. */
    isOther(kind, running, devices) {
      const { [kind]: id } = chosen;
      return id !== '' && running.getSettings().deviceId !== id && devices.some((each) => each.kind === kind && each.deviceId === id);
    },
  };
}

/**
 * @param {Memory | undefined} memory
 * @returns {Record<string, any>}
 */
function read(memory) {
  try {
    const kept = JSON.parse(memory?.getItem(KEPT) ?? '{}');
    return kept && typeof kept === 'object' ? kept : {};
  } catch {
    return {};
  }
}

/** @param {unknown} value */
const text = (value) => (typeof value === 'string' ? value : '');
