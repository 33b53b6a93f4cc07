// Knocking screen: what somebody sees who waits to be let in, and the host key for whoever may open the room.

import { knockingKey } from '../app/status.js';
import { find, setText } from './elements.js';

/**
 * @import { SessionState } from '../app/status.js'
 * @import { Translate } from '../locales/index.js'
 * @import { Actions } from './view.js'
 */

export class KnockingScreen {
  #document;
  #translate;

  /** @param {{document: Document, translate: Translate, actions: Actions}} parts */
  constructor({ document, translate, actions }) {
    this.#document = document;
    this.#translate = translate;
    /** @type {HTMLInputElement} */
    const key = find(document, '#hostKey');
    find(document, '#hostForm').addEventListener('submit', (event) => {
      event.preventDefault();
      if (key.value !== '') actions.openRoom(key.value);
      key.value = '';
    });
    find(document, '#btnCancel').addEventListener('click', actions.leave);
  }

  /** @param {SessionState} session */
  show(session) {
    if (session.screen !== 'knocking') return;
    const element = (/** @type {string} */ id) => find(this.#document, id);
    const why = knockingKey(session);
    setText(element('#knockingWhy'), why ? this.#translate(why) : '');
    setText(element('#knockingPlace'), session.position > 1 ? this.#translate('knocking.place', { n: session.position }) : '');
    // A room with somebody in it is open.
    element('#hostForm').hidden = session.occupancy !== 0;
  }
}
