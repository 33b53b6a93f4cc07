// Choosing: which devices there are and which of them are in use, and having another one: the one that was chosen
// last, and where that camera will not start, the one before.

/** What microphone and camera are called in the browser's list. */
const INPUT = /** @type {const} */ ({ mic: 'audioinput', cam: 'videoinput' });

/**
 * @typedef {import('./local-track.js').Kind} Kind
 *
 * @typedef {object} ChoosingState
 * @property {MediaDeviceInfo[]} devices
 * @property {{audioinput: string, videoinput: string, audiooutput: string}} chosen in use, or to be used
 * @property {boolean} canFlip between the camera in front and the one at the back
 * @property {boolean} mirrored whether the mirror is one
 *
 * @typedef {object} Choosing
 * @property {ChoosingState} state
 * @property {() => Promise<void>} list reads anew which devices there are
 * @property {(kind: Kind) => boolean} has whether one of this kind was there then
 * @property {() => Promise<void>} correct has what was chosen at an earlier visit, where something else came
 * @property {(kind: import('./device-preferences.js').DeviceKind, id: string) => Promise<void>} choose
 * @property {() => Promise<void>} flip
 */

/**
 * @param {object} parts
 * @param {MediaDevices | undefined} parts.devices
 * @param {import('./device-preferences.js').Kept} parts.kept
 * @param {Record<Kind, import('./local-track.js').Own>} parts.own
 * @param {(news?: import('./media-errors.js').MediaCode | null) => void} parts.changed with what is to be told, if anything
 * @returns {Choosing}
 */
export function makeChoosing({ devices, kept: { chosen, keep, match, isOther }, own, changed }) {
  /** What was chosen when a camera ran last. */
  let ran = { videoinput: chosen.videoinput, facing: chosen.facing };
  /** @type {ChoosingState} */
  const state = { devices: [], chosen: { audioinput: '', videoinput: '', audiooutput: chosen.audiooutput }, canFlip: false, mirrored: true };

  async function listed() {
    try {
      return await devices?.enumerateDevices() ?? [];
    } catch {
      return [];
    }
  }

  async function list() {
    state.devices = await listed();
    const facing = own.cam.track()?.getSettings().facingMode;
    for (const kind of /** @type {const} */ (['mic', 'cam'])) {
      const { [kind]: input } = INPUT;
      state.chosen[input] = own[kind].track()?.getSettings().deviceId || chosen[input] || state.chosen[input];
    }
    state.chosen.audiooutput = chosen.audiooutput;
    state.canFlip = (facing === 'user' || facing === 'environment') && state.devices.filter((each) => each.kind === 'videoinput').length > 1;
    state.mirrored = facing !== 'environment';
    changed();
  }

  /** What is chosen is had at once where the one before runs, is being fetched or is gone. @param {Kind} kind */
  async function have(kind) {
    if (own[kind].sought()) await own[kind].fetch();
    else await list();
  }

  /** Another camera by this wish; where it will not come, the one that ran before, and the trouble is told.
   *  Phones open one camera at a time: the old one goes before the new one comes.
   *  @param {Partial<import('./device-preferences.js').Chosen>} next */
  async function changeCamera(next) {
    if (own.cam.track()) ran = { videoinput: chosen.videoinput, facing: chosen.facing };
    Object.assign(chosen, next);
    keep(state.devices);
    if (!own.cam.sought() || own.cam.state().lost) return have('cam');
    own.cam.letGo();
    state.chosen.videoinput = chosen.videoinput || state.chosen.videoinput;
    changed();
    const { trouble } = await own.cam.fetch();
    if (!trouble) return;
    Object.assign(chosen, ran);
    keep(state.devices);
    const got = await own.cam.fetch();
    // Neither: something else was chosen in the meantime.
    if (got.track || got.trouble) changed(trouble);
  }

  return {
    state,
    list,
    has: (kind) => state.devices.some((each) => each.kind === INPUT[kind]),
    /** They may have other names for the browser today; a missing one is no reason to lose both. */
    async correct() {
      match(state.devices);
      await Promise.all(/** @type {const} */ (['mic', 'cam']).map(async (kind) => {
        const track = own[kind].track();
        if (track && isOther(INPUT[kind], track, state.devices)) await own[kind].fetch();
      }));
    },
    async choose(kind, id) {
      if (kind === 'videoinput') return changeCamera({ videoinput: id });
      chosen[kind] = id;
      keep(state.devices);
      await (kind === 'audioinput' ? have('mic') : list());
    },
    async flip() {
      if (state.canFlip) await changeCamera({ videoinput: '', facing: state.mirrored ? 'environment' : 'user' });
    },
  };
}
