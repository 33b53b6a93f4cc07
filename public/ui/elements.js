// Elements: finding them, and putting text and names into them.
//
// Text is set as text, never as markup.

/** @import { Translate } from '../locales/index.js' */

const SVG = 'http://www.w3.org/2000/svg';
/** A live region keeps so many messages: fast ones are still read out one after the other. */
const MAX_ANNOUNCEMENTS = 8;

/**
 * @template {Element} [T=HTMLElement]
 * @param {ParentNode} root
 * @param {string} selector
 * @returns {T} throws where the HTML and the code disagree
 */
export function find(root, selector) {
  const found = root.querySelector(selector);
  if (!found) throw new Error(`the page has no ${selector}`);
  return /** @type {T} */ (/** @type {unknown} */ (found));
}

/** Removes the text for a page that does not start. @param {Document} document */
export function removeStartFailure(document) {
  document.querySelector('#startFailure')?.remove();
}

/** A file or link that is dropped on the page would replace it and end the call. @param {Document} document */
export function preventDrops(document) {
  for (const name of /** @type {const} */ (['dragover', 'drop'])) {
    document.addEventListener(name, (event) => {
      const { target, dataTransfer } = event;
      const isField = target instanceof Element && target.matches('textarea:not([readonly]), input:not([readonly], [type=checkbox])');
      if (isField && !dataTransfer?.types.includes('Files')) return;
      event.preventDefault();
      if (dataTransfer) dataTransfer.dropEffect = 'none';
    });
  }
}

/** Loads a style sheet, unless it has been or is being loaded. @param {Document} document @param {string} href */
export function loadStyle(document, href) {
  if (document.querySelector(`link[href="${href}"]`)) return;
  const link = createElement(document, 'link', { rel: 'stylesheet', href });
  link.addEventListener('error', () => link.remove());
  document.head.append(link);
}

/**
 * @param {Document} document
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 * @returns {SVGElement}
 */
export function createSvg(document, name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  return element;
}

/**
 * @param {Document} document
 * @param {string} name
 * @param {Record<string, string>} [attributes]
 * @param {string} [text]
 */
export function createElement(document, name, attributes = {}, text = '') {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
}

/**
 * Sets the text, placeholder and name of each element in `root` that has `data-word`, `data-hint` or `data-label`.
 * @param {ParentNode} root
 * @param {Translate} translate
 */
export function translateElements(root, translate) {
  for (const element of root.querySelectorAll('[data-word]')) {
    setText(element, translate(element.getAttribute('data-word') ?? ''));
  }
  for (const element of root.querySelectorAll('[data-hint]')) {
    setAttribute(element, 'placeholder', translate(element.getAttribute('data-hint') ?? ''));
  }
  for (const element of root.querySelectorAll('[data-label]')) {
    setLabel(element, translate(element.getAttribute('data-label') ?? ''));
  }
}

/**
 * Names an element for screen readers; a button also gets a tooltip with its shortcuts.
 * @param {Element} element
 * @param {string} text
 * @param {string} [key] a single letter, unless single letters are switched off
 * @param {import('./shortcuts.js').Chord} [chord]
 */
export function setLabel(element, text, key, chord) {
  setAttribute(element, 'aria-label', text);
  if (element.tagName !== 'BUTTON' || element.classList.contains('swap')) return;
  const letter = element.ownerDocument.body.dataset.letters !== 'off' ? key : undefined;
  const shown = [chord?.shown, letter].filter(Boolean).join(', ');
  setAttribute(element, 'title', shown ? `${text} (${shown})` : text);
  setAttribute(element, 'aria-keyshortcuts', [chord?.name, letter].filter(Boolean).join(' ') || null);
}

/**
 * What was last set where; '' is the text. A browser's translation changes the page itself: a comparison with the page
 * would undo it with every update.
 * @type {WeakMap<Element, Map<string, string | null>>}
 */
const lastSet = new WeakMap();

/** Whether `value` differs from what was set last. @param {Element} element @param {string} what @param {string | null} value */
function isNew(element, what, value) {
  const before = lastSet.get(element) ?? new Map();
  if (before.get(what) === value) return false;
  lastSet.set(element, before.set(what, value));
  return true;
}

/**
 * Sets the text where it changes: screen readers do not repeat it, and a browser's translation stays.
 * @param {Element} element
 * @param {string} text
 * @returns {boolean} whether it has changed
 */
export function setText(element, text) {
  const changes = isNew(element, '', text);
  if (changes) element.textContent = text;
  return changes;
}

/** Sets an attribute where it changes; null removes it. @param {Element} element @param {string} name @param {string | null} value */
export function setAttribute(element, name, value) {
  if (!isNew(element, name, value)) return;
  if (value === null) element.removeAttribute(name);
  else element.setAttribute(name, value);
}

/** @type {WeakMap<Element, Node[]>} */
const lastChildren = new WeakMap();

/**
 * Replaces the children where they differ from those that were set last.
 * @param {Element} element
 * @param {Element[]} children
 */
export function setChildren(element, children) {
  const before = lastChildren.get(element) ?? [];
  if (children.length === before.length && children.every((child, i) => child.isEqualNode(before[i]))) return;
  lastChildren.set(element, children.map((child) => child.cloneNode(true)));
  element.replaceChildren(...children);
}

/** @param {Element} element @param {string} name @param {boolean} on */
export function setFlag(element, name, on) {
  if (element.hasAttribute(name) !== on) element.toggleAttribute(name, on);
}

/** Shows or hides an element. A focus that would be lost moves to the headline, or to the video. @param {HTMLElement} element @param {boolean} hidden */
export function setHidden(element, hidden) {
  const { ownerDocument: document } = element;
  if (hidden && !element.hidden && element.contains(document.activeElement)) {
    const headline = /** @type {HTMLElement | null} */ (document.querySelector(`[data-for=${document.body.dataset.screen}] h1`));
    (headline ?? find(document, '#stage')).focus({ preventScroll: true });
  }
  element.hidden = hidden;
}

/**
 * Makes screen readers read a text out, even the same text again: a live region announces what is added to it. An open
 * dialog makes the live regions outside of it inert: then its own is used.
 * @param {Element} outside live region of the page
 * @param {string} text
 */
export function announce(outside, text) {
  const region = dialogRegion(outside.ownerDocument) ?? outside;
  const message = region.ownerDocument.createElement('span');
  message.textContent = text;
  region.append(message);
  while (region.childElementCount > MAX_ANNOUNCEMENTS) region.firstElementChild?.remove();
}

/** Announces in the open dialog, if there is one, what a live region outside of it says. @param {Document} document @param {string} text */
export function announceInDialog(document, text) {
  const region = dialogRegion(document);
  if (region && text) announce(region, text);
}

/** @param {Document} document */
const dialogRegion = (document) => document.querySelector('dialog[open] .announcer');
