// Knocks: who waits to be let in, for the people inside. Loaded when somebody knocks for the first time.
//
// What it uses of the page comes in as arguments: a module of the lobby must not be loaded a second time.

/**
 * @import { Knock } from '../app/knocks.js'
 * @import { Translate } from '../locales/index.js'
 * @import { Actions, Model } from './view.js'
 *
 * @typedef {object} KnocksParts
 * @property {Document} document
 * @property {Translate} translate
 * @property {Actions} actions
 * @property {(document: Document, name: string, attributes?: Record<string, string>, text?: string) => HTMLElement} createElement
 * @property {(element: Element, text: string) => void} setText
 * @property {(text: string) => void} announce to screen readers
 * @property {() => void} reveal shows the controls
 *
 * @typedef {{row: HTMLElement, name: HTMLElement, admit: HTMLButtonElement, decline: HTMLButtonElement}} Row
 */

/** More than may wait at a time. The server names the same ones again after each reconnection. */
const MAX_ANNOUNCED = 40;

export class Knocks {
  #parts;
  #panel;
  #list;
  #reason;
  /** By the id of the knock. @type {Map<string, Row>} */
  #rows = new Map();
  /** Ids of the latest that were announced. @type {string[]} */
  #announced = [];
  /** Rows so far: an id of the page must not come from the server. */
  #created = 0;

  /** @param {KnocksParts} parts */
  constructor(parts) {
    this.#parts = parts;
    const { document, translate, createElement } = parts;
    this.#panel = /** @type {HTMLElement} */ (document.querySelector('#knocks'));
    this.#list = createElement(document, 'ul');
    this.#reason = createElement(document, 'p', { id: 'knocksReason', class: 'small', 'data-word': 'knocks.full' }, translate('knocks.full'));
    this.#panel.append(this.#list, this.#reason);
  }

  /** @param {Model} model */
  show({ session: { knocks, peer, socketOpen } }) {
    for (const [id, { row }] of this.#rows) {
      if (knocks.some((knock) => knock.id === id)) continue;
      this.#keepFocus(row);
      row.remove();
      this.#rows.delete(id);
    }
    const isFull = peer !== 'none';
    for (const knock of knocks) {
      const { name, admit, decline } = this.#rows.get(knock.id) ?? this.#add(knock, isFull);
      this.#parts.setText(name, this.#sentence(knock));
      const isInactive = knock.answered || !socketOpen;
      // They keep the focus, and say why they cannot be pressed.
      admit.setAttribute('aria-disabled', String(isFull || isInactive));
      decline.setAttribute('aria-disabled', String(isInactive));
      admit.setAttribute('aria-describedby', isFull ? `${name.id} knocksReason` : name.id);
    }
    this.#reason.hidden = !isFull;
    this.#panel.hidden = knocks.length === 0;
  }

  /** @param {Knock} knock */
  #sentence({ name }) {
    return name ? this.#parts.translate('named.knocks', { name }) : this.#parts.translate('knocks.somebody');
  }

  /** @param {Knock} knock @param {boolean} isFull @returns {Row} */
  #add(knock, isFull) {
    const { document, translate, actions, createElement, announce, reveal } = this.#parts;
    const id = `knock${this.#created += 1}`;
    const button = (/** @type {string} */ word, /** @type {string} */ style, /** @type {boolean} */ admit) => {
      const created = /** @type {HTMLButtonElement} */ (createElement(document, 'button', { type: 'button', class: style, 'data-word': word, 'aria-describedby': id }, translate(word)));
      created.addEventListener('click', () => { if (created.getAttribute('aria-disabled') !== 'true') actions.answerKnock(knock.id, admit); });
      return created;
    };
    const row = {
      row: createElement(document, 'li', { 'data-knock': '' }), name: createElement(document, 'span', { id, dir: 'auto' }),
      admit: button('knocks.admit', 'big', true), decline: button('knocks.decline', 'plain', false),
    };
    row.row.append(row.name, row.admit, row.decline);
    this.#list.append(row.row);
    this.#rows.set(knock.id, row);
    if (!this.#announced.includes(knock.id)) {
      announce(this.#sentence(knock));
      if (isFull) announce(translate('knocks.full'));
      reveal();
    }
    this.#announced = [...this.#announced, knock.id].slice(-MAX_ANNOUNCED);
    return row;
  }

  /** A focus that would be lost with its row moves to the page, where shortcuts work. @param {HTMLElement} row */
  #keepFocus(row) {
    if (row.contains(this.#parts.document.activeElement)) /** @type {HTMLElement | null} */ (this.#parts.document.querySelector('#stage'))?.focus();
  }
}
