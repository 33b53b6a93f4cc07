// Mute state: microphone, camera and screen as the person set them: toggled, kept over a reload, and sent to the peer.

/**
 * @import { Media, MediaState, Wanted } from './media.js'
 *
 * @typedef {{mic: boolean, cam: boolean, screen: boolean}} MuteState true: sent
 *
 * @typedef {object} MuteToggles
 * @property {(what: 'mic' | 'cam' | 'screen') => Promise<void>} toggle
 * @property {() => Wanted} saved as before a reload, which must not unmute
 */

const KEY = 'webrtc-box.switches';

/** Whether a device is on and not taken by the system. @param {MediaState} state @param {'mic' | 'cam'} what */
export const isOn = (state, what) => state[what] && !state.interrupted[what];

/**
 * @param {object} parts
 * @param {Pick<Media, 'state' | 'wanted' | 'setMic' | 'setCam' | 'setScreen'>} parts.media
 * @param {Pick<Storage, 'getItem' | 'setItem'>} parts.storage
 * @param {() => void} parts.failed a toggle failed, maybe with the same error as before, which must be shown again
 * @returns {MuteToggles}
 */
export function makeMuteToggles({ media, storage, failed }) {
  return {
    async toggle(what) {
      // A device that the system has taken is requested again.
      const on = what === 'screen' ? !media.state.screen : !isOn(media.state, what);
      const result = what === 'mic' ? media.setMic(on) : what === 'cam' ? media.setCam(on) : media.setScreen(on);
      storage.setItem(KEY, JSON.stringify(media.wanted()));
      if (await result) failed();
    },
    saved() {
      try {
        const { mic, cam } = JSON.parse(storage.getItem(KEY) ?? '{}');
        return { mic: mic !== false, cam: cam !== false };
      } catch {
        return { mic: true, cam: true };
      }
    },
  };
}

/**
 * What the peer receives: a device that is on while nothing can be sent counts as off.
 * @param {Pick<Media, 'state' | 'micTrack' | 'outgoingTracks'>} media
 * @returns {MuteState}
 */
export function muteStateOf(media) {
  const { state } = media;
  return {
    mic: isOn(state, 'mic') && media.micTrack() !== null, cam: isOn(state, 'cam') && media.outgoingTracks().video !== null, screen: state.screen,
  };
}
