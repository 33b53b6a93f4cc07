// The trust code on the screen: four pictures in a badge, and with their words in the panel.

import { emoji } from '../locales/emoji.js';
import { find, label, setText } from './elements.js';

/**
 * @param {object} parts
 * @param {Document} parts.document
 * @param {import('../locales/index.js').Say} parts.say
 * @param {'en' | 'zh'} parts.language
 * @returns {(trust: import('../call/verification.js').Trust | null) => void}
 */
export function makeTrustView({ document, say, language }) {
  const badge = find(document, '#trust');
  const part = find(document, '#trustPart');
  const list = find(document, '#trustCode');
  const said = find(document, '#trustSaid');
  /** @type {import('../call/verification.js').Trust | null} */
  let shown = null;

  return (trust) => {
    if (trust === shown) return;
    shown = trust;
    badge.hidden = part.hidden = trust === null;
    // Whoever listens hears of it at once, whatever has the focus.
    setText(said, trust?.state === 'mismatch' ? `${say('trust.failed')}: ${say('trust.mismatch')}` : '');
    if (!trust) return void delete badge.dataset.state;
    badge.dataset.state = trust.state;
    const code = trust.state === 'same' ? trust.code.map((number) => emoji[number]) : [];
    list.replaceChildren(...code.map(entry));
    list.hidden = code.length === 0;
    const pictures = code.map(({ picture }) => picture).join(' ');
    setText(find(document, '#trustWord'), pictures || say('trust.failed'));
    label(badge, code.length ? say('trust.label', { words: code.map((each) => each[language]).join(', ') }) : say('trust.failed'));
    setText(find(document, '#trustHow'), say(code.length ? 'trust.how' : 'trust.mismatch'));
    find(document, '#trustLimit').hidden = code.length === 0;
  };

  /** @param {typeof emoji[number]} of */
  function entry(of) {
    const item = document.createElement('li');
    const picture = document.createElement('span');
    picture.textContent = of.picture;
    picture.setAttribute('aria-hidden', 'true');
    const word = document.createElement('span');
    word.textContent = of[language];
    item.append(picture, word);
    return item;
  }
}
