// Switches: microphone, camera and screen as the person sets them: pressed, remembered over a reload, and told to the
// other side.

const KEPT = 'webrtc-box.switches';

/**
 * @typedef {import('./media.js').Media} Media
 * @typedef {object} Switches
 * @property {(what: 'mic' | 'cam' | 'screen') => Promise<void>} toggle
 * @property {() => import('./media.js').Wanted} kept as they were before a reload: nobody is put on the air by one
 */

/**
 * @param {object} parts
 * @param {Pick<Media, 'state' | 'wanted' | 'setMic' | 'setCam' | 'setScreen'>} parts.media
 * @param {Pick<Storage, 'getItem' | 'setItem'>} parts.storage
 * @param {() => void} parts.refused what the person has just asked for is not to be had, maybe for the same reason as
 *   the last time: a button that says nothing seems dead
 * @returns {Switches}
 */
export function makeSwitches({ media, storage, refused }) {
  const press = { mic: media.setMic, cam: media.setCam, screen: media.setScreen };

  return {
    async toggle(what) {
      const answer = press[what](!media.state[what]);
      storage.setItem(KEPT, JSON.stringify(media.wanted()));
      if (await answer) refused();
    },
    kept() {
      try {
        const { mic, cam } = JSON.parse(storage.getItem(KEPT) ?? '{}');
        return { mic: mic !== false, cam: cam !== false };
      } catch {
        return { mic: true, cam: true };
      }
    },
  };
}

/**
 * What the other side is to believe: a switch that is on while nothing can be sent is off for them.
 * @param {Pick<Media, 'state' | 'voice' | 'outgoing'>} media
 */
export function heardAndSeen({ state, voice, outgoing }) {
  const { mic, cam, screen, held } = state;
  return { mic: mic && !held.mic && voice() !== null, cam: cam && !held.cam && outgoing().video !== null, screen };
}
