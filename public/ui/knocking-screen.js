// Knocking screen: what somebody sees who waits to be let in, and the field for the host key. Loaded with the
// first such wait.
//
// What it uses of the page comes in as arguments: a module of the lobby must not be loaded a second time.

/**
 * @import { SessionState } from '../app/status.js'
 * @import { Translate } from '../locales/index.js'
 * @import { Actions, Model } from './view.js'
 *
 * @typedef {object} KnockingScreenParts
 * @property {Document} document
 * @property {Translate} translate
 * @property {Actions} actions
 * @property {(element: Element, text: string) => void} setText
 */

export class KnockingScreen {
  #parts;

  /** @param {KnockingScreenParts} parts */
  constructor(parts) {
    this.#parts = parts;
    const key = /** @type {HTMLInputElement} */ (this.#find('#hostKey'));
    this.#find('#hostForm').addEventListener('submit', (event) => {
      event.preventDefault();
      if (key.value !== '') parts.actions.openRoom(key.value);
      key.value = '';
    });
  }

  /** @param {Model} model */
  show({ session }) {
    if (session.screen !== 'knocking') return;
    const { translate, setText } = this.#parts;
    const why = knockingKey(session);
    setText(this.#find('#knockingWhy'), why ? translate(why) : '');
    setText(this.#find('#knockingPlace'), session.position > 1 ? translate('knocking.place', { n: session.position }) : '');
    // A room with somebody in it is open.
    this.#find('#hostForm').hidden = session.occupancy !== 0;
  }

  /** @param {string} selector @returns {HTMLElement} */
  #find(selector) {
    return /** @type {HTMLElement} */ (this.#parts.document.querySelector(selector));
  }
}

/** The key of the sentence that says what we wait for in front of a room; null until the server has told. @param {SessionState} state */
export function knockingKey({ occupancy }) {
  if (occupancy === null) return null;
  if (occupancy === 0) return 'knocking.host';
  return occupancy === 2 ? 'knocking.full' : 'knocking.other';
}
