// Device menu: the settings dialog, with the choice of camera, microphone and speaker. Its switches load when it is opened.

import { find } from './elements.js';

/**
 * @import { DeviceKind } from '../media/device-preferences.js'
 * @import { MediaState } from '../media/media.js'
 * @import { Translate } from '../locales/index.js'
 * @import { Attention } from './attention.js'
 * @import { SettingsSwitches } from './settings-switches.js'
 * @import { Actions } from './view.js'
 */

export class DeviceMenu {
  #translate;
  #remote;
  #settingsToggled;
  #loadSwitches;
  /** @type {SettingsSwitches | null} */
  #switches = null;
  /** @type {HTMLDialogElement} */
  #dialog;
  #speakerField;
  /** @type {Record<DeviceKind, HTMLSelectElement>} */
  #selects;
  #canSelectSpeaker;
  /** The speaker in use; null after a failure. @type {string | null} */
  #speaker = '';

  /**
   * @param {object} parts
   * @param {Document} parts.document
   * @param {Navigator} parts.navigator
   * @param {Translate} parts.translate
   * @param {Pick<Actions, 'media' | 'chooseSpeaker' | 'settingsToggled'>} parts.actions
   * @param {HTMLVideoElement} parts.remote plays through the selected speaker
   * @param {() => Promise<Attention>} parts.loadAttention
   */
  constructor({ document, navigator, translate, actions, remote, loadAttention }) {
    this.#translate = translate;
    this.#remote = remote;
    this.#settingsToggled = actions.settingsToggled;
    this.#loadSwitches = async () => {
      const [attention, { SettingsSwitches }] = await Promise.all([loadAttention(), import('./settings-switches.js')]);
      this.#switches ??= new SettingsSwitches({ document, translate, attention, media: actions.media, devices: navigator.mediaDevices });
    };
    const dialog = this.#dialog = find(document, '#settings');
    this.#speakerField = find(document, '#speakerField');
    this.#selects = {
      videoinput: find(document, '#pickCam'),
      audioinput: find(document, '#pickMic'),
      audiooutput: find(document, '#pickSpeaker'),
    };
    this.#canSelectSpeaker = typeof remote.setSinkId === 'function';
    const button = find(document, '#btnSpeaker');
    // Firefox lists no speaker until one was selected in its own dialog.
    button.hidden = !this.#canSelectSpeaker || !('selectAudioOutput' in (navigator.mediaDevices ?? {}));
    button.addEventListener('click', actions.chooseSpeaker);
    for (const kind of /** @type {const} */ (['videoinput', 'audioinput', 'audiooutput'])) {
      const select = this.#selects[kind];
      select.addEventListener('change', () => { actions.media.select(kind, select.value); });
    }
    dialog.addEventListener('close', () => actions.settingsToggled(false));
    // A tap beside the dialog closes it.
    dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
  }

  get isOpen() {
    return this.#dialog.open;
  }

  open() {
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#settingsToggled(true);
    // Where they cannot be loaded, the next opening tries again.
    if (!this.#switches) this.#loadSwitches().catch((error) => console.debug('settings', error));
  }

  close() {
    this.#dialog.close();
  }

  /** @param {MediaState} state */
  show(state) {
    this.#fill(state, 'videoinput');
    this.#fill(state, 'audioinput');
    this.#fill(state, 'audiooutput');
    const speakers = state.devices.filter((device) => device.kind === 'audiooutput' && device.deviceId);
    this.#speakerField.hidden = !speakers.length || !this.#canSelectSpeaker;
    const isPresent = speakers.some(({ deviceId }) => deviceId === state.selected.audiooutput);
    this.#setSpeaker(isPresent ? state.selected.audiooutput : '');
    this.#switches?.show();
  }

  /** @param {MediaState} state @param {DeviceKind} kind */
  #fill(state, kind) {
    const devices = state.devices.filter((device) => device.kind === kind && device.deviceId);
    const options = devices.map((device, i) => [device.deviceId, device.label || this.#translate('settings.nameless', { n: i + 1 })]);
    const shown = options.length ? options : [['', this.#translate('settings.none')]];
    const select = this.#selects[kind];
    if (JSON.stringify(shown) !== select.dataset.shown) {
      select.dataset.shown = JSON.stringify(shown);
      select.replaceChildren(...shown.map(([value, text]) => new Option(text, value)));
    }
    select.disabled = options.length === 0;
    if (options.some(([id]) => id === state.selected[kind])) select.value = state.selected[kind];
  }

  /** @param {string} speaker '' for the system's default */
  #setSpeaker(speaker) {
    if (!this.#canSelectSpeaker || this.#speaker === speaker) return;
    this.#speaker = speaker;
    this.#remote.setSinkId(speaker).catch(() => { if (this.#speaker === speaker) this.#speaker = null; });
  }
}
