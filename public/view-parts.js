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
 * @param {import('./words.js').Say} say
 */
export function putWords(document, say) {
  document.title = say('title');
  for (const place of document.querySelectorAll('[data-word]')) {
    place.textContent = say(place.getAttribute('data-word') ?? '');
  }
  for (const place of document.querySelectorAll('[data-hint]')) {
    place.setAttribute('placeholder', say(place.getAttribute('data-hint') ?? ''));
  }
  for (const place of document.querySelectorAll('[data-label]')) {
    label(place, say(place.getAttribute('data-label') ?? ''), place.getAttribute('data-key') ?? '');
  }
}

/**
 * A name for those who listen and, on a button, a tooltip with its key for those who look.
 * @param {Element} place
 * @param {string} text
 * @param {string} [key]
 */
export function label(place, text, key) {
  place.setAttribute('aria-label', text);
  if (place.tagName !== 'BUTTON' || place.classList.contains('swap')) return;
  place.setAttribute('title', key ? `${text} (${key})` : text);
  if (key) place.setAttribute('aria-keyshortcuts', key);
}

/**
 * Sets text only where it changes, so that screen readers are not told the same thing twice.
 * @param {Element} place
 * @param {string} text
 */
export function setText(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

/**
 * @param {Element} place
 * @param {string} name
 * @param {boolean} on
 */
export function flag(place, name, on) {
  if (place.hasAttribute(name) !== on) place.toggleAttribute(name, on);
}
