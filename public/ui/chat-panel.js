// The chat sheet: what was written, with links and times, and the line to write on.
//
// Text goes in as text. Whoever listens is told what comes, whether the sheet is open or not.

import { MAX_LENGTH, splitLinks } from '../call/chat.js';
import { makeComposition } from './shortcuts.js';
import { announce, find, label, setText } from './elements.js';
import { timeOfDay } from '../locales/index.js';

/** So much of a message is read out by itself; the rest is in the sheet. */
const READ_OUT = 200;

/**
 * @typedef {import('../call/chat.js').Chat} Chat
 * @typedef {import('../call/chat.js').Message} Message
 */

/**
 * @param {object} parts
 * @param {Document} parts.document
 * @param {import('../locales/index.js').Say} parts.say
 * @param {string} parts.locale
 * @param {boolean} parts.android
 * @param {() => void} parts.came something new is here that nobody has seen
 * @returns {{show: (chat: Chat) => void, open: () => void, close: () => void, isOpen: () => boolean}}
 */
export function makeChatView({ document, say, locale, android, came }) {
  const { body } = document;
  const sheet = find(document, '#chat');
  const log = find(document, '#chatLog');
  const note = find(document, '#chatNote');
  const heard = find(document, '#chatHeard');
  const button = find(document, `[data-act='chat']`);
  /** @type {HTMLTextAreaElement} */
  const line = find(document, '#chatLine');
  const composes = makeComposition(line, android);
  /** @type {Map<Message, HTMLElement>} */
  const shown = new Map();
  /** @type {Chat | null} */
  let chat = null;
  let unread = 0;
  /** @type {Element | null} */
  let opener = null;

  find(document, '#chatForm').addEventListener('submit', (event) => {
    event.preventDefault();
    send();
  });
  line.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || composes(event)) return;
    event.preventDefault();
    send();
  });
  line.addEventListener('input', () => complain(line.value.trim().length > MAX_LENGTH ? 'too-long' : null));
  sheet.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    // Nobody else may take it for a wish to close: only here it is known what ends a composition.
    event.preventDefault();
    if (!composes(event)) close();
  });
  find(document, '#btnChatClose').addEventListener('click', close);

  // Where a keyboard lies over the page instead of making it smaller (Safari), the sheet stands on the keyboard.
  const seen = document.defaultView?.visualViewport;
  for (const event of ['resize', 'scroll']) {
    seen?.addEventListener(event, () => {
      const under = seen.scale > 1 ? 0 : Math.max(0, document.documentElement.clientHeight - seen.height - seen.offsetTop);
      body.style.setProperty('--under', `${Math.round(under)}px`);
    });
  }

  function send() {
    const refused = chat?.send(line.value) ?? null;
    // What is refused twice is told twice.
    complain(null);
    complain(refused);
    // Some browsers take the focus to the button or nowhere, and what is typed next would be taken for shortcuts.
    line.focus();
    if (refused) return;
    line.value = '';
    log.scrollTop = log.scrollHeight;
  }

  /** @param {'too-long' | 'too-many' | null} why */
  function complain(why) {
    note.hidden = why === null;
    setText(note, why ? say(`chat.${why}`, { most: MAX_LENGTH, n: line.value.trim().length }) : '');
  }

  /** @param {Message} message */
  function draw(message) {
    const place = document.createElement('div');
    const text = document.createElement('p');
    const foot = document.createElement('small');
    place.className = message.mine ? 'mine' : 'theirs';
    text.dir = 'auto';
    text.append(...splitLinks(message.text).map(piece));
    place.append(named(message), text, foot);
    return place;
  }

  /** @param {Message} message */
  function named({ mine }) {
    const name = document.createElement('span');
    name.className = 'unseen';
    name.textContent = say(mine ? 'chat.you' : 'chat.they');
    return name;
  }

  /** @param {{text: string, href?: string}} of */
  function piece({ text, href }) {
    if (!href) return text;
    const link = document.createElement('a');
    Object.assign(link, { href, textContent: text, target: '_blank', rel: 'noopener noreferrer' });
    return link;
  }

  /** @param {Message[]} messages */
  function fill(messages) {
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 40;
    for (const [message, place] of shown) {
      if (messages.includes(message)) continue;
      place.remove();
      shown.delete(message);
    }
    for (const message of messages) {
      const place = shown.get(message) ?? draw(message);
      if (!shown.has(message)) arrive(message, place);
      shown.set(message, place);
      if (place.dataset.state === message.state) continue;
      place.dataset.state = message.state;
      const time = timeOfDay(message.at, locale);
      setText(find(place, 'small'), message.state === 'sent' ? time : `${time} · ${say(`chat.${message.state}`)}`);
    }
    find(document, '#chatEmpty').hidden = messages.length > 0;
    if (atEnd) log.scrollTop = log.scrollHeight;
  }

  /** @param {Message} message @param {HTMLElement} place */
  function arrive({ mine, text }, place) {
    log.append(place);
    if (!mine) announce(heard, say('chat.heard', { text: text.slice(0, READ_OUT) }));
  }

  function close() {
    if (sheet.hidden) return;
    const inside = sheet.contains(document.activeElement);
    sheet.hidden = true;
    button.setAttribute('aria-expanded', 'false');
    if (inside) /** @type {HTMLElement | null} */ (opener)?.focus();
  }

  return {
    show(now) {
      chat = now;
      if (!sheet.hidden && document.visibilityState === 'visible') chat.markRead();
      fill(chat.messages);
      if (!chat.messages.length) heard.replaceChildren();
      const before = unread;
      unread = chat.unread();
      if (unread) button.dataset.unread = body.dataset.unread = String(Math.min(unread, 99));
      else for (const place of [button, body]) delete place.dataset.unread;
      label(button, unread ? say('chat.new', { n: unread }) : say('chat.title'), 'C');
      if (unread > before) came();
    },
    open() {
      opener = document.activeElement === body ? button : document.activeElement;
      sheet.hidden = false;
      button.setAttribute('aria-expanded', 'true');
      if (chat) this.show(chat);
      log.scrollTop = log.scrollHeight;
      // A finger that came to read is not shown a keyboard over it.
      const byHand = document.defaultView?.matchMedia('(pointer: coarse)').matches;
      (byHand ? find(document, '#btnChatClose') : line).focus();
    },
    close,
    isOpen: () => !sheet.hidden,
  };
}
