// Lobby: the form with room name and host key, what joining sends, and who is in the room.

import { joinLabel } from '../app/status.js';
import { find, setText } from './elements.js';

/**
 * @import { Translate } from '../locales/index.js'
 * @import { Actions, Model } from './view.js'
 */

export class Lobby {
  #document;
  #translate;
  /** @type {HTMLInputElement} */
  #room;
  /** @type {HTMLInputElement} */
  #key;
  #keyField;
  /** @type {HTMLButtonElement} */
  #join;

  /** @param {{document: Document, translate: Translate, actions: Actions}} parts */
  constructor({ document, translate, actions }) {
    this.#document = document;
    this.#translate = translate;
    const room = this.#room = find(document, '#room');
    const key = this.#key = find(document, '#key');
    this.#keyField = find(document, '#keyField');
    this.#join = find(document, '#btnJoin');
    find(document, '#door').addEventListener('submit', (event) => {
      event.preventDefault();
      actions.join(room.value, key.value);
    });
    room.addEventListener('input', actions.roomTyped);
    find(document, '#btnNew').addEventListener('click', () => {
      room.value = actions.newRoomName();
      actions.roomTyped();
    });
  }

  /** The text of the room field. */
  get room() {
    return this.#room.value;
  }

  set room(name) {
    this.#room.value = name;
  }

  /** @param {Model} model */
  show({ session, media, invited, error }) {
    const element = (/** @type {string} */ id) => find(this.#document, id);
    const translate = this.#translate;
    this.#join.disabled = session.joining;
    const keyRequested = this.#keyField.hidden && session.needsKey;
    this.#keyField.hidden = !session.needsKey;
    if (keyRequested) this.#key.focus();
    element('#btnNew').hidden = invited && error !== 'room-full';
    const { occupancy } = session;
    element('#inside').dataset.seats = String(occupancy ?? '');
    setText(element('#inside'), occupancy === null || error === 'room-full' ? '' : translate(`lobby.inside.${occupancy}`));
    setText(element('#doorTitle'), translate(invited ? 'lobby.invited' : 'lobby.title'));
    setText(element('#joinWord'), translate(`lobby.${joinLabel(media)}`));
    if (error === 'bad-room') this.#room.setAttribute('aria-invalid', 'true');
    else this.#room.removeAttribute('aria-invalid');
  }
}
