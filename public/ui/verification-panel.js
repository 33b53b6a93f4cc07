// The trust code on the screen: four pictures in a badge, and with their words in the panel.

import { find, label, setText } from './elements.js';

/**
 * The 64 pictures of the code, chosen to look and sound unlike one another. Their order is part of the protocol and must
 * not change; `trust.pictures` has a word for each, in the same order.
 */
export const pictures = `
🐶 🐱 🐴 🐷 🐘 🐰 🐼 🐓
🐧 🐢 🐟 🐙 🦋 🐝 🐍 🦁
🌷 🌳 🌵 🍄 🌍 🌙 🌈 🔥
🍌 🍎 🍓 🌽 🍕 🎂 🥕 🍉
🤖 🎩 👓 🔧 🎅 👍 🌂 ⌛
⏰ 🎁 💡 📕 ✏ 📎 ✂ 🔒
🔑 🔨 📞 🏁 🚂 🚲 ⛵ 🚀
🏆 ⚽ 🎸 🎺 🔔 ⚓ 🎈 🏠`.trim().split(/\s/);

/**
 * @param {object} parts
 * @param {Document} parts.document
 * @param {import('../locales/index.js').Say} parts.say
 * @returns {(trust: import('../call/verification.js').Verification | null) => void}
 */
export function makeTrustView({ document, say }) {
  const badge = find(document, '#trust');
  const part = find(document, '#trustPart');
  const list = find(document, '#trustCode');
  const said = find(document, '#trustSaid');
  /** @type {import('../call/verification.js').Verification | null} */
  let shown = null;

  return (trust) => {
    if (trust === shown) return;
    shown = trust;
    badge.hidden = part.hidden = trust === null;
    // Whoever listens hears of it at once, whatever has the focus.
    setText(said, trust?.state === 'mismatch' ? `${say('trust.failed')}: ${say('trust.mismatch')}` : '');
    if (!trust) return void delete badge.dataset.state;
    badge.dataset.state = trust.state;
    const code = trust.state === 'same' ? trust.code.map(pictureOf) : [];
    list.replaceChildren(...code.map(entry));
    list.hidden = code.length === 0;
    const word = code.map(({ picture }) => picture).join(' ');
    setText(find(document, '#trustWord'), word || say('trust.failed'));
    label(badge, code.length ? say('trust.label', { words: code.map(({ word }) => word).join(', ') }) : say('trust.failed'));
    setText(find(document, '#trustHow'), say(code.length ? 'trust.how' : 'trust.mismatch'));
    find(document, '#trustLimit').hidden = code.length === 0;
  };

  /** @param {number} number */
  function pictureOf(number) {
    // Drawn in color also where a system has a plain form of the sign.
    return { picture: `${pictures[number]}\uFE0F`, word: say('trust.pictures').split(', ')[number] };
  }

  /** @param {ReturnType<typeof pictureOf>} of */
  function entry(of) {
    const item = document.createElement('li');
    const picture = document.createElement('span');
    picture.textContent = of.picture;
    picture.setAttribute('aria-hidden', 'true');
    const word = document.createElement('span');
    word.textContent = of.word;
    item.append(picture, word);
    return item;
  }
}
