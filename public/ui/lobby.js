// Lobby: own name, room and host key, what joining sends, and who is in the room.
//
// Somebody with a link meets one button. On the start page the same button makes a private room, unless a room is named.

import { joinLabel } from '../app/status.js';
import { find, setAttribute, setText } from './elements.js';

/**
 * @import { Translate } from '../locales/index.js'
 * @import { Actions, Model } from './view.js'
 *
 * @typedef {object} Door what the lobby is about
 * @property {boolean} invited opened with a link to a room
 * @property {boolean} named there is a room to join; without one, the button makes one
 * @property {number | null} occupancy taken seats of that room; null while unknown
 * @property {string} inviterName of the person in the room; '' while unknown
 * @property {boolean} [continues] the link moves a call to this device
 * @property {boolean} [elsewhere] another tab of this browser is in the call
 */

/** Errors that are about the name of the room, and so show its field. */
const ROOM_ERRORS = ['bad-room', 'bad-link'];

/**
 * The key of the headline.
 * @param {Door} door
 * @returns {string} after `lobby.`
 */
export function lobbyTitle({ invited, occupancy, inviterName, continues, elsewhere }) {
  if (continues) return 'continue';
  if (elsewhere) return 'elsewhere';
  if (!invited) return 'title';
  if (occupancy !== 1) return 'invited';
  return inviterName ? 'waits' : 'here';
}

/**
 * The key of the sentence above the button: what pressing it leads to.
 * @param {Door} door
 * @returns {string | null}
 */
export function lobbyHint({ invited, named, occupancy, continues, elsewhere }) {
  // Somebody who continues a call is in it already: who is there is no news.
  if (continues || elsewhere) return null;
  if (!named) return 'lobby.startHow';
  // The headline has said who is there.
  if (invited && occupancy === 1) return 'lobby.starts';
  return occupancy === null ? null : `lobby.inside.${occupancy}`;
}

/**
 * The key of the button's label.
 * @param {Door} door
 * @param {import('../media/media.js').MediaState} media
 * @returns {string} after `lobby.`
 */
export function lobbyButton({ named, occupancy, continues, elsewhere }, media) {
  const label = joinLabel(media);
  if (continues) return label;
  if (elsewhere) return 'takeOver';
  if (!named) return ({ join: 'start', joinSoundOnly: 'startSoundOnly', joinBare: 'startBare' })[label];
  return occupancy === 2 ? 'ask' : label;
}

export class Lobby {
  #document;
  #translate;
  /** @type {HTMLInputElement} */
  #name;
  /** @type {HTMLInputElement} */
  #room;
  /** @type {HTMLInputElement} */
  #key;
  #keyField;
  /** @type {HTMLDetailsElement} */
  #roomField;
  /** @type {HTMLButtonElement} */
  #join;
  #isJoining = false;
  #nameIsFilled = false;
  /** The room in the field was made by the button, not typed. */
  #isPrivateRoom = false;

  /** @param {{document: Document, translate: Translate, actions: Actions}} parts */
  constructor({ document, translate, actions }) {
    this.#document = document;
    this.#translate = translate;
    const name = this.#name = find(document, '#ownName');
    const room = this.#room = find(document, '#room');
    const key = this.#key = find(document, '#key');
    this.#keyField = find(document, '#keyField');
    this.#roomField = find(document, '#roomField');
    this.#join = find(document, '#btnJoin');
    find(document, '#door').addEventListener('submit', (event) => {
      event.preventDefault();
      if (this.#isJoining) return;
      this.#isPrivateRoom ||= room.value.trim() === '';
      actions.join(room.value, key.value, name.value);
    });
    room.addEventListener('input', () => {
      this.#isPrivateRoom = false;
      actions.roomTyped();
    });
  }

  /** The text of the room field. */
  get room() {
    return this.#room.value;
  }

  set room(name) {
    this.#room.value = name;
    if (name === '') this.#isPrivateRoom = false;
  }

  /** @param {Model} model */
  show({ session, media, invited, continues, error, ownName, inviterName }) {
    const element = (/** @type {string} */ id) => find(this.#document, id);
    const translate = this.#translate;
    const { occupancy } = session;
    const door = { invited, named: invited || (this.#room.value.trim() !== '' && !this.#isPrivateRoom), occupancy, inviterName, continues, elsewhere: session.elsewhere };
    this.#isJoining = session.joining;
    this.#join.disabled = false;
    // Not disabled, which would take the focus away.
    setAttribute(this.#join, 'aria-disabled', String(session.joining));
    this.#showName(ownName);
    const keyRequested = this.#keyField.hidden && session.needsKey;
    this.#keyField.hidden = !session.needsKey;
    if (keyRequested) this.#key.focus();
    this.#roomField.hidden = invited;
    if (error && ROOM_ERRORS.includes(error)) this.#roomField.open = true;
    element('#roomName').hidden = !invited;
    setText(element('#roomName'), translate('lobby.roomName', { room: this.#room.value }));
    const hint = error === 'room-full' ? null : lobbyHint(door);
    element('#inside').dataset.seats = String(occupancy ?? '');
    setText(element('#inside'), hint ? translate(hint) : '');
    setText(element('#doorTitle'), translate(`lobby.${lobbyTitle(door)}`, { name: inviterName }));
    setText(element('#joinWord'), translate(`lobby.${lobbyButton(door, media)}`));
    if (error === 'bad-room') this.#room.setAttribute('aria-invalid', 'true');
    else this.#room.removeAttribute('aria-invalid');
  }

  /** Fills in the remembered name once, and nothing over what is typed. @param {string} ownName */
  #showName(ownName) {
    if (this.#nameIsFilled) return;
    this.#nameIsFilled = true;
    if (this.#name.value === '') this.#name.value = ownName;
  }
}
