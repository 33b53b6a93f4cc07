// Chat panel: the messages with links and times, and the field to write in.
//
// Messages are set as text, never as markup. Screen readers announce new ones whether the panel is open or not.

import { MAX_LENGTH, splitLinks } from '../call/chat.js';
import { formatTime } from '../locales/index.js';
import { announce, createElement, find, setText } from './elements.js';
import { watchComposition } from './shortcuts.js';

/**
 * @import { Chat, Message } from '../call/chat.js'
 * @import { Clock } from '../lib/clock.js'
 * @import { Translate } from '../locales/index.js'
 */

/** Characters of a message that are announced; the rest can be read in the panel. */
const MAX_ANNOUNCED = 200;
/** A message that has not been sent by then is announced. */
const WAITING_ANNOUNCED_MS = 2000;
/** Closer to the end than this, the log follows new messages. */
const FOLLOW_PX = 40;

export class ChatPanel {
  #document;
  #translate;
  #locale;
  #clock;
  #unreadAdded;
  #composes;
  #panel;
  #log;
  #note;
  #announcements;
  #button;
  /** @type {HTMLTextAreaElement} */
  #field;
  /** @type {Map<Message, HTMLElement>} */
  #shown = new Map();
  /** @type {Chat | null} */
  #chat = null;
  #peerName = '';
  /** @type {'too-long' | 'too-many' | null} */
  #error = null;
  #unread = 0;
  /** What had the focus when the panel was opened. @type {Element | null} */
  #opener = null;

  /**
   * @param {object} parts
   * @param {Document} parts.document
   * @param {Translate} parts.translate
   * @param {string} parts.locale for times
   * @param {Clock} parts.clock
   * @param {boolean} parts.isAndroid
   * @param {() => void} parts.unreadAdded
   */
  constructor({ document, translate, locale, clock, isAndroid, unreadAdded }) {
    this.#document = document;
    this.#translate = translate;
    this.#locale = locale;
    this.#clock = clock;
    this.#unreadAdded = unreadAdded;
    this.#panel = find(document, '#chat');
    this.#log = find(document, '#chatLog');
    this.#note = find(document, '#chatNote');
    this.#announcements = find(document, '#chatHeard');
    this.#button = find(document, `[data-act='chat']`);
    this.#field = find(document, '#chatLine');
    this.#composes = watchComposition(this.#field, isAndroid);
    this.#listen();
    this.#followKeyboard();
  }

  get isOpen() {
    return !this.#panel.hidden;
  }

