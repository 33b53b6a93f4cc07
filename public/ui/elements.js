// Parts of the view everything else stands on: finding elements, putting icons and words into them.
//
// Text goes in as text, never as markup.

import { icons, slash } from './icons.js';

const SVG = 'http://www.w3.org/2000/svg';

/**
 * @template {Element} [T=HTMLElement]
 * @param {ParentNode} root
 * @param {string} selector
 * @returns {T} throws where the page and its code have come apart
 */
export function find(root, selector) {
  const found = root.querySelector(selector);
  if (!found) throw new Error(`the page has no ${selector}`);
  return /** @type {T} */ (/** @type {unknown} */ (found));
}

/** The page runs: the words for one that does not start go. @param {Document} document */
export function started(document) {
  document.querySelector('#startFailure')?.remove();
}

/** A file that is dropped on the page, or a link beside a field, would take its place, and the call with it.
 *  @param {Document} document */
export function refuseDrops(document) {
  for (const name of /** @type {const} */ (['dragover', 'drop'])) {
    document.addEventListener(name, (event) => {
      const { target, dataTransfer } = event;
      const field = target instanceof Element && target.matches('textarea:not([readonly]), input:not([readonly], [type=checkbox])');
      if (field && !dataTransfer?.types.includes('Files')) return;
      event.preventDefault();
      if (dataTransfer) dataTransfer.dropEffect = 'none';
    });
  }
}

/**
 * @param {Document} document
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 * @returns {SVGElement}
 */
export function svg(document, name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}

/** @param {Document} document */
export function putIcons(document) {
  for (const place of document.querySelectorAll('[data-icon]')) {
    const { fill, lines } = icons[place.getAttribute('data-icon') ?? ''] ?? {};
    const icon = svg(document, 'svg', { class: 'icon', viewBox: '0 0 24 24', 'aria-hidden': 'true' });
    if (fill) icon.append(svg(document, 'path', { class: 'fill', d: fill }));
    if (lines) icon.append(svg(document, 'path', { class: 'lines', d: lines }));
    icon.append(svg(document, 'path', { class: 'gap', d: slash }), svg(document, 'path', { class: 'slash', d: slash }));
    place.prepend(icon);
  }
}

/**
 * @param {Document} document
 * @param {import('../locales/index.js').Say} say
 */
export function putWords(document, say) {
  document.title = say('title');
  for (const place of document.querySelectorAll('[data-word]')) {
    setText(place, say(place.getAttribute('data-word') ?? ''));
  }
  for (const place of document.querySelectorAll('[data-hint]')) {
    setAttribute(place, 'placeholder', say(place.getAttribute('data-hint') ?? ''));
  }
  for (const place of document.querySelectorAll('[data-label]')) {
    label(place, say(place.getAttribute('data-label') ?? ''));
  }
}

/**
 * A name for those who listen and, on a button, a tooltip with its key for those who look.
 * @param {Element} place
 * @param {string} text
 * @param {string} [key] a single letter, which the person may have switched off
 */
export function label(place, text, key) {
  setAttribute(place, 'aria-label', text);
  if (place.tagName !== 'BUTTON' || place.classList.contains('swap')) return;
  const acts = key && place.ownerDocument.body.dataset.letters !== 'off';
  setAttribute(place, 'title', acts ? `${text} (${key})` : text);
  if (acts) setAttribute(place, 'aria-keyshortcuts', key);
  else setAttribute(place, 'aria-keyshortcuts', null);
}

/** What was last written where. A translator changes the page behind us: comparing with what stands there would write it
 *  again with every look. @type {WeakMap<Element, Map<string, string | null>>} */
const written = new WeakMap();

/** Whether this is something else than what was written there last.
 *  @param {Element} place @param {string} what @param {string | null} value */
function differs(place, what, value) {
  const before = written.get(place) ?? new Map();
  if (before.get(what) === value) return false;
  written.set(place, before.set(what, value));
  return true;
}

/**
 * Sets text only where it changes, so that screen readers are not told the same thing twice and translations stay.
 * @param {Element} place
 * @param {string} text
 */
export function setText(place, text) {
  if (differs(place, '', text)) place.textContent = text;
}

/** The same for an attribute; null removes it.
 *  @param {Element} place @param {string} name @param {string | null} value */
export function setAttribute(place, name, value) {
  if (!differs(place, name, value)) return;
  if (value === null) place.removeAttribute(name);
  else place.setAttribute(name, value);
}

/**
 * The same for children: those that are there stay while the new ones would be equal to what was put there.
 * @param {Element} place
 * @param {Element[]} children
 */
export function setChildren(place, children) {
  const before = put.get(place) ?? [];
  if (children.length === before.length && children.every((child, i) => child.isEqualNode(before[i]))) return;
  put.set(place, children.map((child) => child.cloneNode(true)));
  place.replaceChildren(...children);
}

/** @type {WeakMap<Element, Node[]>} */
const put = new WeakMap();

/**
 * Says something to those who listen, also where it is what was said before: a live region tells of what is added to it.
 * @param {Element} region
 * @param {string} text
 */
export function announce(region, text) {
  const said = region.ownerDocument.createElement('span');
  said.textContent = text;
  region.append(said);
  while (region.childElementCount > ANNOUNCED_KEPT) region.firstElementChild?.remove();
}

/** So many come at once, from somebody who writes fast, and are still read out one after the other. */
const ANNOUNCED_KEPT = 8;

/**
 * @param {Element} place
 * @param {string} name
 * @param {boolean} on
 */
export function flag(place, name, on) {
  if (place.hasAttribute(name) !== on) place.toggleAttribute(name, on);
}
