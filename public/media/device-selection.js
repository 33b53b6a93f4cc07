// Device selection: which devices there are, which are in use, and switching to another one: the selected one, or the
// previous camera if that does not start.

/**
 * @import { DeviceKind, DevicePreferences, Selection } from './device-preferences.js'
 * @import { Kind, LocalTrack } from './local-track.js'
 * @import { MediaErrorCode } from './media-errors.js'
 *
 * @typedef {object} SelectionState
 * @property {MediaDeviceInfo[]} devices
 * @property {{audioinput: string, videoinput: string, audiooutput: string}} selected in use, or to be used
 * @property {boolean} canFlip between front and back camera
 * @property {boolean} mirrored whether the preview is
 *
 * @typedef {object} DeviceSelectionParts
 * @property {MediaDevices | undefined} devices
 * @property {DevicePreferences} preferences
 * @property {Record<Kind, LocalTrack>} tracks
 * @property {(error?: MediaErrorCode | null) => void} changed with an error to report, if any
 */

const INPUT = /** @type {const} */ ({ mic: 'audioinput', cam: 'videoinput' });
const KINDS = /** @type {const} */ (['mic', 'cam']);

export class DeviceSelection {
  /** @type {SelectionState} */
  state;
  /** @type {DeviceSelectionParts} */
  #parts;
  /** The selection of the last camera that ran. @type {Pick<Selection, 'videoinput' | 'facing'>} */
  #lastCamera;

  /** @param {DeviceSelectionParts} parts */
  constructor(parts) {
    this.#parts = parts;
    const { videoinput, facing, audiooutput } = parts.preferences.selected;
    this.#lastCamera = { videoinput, facing };
    this.state = { devices: [], selected: { audioinput: '', videoinput: '', audiooutput }, canFlip: false, mirrored: true };
  }

  /** Lists the devices again. */
  async refresh() {
    const { tracks, preferences: { selected }, changed } = this.#parts;
    const { state } = this;
    state.devices = await this.#enumerate();
    const facing = tracks.cam.track()?.getSettings().facingMode;
    for (const kind of KINDS) {
      const { [kind]: input } = INPUT;
      state.selected[input] = tracks[kind].track()?.getSettings().deviceId || selected[input] || state.selected[input];
    }
    state.selected.audiooutput = selected.audiooutput;
    state.canFlip = (facing === 'user' || facing === 'environment') && state.devices.filter((each) => each.kind === 'videoinput').length > 1;
    state.mirrored = facing !== 'environment';
    changed();
  }

  /** Whether the last list had a device of this kind. @param {Kind} kind */
  has(kind) {
    return this.state.devices.some((each) => each.kind === INPUT[kind]);
  }

  /** Switches to the devices selected at an earlier visit. Requested by id at once they could be missing, and fail both. */
  async restore() {
    const { tracks, preferences } = this.#parts;
    preferences.match(this.state.devices);
    await Promise.all(KINDS.map(async (kind) => {
      const track = tracks[kind].track();
      if (track && preferences.isOther(INPUT[kind], track, this.state.devices)) await tracks[kind].fetch();
    }));
  }

  /** @param {DeviceKind} kind @param {string} id */
  async select(kind, id) {
    if (kind === 'videoinput') return this.#switchCamera({ videoinput: id });
    this.#parts.preferences.selected[kind] = id;
    this.#save();
    await (kind === 'audioinput' ? this.#use('mic') : this.refresh());
  }

  async flip() {
    if (this.state.canFlip) await this.#switchCamera({ videoinput: '', facing: this.state.mirrored ? 'environment' : 'user' });
  }

  async #enumerate() {
    try {
      return await this.#parts.devices?.enumerateDevices() ?? [];
    } catch {
      return [];
    }
  }

  #save() {
    this.#parts.preferences.save(this.state.devices);
  }

  /** @param {Kind} kind */
  async #use(kind) {
    if (this.#parts.tracks[kind].isActive()) await this.#parts.tracks[kind].fetch();
    else await this.refresh();
  }

  /**
   * Falls back to the last camera that ran, and reports the error. Phones open one camera at a time: the old one is
   * released first.
   * @param {Partial<Selection>} next
   */
  async #switchCamera(next) {
    const { tracks: { cam }, preferences: { selected }, changed } = this.#parts;
    if (cam.track()) this.#lastCamera = { videoinput: selected.videoinput, facing: selected.facing };
    Object.assign(selected, next);
    this.#save();
    if (!cam.isActive() || cam.state().lost) return this.#use('cam');
    cam.release();
    this.state.selected.videoinput = selected.videoinput || this.state.selected.videoinput;
    changed();
    const { error } = await cam.fetch();
    if (!error) return;
    Object.assign(selected, this.#lastCamera);
    this.#save();
    const fallback = await cam.fetch();
    // Without either another camera was selected meanwhile.
    if (fallback.track || fallback.error) changed(error);
  }
}

/**
 * Opens the browser's own speaker picker where there is one: Firefox lists no speaker before.
 * @param {MediaDevices | undefined} devices
 * @returns {Promise<string | null>} id, or null if cancelled
 */
export async function pickSpeaker(devices) {
  const picked = await /** @type {any} */ (devices)?.selectAudioOutput?.().catch(() => null);
  return picked?.deviceId ?? null;
}
