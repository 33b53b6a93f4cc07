// The device sheet: which camera, which microphone, which speaker.

import { find } from './view-parts.js';

/**
 * @typedef {import('./media.js').MediaState} MediaState
 */

/**
 * @param {object} parts
 * @param {Document} parts.document
 * @param {import('./words.js').Say} parts.say
 * @param {(kind: 'audioinput' | 'videoinput', id: string) => void} parts.choose
 * @param {HTMLVideoElement} parts.remote where a chosen speaker plays
 * @returns {{open: () => void, close: () => void, isOpen: () => boolean, show: (state: MediaState) => void}}
 */
export function makeDeviceSheet({ document, say, choose, remote }) {
  /** @type {HTMLDialogElement} */
  const sheet = find(document, '#settings');
  /** @type {Record<string, HTMLSelectElement>} */
  const picks = {
    videoinput: find(document, '#pickCam'),
    audioinput: find(document, '#pickMic'),
    audiooutput: find(document, '#pickSpeaker'),
  };

  picks.videoinput.addEventListener('change', () => choose('videoinput', picks.videoinput.value));
  picks.audioinput.addEventListener('change', () => choose('audioinput', picks.audioinput.value));
  picks.audiooutput.addEventListener('change', () => {
    remote.setSinkId?.(picks.audiooutput.value).catch(() => {});
  });
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

  return {
    open() { if (!sheet.open) sheet.showModal(); },
    close: () => sheet.close(),
    isOpen: () => sheet.open,
    show(state) {
      fill(state, 'videoinput', state.chosen.videoinput);
      fill(state, 'audioinput', state.chosen.audioinput);
      fill(state, 'audiooutput', picks.audiooutput.value);
      const speakers = state.devices.some((device) => device.kind === 'audiooutput' && device.deviceId);
      find(document, '#speakerField').hidden = !speakers || typeof remote.setSinkId !== 'function';
    },
  };
}
