// Controls: the one table of the buttons of the call, with their icons, texts, shortcuts and actions.
//
// The buttons in the bar and in the settings, the shortcuts and the list of shortcuts come from this table. A new button is
// a row here, a shape in `icons` where none fits, and its texts in locales/*.js.

import { isOn } from '../media/mute-state.js';
import { createElement, createSvg, find, setFlag, setLabel, setText } from './elements.js';

/**
 * @import { Translate } from '../locales/index.js'
 * @import { SelfView } from './self-view.js'
 * @import { Chord } from './shortcuts.js'
 * @import { Videos } from './videos.js'
 * @import { Actions, Model } from './view.js'
 *
 * @typedef {object} Panels what the page itself opens and closes
 * @property {() => void} openSettings
 * @property {() => void} openShortcuts
 * @property {() => void} toggleChat
 * @property {() => void} toggleStats
 * @property {() => void} toggleFullscreen
 * @property {() => void} togglePictureInPicture
 * @property {() => void} openTransfer
 * @property {() => void} toggleFit
 * @property {() => void} toggleSelf
 * @property {() => void} moveSelf to the next corner
 * @property {Pick<Videos, 'isWhole' | 'isFullscreen' | 'isPictureInPicture' | 'canFullscreen' | 'canPictureInPicture'>} videos
 * @property {Pick<SelfView, 'isHidden'>} selfView
 *
 * @typedef {{model: Model, actions: Actions, panels: Panels}} Context
 * @typedef {string | [key: string, values: Record<string, string | number>]} Text of the locale, by key
 *
 * @typedef {object} Control
 * @property {string} id `data-act` of its button
 * @property {'bar' | 'menu' | 'picture'} place in the bar, or in the settings of a call: about the call, or about the picture
 * @property {boolean} [inCall] whether the button is there only in a call, or only outside of one
 * @property {string} icon key in `icons`
 * @property {Text | ((context: Context) => Text)} text name of the button
 * @property {string} [key] its shortcut, while single letters are on
 * @property {string} [chord] a letter that acts with Ctrl, or Command on a Mac, until the call has ended: also in text and dialogs
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
    id: 'mic', place: 'bar', icon: 'mic', key: 'M', chord: 'D', keyOutsideCall: true, listedAs: 'settings.mic',
    text: ({ model: { media } }) => (isOn(media, 'mic') ? 'bar.micOff' : 'bar.micOn'),
    off: ({ model: { media } }) => !isOn(media, 'mic'),
    act: ({ actions }) => actions.toggle('mic'),
  },
  {
    id: 'cam', place: 'bar', icon: 'cam', key: 'V', chord: 'E', keyOutsideCall: true, listedAs: 'settings.cam',
    text: ({ model: { media } }) => (isOn(media, 'cam') ? 'bar.camOff' : 'bar.camOn'),
    off: ({ model: { media } }) => !isOn(media, 'cam'),
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
    visible: ({ model: { chat } }) => chat.isAvailable,
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
    id: 'fit', place: 'picture', icon: 'fit',
    text: ({ panels }) => (panels.videos.isWhole ? 'settings.fill' : 'settings.whole'),
    act: ({ panels }) => panels.toggleFit(),
  },
  {
    id: 'self', place: 'picture', icon: 'person',
    text: ({ panels }) => (panels.selfView.isHidden ? 'self.show' : 'self.hide'),
    act: ({ panels }) => panels.toggleSelf(),
  },
  {
    id: 'move', place: 'picture', icon: 'corner', text: 'self.move',
    act: ({ panels }) => panels.moveSelf(),
  },
  {
    id: 'full', place: 'picture', icon: 'full', key: 'F', keyOutsideCall: true, listedAs: 'settings.full',
    text: ({ panels }) => (panels.videos.isFullscreen ? 'settings.fullExit' : 'settings.full'),
    visible: ({ panels }) => panels.videos.canFullscreen,
    act: ({ panels }) => panels.toggleFullscreen(),
  },
  {
    id: 'pip', place: 'picture', icon: 'pip',
    text: ({ panels }) => (panels.videos.isPictureInPicture ? 'settings.pipExit' : 'settings.pip'),
    visible: ({ panels }) => panels.videos.canPictureInPicture,
    act: ({ panels }) => panels.togglePictureInPicture(),
  },
  {
    id: 'transfer', place: 'menu', icon: 'phone', text: 'transfer.title',
    // The code must not be seen by those who see the screen.
    visible: ({ model: { media } }) => !media.screen,
    act: ({ panels }) => panels.openTransfer(),
    attributes: { 'aria-haspopup': 'dialog' },
  },
  {
    id: 'keys', place: 'menu', icon: 'keys', text: 'keys.title', key: '?', keyOutsideCall: true, listedAs: 'keys.title',
    act: ({ panels }) => panels.openShortcuts(),
    attributes: { class: 'item with-keyboard' },
  },
];

/** The buttons of the table. */
export class ControlButtons {
  #document;
  #translate;
  #chordOf;
  #press;
  /** @type {{control: Control, button: HTMLElement, words: HTMLElement | null}[]} */
  #buttons = [];

