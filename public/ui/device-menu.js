// The device sheet: which camera, which microphone, which speaker.

import { find } from './elements.js';

/**
 * @typedef {import('../media/media.js').MediaState} MediaState
 */

/**
 * @param {object} parts
 * @param {Document} parts.document
 * @param {Navigator} parts.navigator
 * @param {import('../locales/index.js').Say} parts.say
 * @param {Pick<import('./view.js').Actions, 'choose' | 'askSpeaker' | 'listening'>} parts.actions
 * @param {HTMLVideoElement} parts.remote where a chosen speaker plays
 * @returns {{open: () => void, close: () => void, isOpen: () => boolean, show: (state: MediaState) => void}}
 */
export function makeDeviceSheet({ document, navigator, say, actions, remote }) {
  /** @type {HTMLDialogElement} */
  const sheet = find(document, '#settings');
  /** @type {Record<string, HTMLSelectElement>} */
  const picks = {
    videoinput: find(document, '#pickCam'),
    audioinput: find(document, '#pickMic'),
    audiooutput: find(document, '#pickSpeaker'),
  };

  const canChooseSpeaker = typeof remote.setSinkId === 'function';
  /** @type {string | null} */
  let playing = '';
  const another = find(document, '#btnSpeaker');
  // Firefox lists no speaker until it has asked for one itself.
  another.hidden = !canChooseSpeaker || !('selectAudioOutput' in (navigator.mediaDevices ?? {}));
  another.addEventListener('click', actions.askSpeaker);
  for (const [kind, pick] of Object.entries(picks)) {
    pick.addEventListener('change', () => { actions.choose(/** @type {import('../media/device-preferences.js').DeviceKind} */ (kind), pick.value); });
  }
  sheet.addEventListener('close', () => actions.listening(false));
  // A tap beside the sheet closes it.
  sheet.addEventListener('click', (event) => { if (event.target === sheet) sheet.close(); });

  /** @param {MediaState} state @param {keyof typeof picks} kind @param {string} chosen */
  function fill(state, kind, chosen) {
    const devices = state.devices.filter((device) => device.kind === kind && device.deviceId);
    const wanted = devices.map((device, i) => [device.deviceId, device.label || say('settings.nameless', { n: i + 1 })]);
    const shown = wanted.length ? wanted : [['', say('settings.none')]];
    const pick = picks[kind];
    if (JSON.stringify(shown) !== pick.dataset.shown) {
      pick.dataset.shown = JSON.stringify(shown);
      pick.replaceChildren(...shown.map(([value, text]) => new Option(text, value)));
    }
    pick.disabled = wanted.length === 0;
    if (wanted.some(([id]) => id === chosen)) pick.value = chosen;
  }

  /** Through this speaker; the system's own where the chosen one is gone.
   *  @param {string} speaker */
  function play(speaker) {
    if (!canChooseSpeaker || playing === speaker) return;
    playing = speaker;
    remote.setSinkId(speaker).catch(() => { if (playing === speaker) playing = null; });
  }

  return {
    open() {
      if (!sheet.open) sheet.showModal();
      actions.listening(true);
    },
    close: () => sheet.close(),
    isOpen: () => sheet.open,
    show(state) {
      fill(state, 'videoinput', state.selected.videoinput);
      fill(state, 'audioinput', state.selected.audioinput);
      fill(state, 'audiooutput', state.selected.audiooutput);
      const speakers = state.devices.filter((device) => device.kind === 'audiooutput' && device.deviceId);
      find(document, '#speakerField').hidden = !speakers.length || !canChooseSpeaker;
      play(speakers.some(({ deviceId }) => deviceId === state.selected.audiooutput) ? state.selected.audiooutput : '');
    },
  };
}
