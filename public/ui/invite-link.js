// The link on the waiting screen: shown, copied, shared, and as a QR code.

import { find, setText, svg } from './elements.js';

const COPIED_FOR_MS = 2000;
/** Light modules around the code, so that readers find it. */
const QUIET = 2;

/**
 * @param {object} parts
 * @param {Document} parts.document
 * @param {import('../locales/index.js').Say} parts.say
 * @param {import('../lib/clock.js').Clock} parts.clock
 * @param {Navigator} parts.navigator
 * @returns {(url: string) => void} shows another link
 */
export function makeLinkView({ document, say, clock, navigator }) {
  /** @type {HTMLInputElement} */
  const field = find(document, '#link');
  const copyWord = find(document, '#copyWord');
  const share = find(document, '#btnShare');
  const code = find(document, '#qr');
  const figure = find(document, '.qr');

  share.hidden = typeof navigator.share !== 'function';
  share.addEventListener('click', () => {
    navigator.share({ title: say('title'), url: field.value }).catch(() => {});
  });
  field.addEventListener('focus', () => field.select());
  find(document, '#btnCopy').addEventListener('click', async () => {
    if (!(await copied())) return field.select();
    setText(copyWord, say('waiting.copied'));
    clock.after(() => setText(copyWord, say('waiting.copy')), COPIED_FOR_MS);
  });

  async function copied() {
    try {
      await navigator.clipboard.writeText(field.value);
      return true;
    } catch {
      field.select();
      return document.execCommand('copy');
    }
  }

  /**
   * The code comes later than the page: nobody scans it at the door.
   * @param {string} url
   */
  async function draw(url) {
    const { qr } = await import('../lib/qr-code.js');
    const rows = qr(url);
    const size = rows.length + 2 * QUIET;
    const d = rows.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x + QUIET} ${y + QUIET}h1v1h-1z` : ''))).join('');
    code.setAttribute('viewBox', `0 0 ${size} ${size}`);
    code.replaceChildren(svg(document, 'path', { d, fill: '#000', 'shape-rendering': 'crispEdges' }));
    figure.classList.add('drawn');
  }

  return (url) => {
    if (field.value === url) return;
    field.value = url;
    figure.classList.remove('drawn');
    // Without it there is still the link.
    draw(url).catch(() => {});
  };
}
