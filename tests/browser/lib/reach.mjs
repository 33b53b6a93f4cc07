// Whether everything that can be pressed can be: runs inside the page.

/** The sizes a page is looked at in where it is hard: small phones, phones on their side, and windows zoomed to 200 and 400 %. */
export const SMALL = [[280, 568], [320, 568], [667, 375], [568, 320], [640, 360], [720, 450], [600, 520], [320, 256], [360, 225]];

/** What of the controls in sight cannot be brought under a finger, as a whole and with nothing over it; what is too wide. */
export function unreachable() {
  const found = [];
  const dialog = document.querySelector('dialog[open]');
  const name = (one) => `${one.id || one.dataset.act || one.dataset.word || one.className || one.tagName} "${(one.getAttribute('aria-label') ?? one.textContent).slice(0, 24)}"`;
  const seen = (one) => one.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && one.clientWidth + one.offsetWidth > 1 && (!dialog || dialog.contains(one));
  const scrolled = [document.scrollingElement, ...document.querySelectorAll('.side, #chatLog, dialog, .trouble')].map((one) => [one, one.scrollTop, one.scrollLeft]);
  if (document.documentElement.scrollWidth > innerWidth) found.push(`the page is ${document.documentElement.scrollWidth - innerWidth} pixels too wide`);
  for (const one of document.querySelectorAll('dialog[open], .side:not([hidden]), .trouble:not([hidden])')) {
    if (one.checkVisibility() && one.scrollWidth > one.clientWidth + 1) found.push(`${name(one)} is ${one.scrollWidth - one.clientWidth} pixels too wide inside`);
  }
  for (const one of document.querySelectorAll('button, a[href], input, select, textarea')) {
    if (!seen(one)) continue;
    one.scrollIntoView({ block: 'nearest', inline: 'nearest', behavior: 'instant' });
    const { left, top, right, bottom, width, height } = (one.closest('.switch') ?? one).getBoundingClientRect();
    const box = [left, top, right, bottom].map(Math.round).join();
    if (!one.closest('#chatLog') && (height < 47.5 || width < 47.5)) found.push(`${name(one)} is only ${Math.round(width)} by ${Math.round(height)}`);
    if (left < -0.5 || top < -0.5 || right > innerWidth + 0.5 || bottom > innerHeight + 0.5) found.push(`${name(one)} hangs out: ${box}`);
    const hit = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
    if (!hit || !(one === hit || one.contains(hit) || hit.closest('.switch') === one.closest('label'))) found.push(`${name(one)} is under ${hit && name(hit)}: ${box}`);
  }
  for (const [one, y, x] of scrolled) one.scrollTo({ top: y, left: x, behavior: 'instant' });
  return found;
}