  /**
   * @param {object} parts
   * @param {Document} parts.document
   * @param {Translate} parts.translate
   * @param {(letter: string | undefined) => Chord | undefined} parts.chordOf
   * @param {(control: Control) => void} parts.press
   */
  constructor({ document, translate, chordOf, press }) {
    this.#document = document;
    this.#translate = translate;
    this.#chordOf = chordOf;
    this.#press = press;
  }

  /** Creates the buttons of this place. @param {Control['place']} place */
  create(place) {
    const parent = find(this.#document, { bar: '.bar', menu: '#menuCall', picture: '#menuPicture' }[place]);
    for (const control of controls.filter((each) => each.place === place)) {
      const button = this.#create(this.#document, control);
      const words = place === 'bar' ? null : createElement(this.#document, 'span');
      if (words) button.append(words);
      button.addEventListener('click', () => this.#press(control));
      parent.append(button);
      this.#buttons.push({ control, button, words });
    }
  }

  /** @param {Document} document @param {Control} control */
  #create(document, { id, place, icon, inCall, attributes }) {
    const where = inCall === undefined ? '' : inCall ? ' in-call' : ' outside-call';
    const style = (place === 'bar' ? 'round' : 'item') + where;
    return createElement(document, 'button', { type: 'button', class: style, 'data-act': id, 'data-icon': icon, ...attributes });
  }

  /** @param {Context} context */
  show(context) {
    for (const { control, button, words } of this.#buttons) {
      button.hidden = control.visible ? !control.visible(context) : false;
      setFlag(button, 'data-off', control.off?.(context) ?? false);
      setFlag(button, 'data-on', control.on?.(context) ?? false);
      const key = typeof control.text === 'function' ? control.text(context) : control.text;
      const text = typeof key === 'string' ? this.#translate(key) : this.#translate(...key);
      if (words) setText(words, text);
      else setLabel(button, text, control.key, this.#chordOf(control.chord));
    }
  }
}

/**
 * The icons of this page: path data on a grid of 24, filled or stroked.
 * @type {Record<string, {fill?: string, lines?: string}>}
 */
export const icons = {
  mic: {
    fill: 'M12 2.5a3.5 3.5 0 0 0-3.5 3.5v5.5a3.5 3.5 0 0 0 7 0V6A3.5 3.5 0 0 0 12 2.5z',
    lines: 'M5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3.2',
  },
  cam: { fill: 'M4.5 6h8.8A2.2 2.2 0 0 1 15.500 8.200v7.600A2.2 2.2 0 0 1 13.300 18H4.500A2.200 2.200 0 0 1 2.300 15.800V8.200A2.200 2.200 0 0 1 4.500 6zM16.800 10.600l3.700-2.700a.75.75 0 0 1 1.200.6v7a.75.75 0 0 1-1.200.6l-3.700-2.700z' },
  flip: { lines: 'M4 9.500A8.200 8.200 0 0 1 18.500 7M18.800 3v4.300h-4.300M20 14.500A8.200 8.200 0 0 1 5.500 17M5.200 21v-4.300h4.300' },
  share: { lines: 'M3 5.500h18v11.500H3zM8.500 20.500h7M12 14V8.500M9.300 11l2.700-2.700 2.700 2.700' },
  more: { fill: 'M5.500 10.200a1.800 1.800 0 1 1 0 3.600 1.800 1.800 0 0 1 0-3.600zM12 10.200a1.800 1.800 0 1 1 0 3.600 1.800 1.800 0 0 1 0-3.600zM18.500 10.200a1.800 1.800 0 1 1 0 3.600 1.800 1.800 0 0 1 0-3.600z' },
  leave: { fill: 'M12 9c-3.700 0-6.900 1-8.900 2.700-.9.8-1.100 2.100-.6 3.200l.6 1.400c.3.700 1.100 1.100 1.800.9l3-.9c.7-.2 1.100-.8 1.100-1.500v-1.700c1.900-.5 4.100-.5 6 0v1.700c0 .7.400 1.300 1.100 1.500l3 .9c.7.200 1.500-.2 1.800-.9l.6-1.400c.5-1.100.3-2.400-.6-3.200C18.900 10 15.700 9 12 9z' },
  chat: { fill: 'M4.500 4h15A2.500 2.500 0 0 1 22 6.500V15a2.500 2.500 0 0 1-2.500 2.500H11.500l-4.700 4a.7.7 0 0 1-1.150-.550V17.500H4.500A2.500 2.500 0 0 1 2 15V6.500A2.500 2.500 0 0 1 4.500 4z' },
  plane: { fill: 'M3.500 20.300v-6.100L12 12 3.500 9.800V3.700L21.500 12z' },
  keys: { lines: 'M3 6h18v12.500H3zM8 15h8M7 10.500h.1M10.500 10.500h.1M14 10.500h.1M17.200 10.500h.1' },
  copy: { lines: 'M9 9h10.500v11.500H9zM15 9V4H4.500v11.500H9' },
  send: { lines: 'M12 15V3.500M8 7l4-3.800L16 7M6 11H4.800v9.500h14.400V11H18' },
  devices: { lines: 'M3.500 7.500h9M17.500 7.500h3M3.500 16.500h3M11.500 16.500h9M15 5v5M9 14v5' },
  plus: { lines: 'M12 5v14M5 12h14' },
  sound: { fill: 'M3.500 9.500v5h3.700l4.800 4V5.500l-4.800 4z', lines: 'M15.500 9a4.200 4.200 0 0 1 0 6M18 6.300a8 8 0 0 1 0 11.400' },
  full: { lines: 'M4.500 9V4.500H9M15 4.500h4.500V9M19.500 15v4.500H15M9 19.500H4.500V15' },
  fit: { lines: 'M3 6h18v12H3zM9 12H6M7.5 10.200L5.700 12l1.800 1.800M15 12h3M16.500 10.200l1.800 1.800-1.800 1.800' },
  corner: { lines: 'M3 5h18v14.500H3zM6.500 11.500v-3h4M13.500 16h4v-3' },
  pip: { fill: 'M12.500 12h6.500v5h-6.500z', lines: 'M3 5h18v14.500H3z' },
  numbers: { lines: 'M3.500 18.500l5-6.500 4 3.500 8-9.500' },
  phone: { lines: 'M7 2.500h10v19H7zM10.500 18.300h3' },
  person: { fill: 'M12 4a4.200 4.200 0 1 1 0 8.400A4.200 4.200 0 0 1 12 4zM4 20c.4-3.900 3.600-6.200 8-6.200s7.600 2.300 8 6.200z' },
  close: { lines: 'M6 6l12 12M18 6L6 18' },
};

/** Drawn over the icon of something that is off: a gap in the color of the background, and a line in it. */
const SLASH = 'M4 3.500L20.500 20';

/** Draws the icon that `data-icon` names into each element in `root` that has none yet. @param {ParentNode} root */
export function drawIcons(root) {
  for (const element of root.querySelectorAll('[data-icon]')) {
    if (element.firstElementChild?.matches('.icon')) continue;
    const { ownerDocument: document } = element;
    const { fill, lines } = icons[element.getAttribute('data-icon') ?? ''] ?? {};
    const icon = createSvg(document, 'svg', { class: 'icon', viewBox: '0 0 24 24', 'aria-hidden': 'true' });
    if (fill) icon.append(createSvg(document, 'path', { class: 'fill', d: fill }));
    if (lines) icon.append(createSvg(document, 'path', { class: 'lines', d: lines }));
    icon.append(createSvg(document, 'path', { class: 'gap', d: SLASH }), createSvg(document, 'path', { class: 'slash', d: SLASH }));
    element.prepend(icon);
  }
}
