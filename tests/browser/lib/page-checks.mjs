// Checks of what a page shows: layout, reachable controls, contrast, forced colors.
//
// Each function runs in the page, returns a list of faults as text, and must not use anything else of this file.

/** Small phones, phones in landscape, and windows zoomed to 200 and 400 %. */
export const SMALL_VIEWPORTS = [[280, 568], [320, 568], [667, 375], [568, 320], [640, 360], [720, 450], [600, 520], [320, 256], [360, 225]];

/** Waits until every animation that ends has ended. */
export const finishAnimations = `() => Promise.all(document.getAnimations()
  .filter((animation) => animation.effect.getTiming().iterations === 1).map((animation) => animation.finished.catch(() => {})))`;

/** Visible controls that cannot be scrolled into view whole and uncovered, or are too small; content that is too wide. */
export function unreachableControls() {
  const faults = [];
  const dialog = document.querySelector('dialog[open]');
  const name = (element) => `${element.id || element.dataset.act || element.dataset.word || element.className || element.tagName} "${(element.getAttribute('aria-label') ?? element.textContent).slice(0, 24)}"`;
  const isVisible = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && element.clientWidth + element.offsetWidth > 1 && (!dialog || dialog.contains(element));
  const scrollPositions = [document.scrollingElement, ...document.querySelectorAll('.side, #chatLog, dialog, .error-box')].map((element) => [element, element.scrollTop, element.scrollLeft]);
  if (document.documentElement.scrollWidth > innerWidth) faults.push(`the page is ${document.documentElement.scrollWidth - innerWidth} pixels too wide`);
  for (const element of document.querySelectorAll('dialog[open], .side:not([hidden]), .error-box:not([hidden])')) {
    if (element.checkVisibility() && element.scrollWidth > element.clientWidth + 1) faults.push(`${name(element)} is ${element.scrollWidth - element.clientWidth} pixels too wide inside`);
  }
  for (const element of document.querySelectorAll('button, a[href], input, select, textarea')) {
    if (!isVisible(element)) continue;
    element.scrollIntoView({ block: 'nearest', inline: 'nearest', behavior: 'instant' });
    const { left, top, right, bottom, width, height } = (element.closest('.switch') ?? element).getBoundingClientRect();
    const rect = [left, top, right, bottom].map(Math.round).join();
    if (!element.closest('#chatLog') && (height < 47.5 || width < 47.5)) faults.push(`${name(element)} is only ${Math.round(width)} by ${Math.round(height)}`);
    if (left < -0.5 || top < -0.5 || right > innerWidth + 0.5 || bottom > innerHeight + 0.5) faults.push(`${name(element)} is partly outside the window: ${rect}`);
    const hit = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
    if (!hit || !(element === hit || element.contains(hit) || hit.closest('.switch') === element.closest('label'))) faults.push(`${name(element)} is under ${hit && name(hit)}: ${rect}`);
  }
  for (const [element, top, left] of scrollPositions) element.scrollTo({ top, left, behavior: 'instant' });
  return faults;
}

/** Text that is cut off, controls that overlap, are too small or outside the window, and anything over a shared screen or
 *  over the face. */