  open() {
    const { body, activeElement } = this.#document;
    this.#opener = activeElement === body ? this.#button : activeElement;
    this.#panel.hidden = false;
    this.#button.setAttribute('aria-expanded', 'true');
    if (this.#chat) this.show(this.#chat, this.#peerName);
    this.#scrollToEnd();
    // On a touch screen the focus would open the keyboard, over the messages.
    const isTouch = this.#document.defaultView?.matchMedia('(pointer: coarse)').matches;
    (isTouch ? find(this.#document, '#btnChatClose') : this.#field).focus();
  }

  close() {
    if (!this.isOpen) return;
    const hadFocus = this.#panel.contains(this.#document.activeElement);
    this.#panel.hidden = true;
    this.#button.setAttribute('aria-expanded', 'false');
    if (hadFocus) /** @type {HTMLElement | null} */ (this.#opener)?.focus();
  }

  /** @param {Chat} chat @param {string} peerName '' where unknown */
  show(chat, peerName) {
    this.#chat = chat;
    this.#peerName = peerName;
    if (this.isOpen && this.#document.visibilityState === 'visible') chat.markRead();
    this.#update(chat.messages);
    if (!chat.messages.length) this.#announcements.replaceChildren();
    const before = this.#unread;
    this.#unread = chat.unread();
    for (const element of [this.#button, this.#document.body]) {
      if (this.#unread) element.dataset.unread = String(Math.min(this.#unread, 99));
      else delete element.dataset.unread;
    }
    if (this.#unread > before) this.#unreadAdded();
  }

  #listen() {
    find(this.#document, '#chatForm').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#field.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || this.#composes(event)) return;
      event.preventDefault();
      this.#send();
    });
    this.#field.addEventListener('input', () => this.#showError(this.#field.value.trim().length > MAX_LENGTH ? 'too-long' : null));
    this.#panel.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape') return;
      // Only here it is known whether Escape ends a composition: the page must not close the panel for it.
      event.preventDefault();
      if (!this.#composes(event)) this.close();
    });
    find(this.#document, '#btnChatClose').addEventListener('click', () => this.close());
  }

  /** Where the keyboard covers the page instead of resizing it (Safari), the panel ends above the keyboard. */
  #followKeyboard() {
    const { body, defaultView, documentElement } = this.#document;
    const viewport = defaultView?.visualViewport;
    for (const event of ['resize', 'scroll']) {
      viewport?.addEventListener(event, () => {
        const covered = viewport.scale > 1 ? 0 : Math.max(0, documentElement.clientHeight - viewport.height - viewport.offsetTop);
        body.style.setProperty('--keyboard-inset', `${Math.round(covered)}px`);
      });
    }
  }

  #send() {
    const error = this.#chat?.send(this.#field.value) ?? null;
    // Removed first, so that the same error is announced again.
    this.#showError(null);
    this.#showError(error);
    // Some browsers move the focus to the button or nowhere; the next letters would act as shortcuts.
    this.#field.focus();
    if (error) return;
    this.#field.value = '';
    this.#scrollToEnd();
  }

  /** @param {'too-long' | 'too-many' | null} error */
  #showError(error) {
    this.#note.hidden = error === null;
    const n = this.#field.value.trim().length;
    const text = error ? this.#translate(`chat.${error}`, { most: MAX_LENGTH, n }) : '';
    setText(this.#note, text);
    // Not again with each letter.
    if (error && error !== this.#error) announce(this.#announcements, text);
    this.#error = error;
  }

  /** @param {Message[]} messages */
  #update(messages) {
    // Each call of this would cost a layout.
    if (messages.length === this.#shown.size && messages.every((each) => this.#shown.get(each)?.dataset.state === each.state)) return;
    const log = this.#log;
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - FOLLOW_PX;
    for (const [message, element] of this.#shown) {
      if (messages.includes(message)) continue;
      element.remove();
      this.#shown.delete(message);
    }
    for (const message of messages) {
      const element = this.#shown.get(message) ?? this.#add(message);
      const { state } = message;
      if (element.dataset.state === state) continue;
      element.dataset.state = state;
      const time = formatTime(message.at, this.#locale);
      const problem = state === 'sent' ? '' : ` · ${this.#translate(`chat.${state}`)}`;
      setText(find(element, 'small'), time + problem);
      if (problem) this.#announceProblem(message, this.#translate('chat.you') + shorten(message.text) + problem);
    }
    find(this.#document, '#chatEmpty').hidden = messages.length > 0;
    if (atEnd) this.#scrollToEnd();
  }

  /** Announces that a message is not sent. Most wait only for a moment. @param {Message} message @param {string} text */
  #announceProblem(message, text) {
    const { state } = message;
    this.#clock.after(() => {
      if (this.#shown.has(message) && message.state === state) announce(this.#announcements, text);
    }, state === 'waiting' ? WAITING_ANNOUNCED_MS : 0);
  }

  /** @param {Message} message */
  #add(message) {
    const { mine, text } = message;
    const create = (/** @type {string} */ name, /** @type {Record<string, string>} */ attributes) => createElement(this.#document, name, attributes);
    const element = create('div', { class: mine ? 'mine' : 'theirs' });
    const isNamed = !mine && this.#peerName !== '';
    const author = create('span', { class: isNamed ? 'author' : 'visually-hidden', dir: 'auto' });
    const body = create('p', { dir: 'auto' });
    author.textContent = isNamed ? this.#peerName : this.#translate(mine ? 'chat.you' : 'chat.they');
    body.append(...splitLinks(text).map((part) => {
      if (!part.href) return part.text;
      return Object.assign(create('a', { href: part.href, target: '_blank', rel: 'noopener noreferrer' }), { textContent: part.text });
    }));
    element.append(author, body, create('small', {}));
    this.#log.append(element);
    this.#shown.set(message, element);
    const heard = { name: this.#peerName, text: shorten(text) };
    if (!mine) announce(this.#announcements, this.#translate(isNamed ? 'named.heard' : 'chat.heard', heard));
    return element;
  }

  #scrollToEnd() {
    this.#log.scrollTop = this.#log.scrollHeight;
  }
}

/** @param {string} text */
const shorten = (text) => (text.length > MAX_ANNOUNCED ? `${text.slice(0, MAX_ANNOUNCED)}…` : text);
