// Invite link: the link on the waiting screen, to copy, to share and as a QR code.

import { nextTask } from '../lib/clock.js';
import { announce, createSvg, find, setText } from './elements.js';

/**
 * @import { Clock } from '../lib/clock.js'
 * @import { Translate } from '../locales/index.js'
 */

const COPIED_MS = 2000;
/** Light modules around the code, so that scanners find it. */
const QUIET_ZONE = 2;

export class InviteLink {
  #document;
  #translate;
  /** @type {HTMLInputElement} */
  #field;
  #code;
  #figure;

  /**
   * @param {object} parts
   * @param {Document} parts.document
   * @param {Translate} parts.translate
   * @param {Clock} parts.clock
   * @param {Navigator} parts.navigator
   */
  constructor({ document, translate, clock, navigator }) {
    this.#document = document;
    this.#translate = translate;
    const field = this.#field = find(document, '#link');
    this.#code = find(document, '#qr');
    this.#figure = find(document, '.qr');
    const share = find(document, '#btnShare');
    share.hidden = typeof navigator.share !== 'function';
    share.addEventListener('click', () => {
      navigator.share({ title: translate('title'), url: field.value }).catch(() => {});
    });
    field.addEventListener('focus', () => field.select());
    // Where ui/attention.js, which loads late, will put its switch.
    const permission = document.defaultView?.Notification?.permission ?? 'denied';
    find(document, '#notifyPlace').hidden = permission === 'denied';
    const copyText = find(document, '#copyWord');
    find(document, '#btnCopy').addEventListener('click', async () => {
      if (!(await this.#copy(navigator))) return field.select();
      setText(copyText, translate('waiting.copied'));
      announce(find(document, '#announcer'), translate('waiting.copied'));
      clock.after(() => setText(copyText, translate('waiting.copy')), COPIED_MS);
    });
  }

  /** @param {string} url @param {boolean} invited whether somebody else may have sent the link */
  show(url, invited) {
    const how = find(this.#document, '#waitingHow');
    how.dataset.word = invited ? 'waiting.howInvited' : 'waiting.how';
    setText(how, this.#translate(how.dataset.word));
    if (this.#field.value === url) return;
    this.#field.value = url;
    this.#figure.classList.remove('drawn');
    // Without the code there is still the link.
    this.#draw(url).catch(() => {});
  }

  /** @param {Navigator} navigator */
  async #copy(navigator) {
    try {
      await navigator.clipboard.writeText(this.#field.value);
      return true;
    } catch {
      this.#field.select();
      return this.#document.execCommand('copy');
    }
  }

  /** @param {string} url */
  async #draw(url) {
    await drawCode(this.#code, url);
    this.#figure.classList.add('drawn');
  }
}

/** Draws a text as a QR code. Loads the encoder only here: the lobby does not need it. @param {Element} code @param {string} text */
export async function drawCode(code, text) {
  const { qr } = await import('../lib/qr-code.js');
  const rows = await qr(text, nextTask);
  await nextTask();
  const size = rows.length + 2 * QUIET_ZONE;
  const d = rows.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x + QUIET_ZONE} ${y + QUIET_ZONE}h1v1h-1z` : ''))).join('');
  code.setAttribute('viewBox', `0 0 ${size} ${size}`);
  code.replaceChildren(createSvg(code.ownerDocument, 'path', { d, fill: '#000', 'shape-rendering': 'crispEdges' }));
}