export function layoutFaults() {
  const faults = [];
  const dialog = document.querySelector('dialog[open]');
  const isVisible = (element) => element.checkVisibility({ visibilityProperty: true }) && (!dialog || dialog.contains(element));
  const name = (element) => `${element.id || element.dataset.act || element.dataset.word || element.className || element.tagName} "${element.textContent.slice(0, 30)}"`;
  if (document.documentElement.scrollWidth > innerWidth) faults.push(`${document.documentElement.scrollWidth - innerWidth} pixels too wide`);

  for (const element of document.querySelectorAll('h1, h2, h3, p, span, dt, dd, button, label')) {
    if (isVisible(element) && !element.closest('.visually-hidden, .code, [data-unread]') && element.clientWidth > 1 && element.scrollWidth > element.clientWidth + 1) faults.push(`cut off: ${name(element)}`);
  }
  const controls = [...document.querySelectorAll('button, select, input, textarea')].filter(isVisible);
  // The label of a checkbox belongs to its touch target.
  const targets = controls.map((element) => ({ element, rect: (element.closest('.switch') ?? element).getBoundingClientRect() }));
  const canScroll = (element) => element.closest('dialog') || document.body.dataset.screen !== 'call';
  for (const [index, { element, rect }] of targets.entries()) {
    if (rect.width < 48 || rect.height < 48) faults.push(`${name(element)} is ${rect.width} by ${rect.height}`);
    if (rect.left < 0 || rect.right > innerWidth || (!canScroll(element) && (rect.top < 0 || rect.bottom > innerHeight))) faults.push(`outside the window: ${name(element)}`);
    for (const { element: other, rect: otherRect } of targets.slice(index + 1)) {
      const overlapX = Math.min(rect.right, otherRect.right) - Math.max(rect.left, otherRect.left);
      const overlapY = Math.min(rect.bottom, otherRect.bottom) - Math.max(rect.top, otherRect.top);
      if (overlapX > 1 && overlapY > 1) faults.push(`${name(element)} and ${name(other)} overlap`);
    }
  }

  const frame = document.getElementById('remoteFrame').getBoundingClientRect();
  if (document.body.dataset.screen !== 'call' || dialog || frame.width === 0) return faults;
  // A paused screen must stay readable: only the notice of a lost connection may cover it.
  if (document.getElementById('theirScreen').textContent) {
    const video = document.getElementById('remote');
    const top = frame.top + parseFloat(getComputedStyle(video).paddingTop);
    const imageTop = top + Math.max(0, (frame.bottom - top - (frame.width * video.videoHeight) / video.videoWidth) / 2);
    for (const element of document.querySelectorAll('.pill:not([data-state=reconnecting]), .top .badge')) {
      if (isVisible(element) && element.clientWidth > 1 && element.getBoundingClientRect().bottom > imageTop + 1) faults.push(`over the screen: ${name(element)}`);
    }
  }
  // The face is in the middle of the picture: only the video or its placeholder may be there.
  for (const [x, y] of [[0.5, 0.5], [0.4, 0.42], [0.6, 0.42], [0.5, 0.6]]) {
    const topmost = document.elementFromPoint(frame.left + frame.width * x, frame.top + frame.height * y);
    if (!topmost?.closest('.frame')) faults.push(`over the face: ${topmost && name(topmost)}`);
  }
  return faults;
}

/** Controls over the video with less contrast than WCAG AA requires, on a white or a black video. */
export function lowContrastControls() {
  const numbers = (color) => color.match(/[\d.]+/g).map(Number);
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faults = [];
  for (const element of document.querySelectorAll('.top .badge, .bar button, .pill')) {
    if (!element.checkVisibility({ visibilityProperty: true }) || element.clientWidth <= 1) continue;
    const style = getComputedStyle(element);
    const [r, g, b, alpha = 1] = numbers(style.backgroundColor);
    for (const video of [0, 255]) {
      const [text, background] = [numbers(style.color).slice(0, 3), [r, g, b].map((part) => part * alpha + video * (1 - alpha))].map(luminance);
      const contrast = (Math.max(text, background) + 0.05) / (Math.min(text, background) + 0.05);
      // Icons need 3 (WCAG 1.4.11), text needs 4.5 (1.4.3).
      if (contrast < (element.textContent.trim() ? 4.5 : 3)) faults.push(`${element.id || element.dataset.act}: ${contrast.toFixed(1)}`);
    }
  }
  return faults;
}

/** Elements that are visible by color or border alone and lose both in forced colors. */
export function forcedColorFaults() {
  const faults = [];
  const isVisible = (element) => element.checkVisibility({ visibilityProperty: true });
  const name = (element) => element.id || element.dataset.act || element.className;
  const bordered = 'button:not(.bare, .swap, .error-box .round), input:not([type=checkbox]), select, textarea, dialog[open], .side, .tile, .badge';
  for (const element of [...document.querySelectorAll(bordered)].filter(isVisible)) {
    const { borderTopWidth, borderTopColor } = getComputedStyle(element);
    if (parseFloat(borderTopWidth) < 1 || /^rgba.*, 0\)$/.test(borderTopColor)) faults.push(`${name(element)} has no border`);
  }
  for (const element of [...document.querySelectorAll('.round.red')].filter(isVisible)) {
    if (getComputedStyle(element).backgroundColor !== 'rgb(200, 50, 43)') faults.push(`${name(element)} is not red`);
  }
  for (const element of [...document.querySelectorAll('.level i')].filter(isVisible)) {
    if (getComputedStyle(element).backgroundColor === getComputedStyle(element.parentElement).backgroundColor) faults.push('the level meter is invisible');
  }
  return faults;
}
