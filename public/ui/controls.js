// Controls: the one table of the buttons of the call, with their icons, texts, shortcuts and actions.
//
// The buttons in the bar and in the settings, the shortcuts and the list of shortcuts come from this table. A new button is
// a row here, its texts in locales/*.js, and a shape in icons.js where no icon fits.

import { createElement, find, setFlag, setLabel } from './elements.js';

/**
 * @import { Translate } from '../locales/index.js'
 * @import { Actions, Model } from './view.js'
 *
 * @typedef {object} Panels what the page itself opens and closes
 * @property {() => void} openSettings
 * @property {() => void} openShortcuts
 * @property {() => void} toggleChat
 * @property {() => void} toggleStats
 * @property {() => void} toggleFullscreen
 * @property {() => void} togglePictureInPicture
 * @property {boolean} canFullscreen
 * @property {boolean} canPictureInPicture
 *
 * @typedef {{model: Model, actions: Actions, panels: Panels}} Context
 * @typedef {string | [key: string, values: Record<string, string | number>]} Text of the locale, by key
 *
 * @typedef {object} Control
 * @property {string} id `data-act` of its button
 * @property {'bar' | 'menu'} place in the bar, or in the settings of a call
 * @property {boolean} [inCall] whether the button is there only in a call, or only outside of one
 * @property {string} icon of icons.js
 * @property {Text | ((context: Context) => Text)} text name of the button
 * @property {string} [key] its shortcut, while single letters are on
 * @property {boolean} [keyOutsideCall] whether the shortcut also acts outside of a call
 * @property {string} [listedAs] text in the list of shortcuts, which has no row without it
 * @property {(context: Context) => boolean} [visible] always where it is missing
 * @property {(context: Context) => boolean} [off] drawn crossed out
 * @property {(context: Context) => boolean} [on] drawn highlighted
 * @property {(context: Context) => void} act
 * @property {Record<string, string>} [attributes] of the button
 */

/** @type {readonly Control[]} */
export const controls = [
  {
    id: 'mic', place: 'bar', icon: 'mic', key: 'M', keyOutsideCall: true, listedAs: 'settings.mic',
    text: ({ model: { media } }) => (media.mic ? 'bar.micOff' : 'bar.micOn'),
    off: ({ model: { media } }) => !media.mic || media.interrupted.mic,
    act: ({ actions }) => actions.toggle('mic'),
  },
  {
    id: 'cam', place: 'bar', icon: 'cam', key: 'V', keyOutsideCall: true, listedAs: 'settings.cam',
    text: ({ model: { media } }) => (media.cam ? 'bar.camOff' : 'bar.camOn'),
    off: ({ model: { media } }) => !media.cam || media.interrupted.cam,
    act: ({ actions }) => actions.toggle('cam'),
  },
  {
    id: 'flip', place: 'bar', icon: 'flip', text: 'bar.flip',
    visible: ({ model: { media } }) => media.canFlip && !media.screen,
    act: ({ actions }) => actions.media.flip(),
  },
  {
    id: 'share', place: 'bar', inCall: true, icon: 'share', key: 'S', listedAs: 'bar.share',
    text: ({ model: { media } }) => (media.screen ? 'bar.shareStop' : 'bar.share'),
    visible: ({ model: { media } }) => media.canShare,
    on: ({ model: { media } }) => media.screen,
    act: ({ actions }) => actions.toggle('screen'),
  },
  {
    id: 'settings', place: 'bar', inCall: false, icon: 'devices', text: 'settings.title',
    act: ({ panels }) => panels.openSettings(),
    attributes: { 'aria-haspopup': 'dialog' },
  },
  {
    id: 'chat', place: 'bar', inCall: true, icon: 'chat', key: 'C', listedAs: 'chat.title',
    text({ model: { chat } }) {
      const n = chat.unread();
      return n ? ['chat.new', { n }] : 'chat.title';
    },
    act: ({ panels }) => panels.toggleChat(),
    attributes: { 'aria-expanded': 'false', 'aria-controls': 'chat' },
  },
  {
    id: 'settings', place: 'bar', inCall: true, icon: 'more', text: 'bar.more',
    act: ({ panels }) => panels.openSettings(),
    attributes: { 'aria-haspopup': 'dialog' },
  },
  {
    id: 'leave', place: 'bar', icon: 'leave', text: 'bar.leave',
    act: ({ actions }) => actions.leave(),
    attributes: { id: 'btnLeave', class: 'round red' },
  },
  {
    id: 'numbers', place: 'menu', icon: 'numbers', text: 'settings.numbers', key: 'P', listedAs: 'settings.numbers',
    act: ({ panels }) => panels.toggleStats(),
  },
  {
    id: 'full', place: 'menu', icon: 'full', text: 'settings.full', key: 'F', keyOutsideCall: true, listedAs: 'settings.full',
    visible: ({ panels }) => panels.canFullscreen,
    act: ({ panels }) => panels.toggleFullscreen(),
  },
  {
    id: 'pip', place: 'menu', icon: 'pip', text: 'settings.pip',
    visible: ({ panels }) => panels.canPictureInPicture,
    act: ({ panels }) => panels.togglePictureInPicture(),
  },
  {
    id: 'keys', place: 'menu', icon: 'keys', text: 'keys.title', key: '?', keyOutsideCall: true,
    act: ({ panels }) => panels.openShortcuts(),
    attributes: { class: 'plain wide with-keyboard' },
  },
];

/** The buttons of the table. */
export class ControlButtons {
  #translate;
  /** @type {{control: Control, button: HTMLElement}[]} */
  #buttons;

  /**
   * @param {object} parts
   * @param {Document} parts.document
   * @param {Translate} parts.translate
   * @param {(control: Control) => void} parts.press
   */
  constructor({ document, translate, press }) {
    this.#translate = translate;
    const places = { bar: find(document, '.bar'), menu: find(document, '#settings .column') };
    this.#buttons = controls.map((control) => {
      const button = this.#create(document, control);
      button.addEventListener('click', () => press(control));
      places[control.place].append(button);
      return { control, button };
    });
  }

  /** @param {Document} document @param {Control} control */
  #create(document, { id, place, icon, inCall, text, attributes }) {
    const where = inCall === undefined ? '' : inCall ? ' in-call' : ' outside-call';
    const style = (place === 'bar' ? 'round' : 'plain wide') + where;
    const button = createElement(document, 'button', { type: 'button', class: style, 'data-act': id, 'data-icon': icon, ...attributes });
    if (place === 'menu') button.append(createElement(document, 'span', { 'data-word': String(text) }));
    return button;
  }

  /** @param {Context} context */
  show(context) {
    for (const { control, button } of this.#buttons) {
      button.hidden = control.visible ? !control.visible(context) : false;
      setFlag(button, 'data-off', control.off?.(context) ?? false);
      setFlag(button, 'data-on', control.on?.(context) ?? false);
      if (control.place === 'menu') continue;
      const text = typeof control.text === 'function' ? control.text(context) : control.text;
      setLabel(button, typeof text === 'string' ? this.#translate(text) : this.#translate(...text), control.key);
    }
  }
}
