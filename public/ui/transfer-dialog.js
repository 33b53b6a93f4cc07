// Transfer dialog: the code with which another device takes our place in the call. Loaded when it is opened.
//
// The code is drawn only while the dialog is open and the code is valid. What it uses of the page comes in as arguments: a
// module of the lobby must not be loaded a second time.

/**
 * @import { Translate } from '../locales/index.js'
 * @import { Actions, Model } from './view.js'
 *
 * @typedef {object} TransferDialogParts
 * @property {Document} document
 * @property {Translate} translate
 * @property {Actions} actions
 * @property {(document: Document, name: string, attributes?: Record<string, string>, text?: string) => HTMLElement} createElement
 * @property {(element: Element, text: string) => void} setText
 * @property {(text: string) => void} announce to screen readers
 * @property {(code: Element, text: string) => Promise<void>} drawCode
 * @property {Pick<Clipboard, 'writeText'>} [clipboard]
 */

const TICK_MS = 500;
const COPIED_MS = 2000;

export class TransferDialog {
  #parts;
  /** @type {HTMLDialogElement} */
  #dialog;
  #code;
  #status;
  #time;
  #copy;
  /** The link itself, where the browser does not let the page copy it. @type {HTMLInputElement} */
  #link;
  /** @type {HTMLButtonElement} */
  #again;
  /** What the code shows. @type {string | null} */
  #drawn = null;
  /** When the code expires, in ms of the monotonic clock. */
  #until = 0;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /** @param {TransferDialogParts} parts */
  constructor(parts) {
    this.#parts = parts;
    const { document, translate, actions, createElement } = parts;
    const create = (/** @type {string} */ name, /** @type {Record<string, string>} */ attributes, /** @type {string} */ word) =>
      createElement(document, name, { ...attributes, ...(word && { 'data-word': word }) }, word && translate(word));
    this.#dialog = /** @type {HTMLDialogElement} */ (create('dialog', { id: 'transfer', 'aria-labelledby': 'transferTitle' }, ''));
    this.#code = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    for (const [name, value] of [['id', 'transferCode'], ['role', 'img'], ['data-label', 'transfer.code'], ['aria-label', translate('transfer.code')]]) this.#code.setAttribute(name, value);
    this.#status = create('p', { id: 'transferStatus', role: 'status' }, '');
    this.#time = create('p', { id: 'transferTime', class: 'small' }, '');
    this.#again = /** @type {HTMLButtonElement} */ (create('button', { type: 'button', class: 'plain wide', id: 'btnTransferAgain' }, 'transfer.again'));
    this.#copy = create('button', { type: 'button', class: 'plain wide', id: 'btnTransferCopy' }, 'waiting.copy');
    this.#link = /** @type {HTMLInputElement} */ (create('input', { id: 'transferLink', readonly: '', 'data-label': 'transfer.link', 'aria-label': translate('transfer.link') }, ''));
    const close = create('button', { type: 'button', class: 'plain wide', id: 'btnTransferClose' }, 'transfer.close');
    this.#dialog.append(create('p', { class: 'visually-hidden announcer', 'aria-live': 'polite' }, ''), create('h2', { id: 'transferTitle' }, 'transfer.title'), create('p', {}, 'transfer.how'),
      this.#code, this.#status, this.#time, this.#link, this.#copy, this.#again, close);
    this.#link.hidden = true;
    document.body.append(this.#dialog);
    this.#copy.addEventListener('click', () => this.#copyLink());
    this.#again.addEventListener('click', () => { if (this.#again.getAttribute('aria-disabled') !== 'true') actions.requestTransfer(); });
    close.addEventListener('click', () => this.#dialog.close());
    this.#dialog.addEventListener('close', () => {
      clearInterval(this.#timer);
      actions.closeTransfer();
    });
  }

  /** @param {Model} model */
  show({ session: { screen }, transfer, media, link }) {
    const isWanted = transfer !== null && screen === 'call' && !media.screen;
    this.#draw(isWanted && transfer.token ? `${link}#t=${transfer.token}` : null);
    if (!isWanted) {
      if (this.#dialog.open) this.#dialog.close();
      return;
    }
    this.#until = transfer.until;
    // Not disabled, which would take the focus away.
    this.#copy.setAttribute('aria-disabled', String(this.#drawn === null));
    this.#again.setAttribute('aria-disabled', String(transfer.phase === 'requested'));
    this.#parts.setText(this.#status, transfer.phase === 'valid' ? '' : this.#parts.translate(`transfer.${transfer.phase}`));
    this.#showTime();
    if (this.#dialog.open) return;
    this.#dialog.showModal();
    this.#timer = setInterval(() => this.#showTime(), TICK_MS);
  }

  #showTime() {
    const seconds = Math.max(0, Math.ceil((this.#until - performance.now()) / 1000));
    this.#parts.setText(this.#time, this.#drawn ? this.#parts.translate('transfer.time', { n: seconds }) : '');
  }

  async #copyLink() {
    const { translate, setText, announce, clipboard = navigator.clipboard } = this.#parts;
    const text = this.#drawn;
    if (text === null) return;
    try {
      await clipboard.writeText(text);
      setText(this.#copy, translate('waiting.copied'));
      announce(translate('waiting.copied'));
      setTimeout(() => setText(this.#copy, translate('waiting.copy')), COPIED_MS);
    } catch {
      if (this.#drawn !== text) return;
      Object.assign(this.#link, { hidden: false, value: text });
      this.#link.select();
    }
  }

  /** @param {string | null} text */
  #draw(text) {
    if (text === this.#drawn) return;
    this.#drawn = text;
    Object.assign(this.#link, { hidden: true, value: '' });
    this.#code.replaceChildren();
    this.#code.toggleAttribute('data-drawn', text !== null);
    if (text === null) return;
    this.#parts.drawCode(this.#code, text).then(() => {
      // Another code, or none, is wanted meanwhile.
      if (this.#drawn !== text) this.#code.replaceChildren();
    }, () => { if (this.#drawn === text) this.#parts.actions.transferFailed(); });
  }
}
