// Verification panel: the verification code as four pictures in a badge, and with their words in the stats panel. That opens by
// itself where the check has failed. Loaded with the first call.
//
// What it shares with the page is passed in: a module of the lobby must not be loaded a second time.

/**
 * @import { Translate } from '../locales/index.js'
 * @import { Verification } from '../call/verification.js'
 * @import { announceInDialog, createElement, find, setHidden, setLabel, setText } from './elements.js'
 * @import { Model } from './view.js'
 *
 * @typedef {object} PagePart what the page passes in
 * @property {typeof announceInDialog} announceInDialog
 * @property {typeof createElement} createElement
 * @property {typeof find} find
 * @property {typeof setHidden} setHidden
 * @property {typeof setLabel} setLabel
 * @property {typeof setText} setText
 */

/**
 * The 64 pictures of the code, selected to look and sound different. Their order is part of the protocol and must not change;
 * `trust.pictures` has a word for each, in the same order.
 */
export const pictures = `
🐶 🐱 🐴 🐷 🐘 🐰 🐼 🐓
🐧 🐢 🐟 🐙 🦋 🐝 🐍 🦁
🌷 🌳 🌵 🍄 🌍 🌙 🌈 🔥
🍌 🍎 🍓 🌽 🍕 🎂 🥕 🍉
🤖 🎩 👓 🔧 🎅 👍 🌂 ⌛
⏰ 🎁 💡 📕 ✏ 📎 ✂ 🔒
🔑 🔨 📞 🏁 🚂 🚲 ⛵ 🚀
🏆 ⚽ 🎸 🎺 🔔 ⚓ 🎈 🏠`.trim().split(/\s/);

export class VerificationPanel {
  #document;
  #translate;
  #open;
  #page;
  #badge;
  #section;
  #list;
  /** @type {Verification | null} */
  #shown = null;
  /** The failed check for which the panel was opened. @type {Verification | null} */
  #opened = null;

  /** @param {{document: Document, translate: Translate, open: () => void, page: PagePart}} parts `open` opens the stats panel */
  constructor({ document, translate, open, page }) {
    this.#document = document;
    this.#translate = translate;
    this.#open = open;
    this.#page = page;
    this.#badge = page.find(document, '#trust');
    this.#section = page.find(document, '#trustPart');
    this.#list = page.find(document, '#trustCode');
  }

  /** @param {Model} model */
  show({ status, session }) {
    const verification = status === 'connected' ? session.verification : null;
    if (verification !== this.#shown) this.#draw(verification);
    if (verification?.state !== 'mismatch' || verification === this.#opened) return;
    // Neither a text field nor a dialog loses the focus.
    if (this.#document.querySelector('dialog[open], :is(input, textarea):focus')) return;
    this.#opened = verification;
    this.#open();
    this.#section.scrollIntoView({ block: 'nearest' });
  }

  /** @param {Verification | null} verification */
  #draw(verification) {
    this.#shown = verification;
    const translate = this.#translate;
    const { announceInDialog, find, setHidden, setLabel, setText } = this.#page;
    const text = (/** @type {string} */ id) => find(this.#document, id);
    this.#section.hidden = verification === null;
    setHidden(this.#badge, verification === null);
    // An alert: screen readers announce a mismatch at once, whatever has the focus.
    const alert = verification?.state === 'mismatch' ? `${translate('trust.failed')}: ${translate('trust.mismatch')}` : '';
    if (setText(text('#trustSaid'), alert)) announceInDialog(this.#document, alert);
    if (!verification) return void delete this.#badge.dataset.state;
    this.#badge.dataset.state = verification.state;
    const words = translate('trust.pictures').split(', ');
    const code = (verification.state === 'same' ? verification.code : []).map((number) => ({
      // The variation selector asks for the colored form of pictures that also have a plain one.
      picture: `${pictures[number]}\uFE0F`, word: words[number],
    }));
    this.#list.replaceChildren(...code.map((each) => this.#item(each)));
    this.#list.hidden = code.length === 0;
    setText(text('#trustWord'), code.map(({ picture }) => picture).join(' ') || translate('trust.failed'));
    const spoken = code.map(({ word }) => word).join(', ');
    setLabel(this.#badge, code.length ? translate('trust.label', { words: spoken }) : translate('trust.failed'));
    setText(text('#trustHow'), translate(code.length ? 'trust.how' : 'trust.mismatch'));
    text('#trustLimit').hidden = code.length === 0;
  }

  /** @param {{picture: string, word: string}} of */
  #item({ picture, word }) {
    const { createElement } = this.#page;
    const item = createElement(this.#document, 'li');
    item.append(createElement(this.#document, 'span', { 'aria-hidden': 'true' }, picture), createElement(this.#document, 'span', {}, word));
    return item;
  }
}
