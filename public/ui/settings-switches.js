// Settings switches: the parts of the device dialog that load when it is opened: the test of the speaker, the processing of
// sound and picture, sounds and notifications.

import { processingState, SOUND } from '../media/processing.js';
import { createSwitch, createText } from './attention.js';

/**
 * @import { Translate } from '../locales/index.js'
 * @import { Processing } from '../media/device-preferences.js'
 * @import { Media } from '../media/media.js'
 * @import { Attention } from './attention.js'
 */

/** @type {readonly Processing[]} */
const PICTURE = ['backgroundBlur', 'highResolution'];
/** @type {readonly Processing[]} */
const SOUND_SWITCHES = [...SOUND, 'music'];

export class SettingsSwitches {
  #document;
  #translate;
  #media;
  #supported;
  #attention;
  #soundPart;
  /** @type {Map<Processing, ReturnType<typeof createSwitch>>} */
  #switches = new Map();

  /**
   * @param {object} parts
   * @param {Document} parts.document
   * @param {Translate} parts.translate
   * @param {Pick<Media, 'processing' | 'setProcessing'>} parts.media
   * @param {MediaDevices | undefined} parts.devices
   * @param {Attention} parts.attention
   */
  constructor({ document, translate, media, devices, attention }) {
    this.#document = document;
    this.#translate = translate;
    this.#media = media;
    this.#supported = /** @type {Record<string, unknown>} */ (devices?.getSupportedConstraints?.() ?? {});
    this.#attention = attention;
    for (const name of [...PICTURE, ...SOUND_SWITCHES]) {
      this.#switches.set(name, createSwitch({ document, translate, key: `settings.${name}`, toggled: (on) => { media.setProcessing(name, on); } }));
    }
    const devicePart = document.querySelector('#pickCam')?.closest('.part');
    const elementOf = (/** @type {Processing} */ name) => this.#switches.get(name)?.element ?? '';
    this.#soundPart = this.#createPart('settings.sound', SOUND_SWITCHES.map(elementOf));
    devicePart?.after(this.#soundPart, this.#createPart('settings.attention', attention.createSwitches()));
    document.querySelector('#pickCam')?.after(...PICTURE.map(elementOf));
    document.querySelector('#btnSpeaker')?.after(...this.#createSpeakerTest());
    this.show();
  }

  /** Devices and settings of the system may have changed. */
  show() {
    const { preferred: music } = this.#media.processing('music');
    for (const [name, { element, setOn }] of this.#switches) {
      const on = processingState(name, { ...this.#media.processing(name), supported: this.#supported });
      element.hidden = on === null || (music === true && SOUND.some((each) => each === name));
      setOn(on === true);
    }
    this.#soundPart.hidden = SOUND_SWITCHES.every((name) => this.#switches.get(name)?.element.hidden);
  }

  /** @param {string} title @param {(Element | string)[]} children */
  #createPart(title, children) {
    const part = this.#document.createElement('section');
    const list = this.#document.createElement('div');
    part.className = 'part';
    list.append(...children);
    part.append(createText(this.#document, this.#translate, 'h3', title), list);
    return part;
  }

  #createSpeakerTest() {
    const button = this.#document.createElement('button');
    const words = createText(this.#document, this.#translate, 'span', 'settings.speakerTest');
    const failure = this.#document.createElement('p');
    const icon = this.#document.querySelector('#btnSpeaker svg')?.cloneNode(true);
    Object.assign(button, { type: 'button', id: 'btnSpeakerTest', className: 'plain wide' });
    Object.assign(failure, { id: 'speakerFailure', className: 'small' });
    failure.setAttribute('role', 'status');
    const say = (/** @type {string} */ key) => {
      words.dataset.word = key;
      words.textContent = this.#translate(key);
    };
    button.append(...(icon ? [icon] : []), words);
    button.addEventListener('click', async () => {
      if (button.dataset.playing) return;
      button.dataset.playing = 'true';
      failure.textContent = '';
      say('settings.speakerPlaying');
      const played = await this.#attention.chime.play('test', this.#attention.speaker);
      delete button.dataset.playing;
      say('settings.speakerTest');
      if (!played) failure.textContent = this.#translate('settings.speakerFailed');
    });
    return [button, failure];
  }
}
