// The view: draws one model of the page and passes on what a person does. Only view*.js touch elements.
//
// It keeps no truth of its own beyond what is on the screen (which picture is small, what has faded).

import { browserNames } from '../lib/browser.js';
import { qualityWith } from '../call/selected-path.js';
import { makeChatView } from './chat-panel.js';
import { makeChrome } from './auto-hide.js';
import { makeDeviceSheet } from './device-menu.js';
import { makeKeys } from './shortcuts.js';
import { makeLinkView } from './invite-link.js';
import { makeNumbers } from './stats-panel.js';
import { find, label, putIcons, putWords, refuseDrops, setText, started } from './elements.js';
import { makePictures } from './videos.js';
import { makeTile } from './self-view.js';
import { makeSwitches } from './toggles.js';
import { makeTrustView } from './verification-panel.js';
import { makeWide } from './fullscreen.js';
import { clockTime, errorKey } from '../locales/index.js';

/**
 * @typedef {object} Model
 * @property {import('../app/status.js').SessionState} session
 * @property {import('../app/status.js').Status} status
 * @property {string} statusKey
 * @property {import('../media/media.js').MediaState} media
 * @property {string | null} error code of what to say, from server, call or devices
 * @property {boolean} canRetry
 * @property {boolean} invited came by a link to a room
 * @property {import('../call/chat.js').Chat} chat
 * @property {string} link
 * @property {import('../call/selected-path.js').Path | null} path
 * @property {boolean} udpBlocked
 * @property {import('../call/selected-path.js').Quality | null} quality
 * @property {import('../call/selected-path.js').Sample[]} samples
 * @property {'loss' | 'delay' | null} reason why the quality is not good
 * @property {number} seconds of this call
 *
 * @typedef {object} Actions
 * @property {(room: string, key: string) => void} join
 * @property {() => string} newRoomName
 * @property {() => void} typed another room's name stands in the field
 * @property {() => void} leave
 * @property {() => void} again
 * @property {() => void} newRoom
 * @property {() => void} retry
 * @property {() => void} dismiss
 * @property {(what: 'mic' | 'cam' | 'screen') => void} toggle
 * @property {() => void} flip
 * @property {import('../media/media.js').Media['select']} choose
 * @property {() => void} askSpeaker
 * @property {(open: boolean) => void} listening whether the level of the microphone is looked at in the call
 *
 * @typedef {{show: (model: Model) => void, level: (loud: number) => void, setRoom: (room: string) => void, room: () => string,
 *   remote: HTMLVideoElement}} View
 */

/**
 * @param {object} parts
 * @param {Document} parts.document
 * @param {Navigator} parts.navigator
 * @param {import('../locales/index.js').Say} parts.say
 * @param {import('../locales/languages.js').Language} parts.language
 * @param {import('../lib/clock.js').Clock} parts.clock
 * @param {Pick<Storage, 'getItem' | 'setItem'>} parts.storage of this browser
 * @param {Actions} parts.actions
 * @returns {View}
 */
export function makeView({ document, navigator, say, language, clock, storage, actions }) {
  document.documentElement.lang = language.tag;
  putWords(document, say);
  refuseDrops(document);
  putIcons(document);
  const manifest = find(document, '#manifest');
  // A page from a folder has only those manifests that are there.
  if (manifest.dataset.manifests?.split(' ').includes(language.code)) manifest.setAttribute('href', `/manifest.${language.code}.webmanifest`);

  const { body } = document;
  /** @param {string} id */
  const el = (id) => find(document, `#${id}`);
  /** @type {HTMLInputElement} */
  const room = find(document, '#room');
  /** @type {HTMLInputElement} */
  const key = find(document, '#key');
  const stage = el('stage');
  const pictures = makePictures({ document, say });
  const sheet = makeDeviceSheet({ document, navigator, say, actions, remote: pictures.remote });
  const wide = makeWide({ document, remote: pictures.remote, before: () => sheet.close() });
  const switches = makeSwitches({ document, say });
  const tile = makeTile({ stage, self: el('selfFrame'), remote: el('remoteFrame'), handle: el('swap') });
  const showLink = makeLinkView({ document, say, clock, navigator });
  const drawNumbers = makeNumbers({ document, list: el('figures'), say });
  const showTrust = makeTrustView({ document, say });
  const browser = browserNames(navigator);
  const locale = language.fallback ? navigator.language : language.tag;
  const chat = makeChatView({ document, say, locale, android: browser.includes('android'), came: () => chrome.come() });
  /** @type {Model | null} */
  let shown = null;
  const chrome = makeChrome({
    body, stage, clock,
    mayStepBack: () => shown?.status === 'connected' && !sheet.isOpen() && el('numbers').hidden && !shown.error,
  });

  /** @type {Record<string, () => void>} */
  const deeds = {
    mic: () => actions.toggle('mic'),
    cam: () => actions.toggle('cam'),
    share: () => { if (shown?.media.canShare) actions.toggle('screen'); },
    chat: toggleChat,
    settings: sheet.open,
    numbers: toggleNumbers,
    full: wide.full,
    pip: wide.pip,
    flip: () => { if (shown?.media.canFlip) actions.flip(); },
  };
  const keys = makeKeys({ document, storage, changed: () => { if (shown) show(shown); }, escape: closeSides, deeds: {
    m: deeds.mic, v: deeds.cam, s: deeds.share, c: deeds.chat, p: toggleNumbers, f: deeds.full,
  } });
  deeds.keys = () => {
    sheet.close();
    keys.list();
  };

  listen();

  function listen() {
    find(document, '#door').addEventListener('submit', (event) => {
      event.preventDefault();
      actions.join(room.value, key.value);
    });
    room.addEventListener('input', actions.typed);
    el('btnNew').addEventListener('click', () => {
      room.value = actions.newRoomName();
      actions.typed();
    });
    el('btnLeave').addEventListener('click', actions.leave);
    el('btnAgain').addEventListener('click', actions.again);
    el('btnAfterNew').addEventListener('click', actions.newRoom);
    el('btnRetry').addEventListener('click', actions.retry);
    el('btnDismiss').addEventListener('click', actions.dismiss);
    el('path').addEventListener('click', toggleNumbers);
    el('trust').addEventListener('click', () => {
      toggleNumbers();
      el('trustPart').scrollIntoView({ block: 'nearest' });
    });
    el('btnNumbersClose').addEventListener('click', toggleNumbers);
    for (const button of document.querySelectorAll('[data-act]')) {
      button.addEventListener('click', () => deeds[button.getAttribute('data-act') ?? '']());
    }
  }

  /** At the side there is room for one: the numbers or the chat. */
  function toggleNumbers() {
    if (sheet.isOpen()) sheet.close();
    const open = el('numbers').hidden;
    closeSides();
    if (open) showNumbers(true);
    chrome.come();
  }

  function toggleChat() {
    const open = !chat.isOpen();
    closeSides();
    if (open) chat.open();
    chrome.come();
  }

  function closeSides() {
    chat.close();
    showNumbers(false);
  }

  /** @param {boolean} open */
  function showNumbers(open) {
    const panel = el('numbers');
    if (!open && panel.contains(document.activeElement)) el('path').focus();
    panel.hidden = !open;
    for (const badge of ['path', 'trust']) el(badge).setAttribute('aria-expanded', String(open));
    if (open && shown) drawNumbers(shown.samples, shown.seconds);
  }

  /** @param {Model} model */
  function show(model) {
    const { session, media } = model;
    const arrived = body.dataset.screen !== session.screen;
    shown = model;
    body.dataset.screen = session.screen;
    const seesScreen = pictures.showTheirs(session.remote, model.samples.at(-1)?.frames ?? 0, session.connectedAt !== null && session.connectionState !== 'none');
    // A connection that is mended in a moment takes nothing of it away: the words, and the room made for them, stay.
    showStatus(model, seesScreen && ['connected', 'reconnecting'].includes(model.status) && session.remote.weak);
    showError(model);
    showDoor(model);
    showAfter(model);
    switches.show(media);
    showBadges(model);
    if (session.screen === 'waiting') showLink(model.link);
    pictures.showOwn(media);
    tile.show(session.screen === 'call' && session.connectedAt !== null);
    sheet.show(media);
    chat.show(model.chat);
    if (!el('numbers').hidden) drawNumbers(model.samples, model.seconds);
    if (arrived) enter(session.screen);
    started(document);
  }

  /** @param {string} screen */
  function enter(screen) {
    chrome.come();
    if (sheet.isOpen()) sheet.close();
    if (screen !== 'call') closeSides();
    // Whoever listens instead of looking hears where they are now.
    if (screen === 'waiting') el('btnCopy').focus({ preventScroll: true });
    if (screen === 'ended') el('afterTitle').focus();
    if (screen === 'lobby') el('doorTitle').focus();
    if (screen === 'call') stage.focus({ preventScroll: true });
    for (const meta of document.querySelectorAll('meta[name=theme-color]')) {
      meta.setAttribute('content', screen === 'call' ? '#000' : meta.getAttribute('media')?.includes('dark') ? '#14181a' : '#f3f4f1');
    }
    if (screen !== 'call') wide.end();
  }

  /** @param {Model} model @param {boolean} stands a screen of theirs is in sight, and still */
  function showStatus({ status, statusKey, session }, stands) {
    const place = el('status');
    place.dataset.state = status;
    // Connected needs no words of its own, unless there is something to know besides.
    const besides = status === 'connected' && statusKey !== 'status.connected';
    // Both at once are said in one place, or the lower one would lie on the screen that stands still.
    place.classList.toggle('told', besides && !stands);
    setText(place, say(statusKey));
    const bothWait = statusKey === 'status.connected.weak' || (status === 'reconnecting' && session.outgoingVideo === 'paused');
    const still = bothWait ? ['remote.both'] : [...(besides ? [statusKey] : []), 'remote.still'];
    setText(el('theirScreen'), stands ? together(still) : '');
  }

  /** @param {Model} model */
  function showError({ error, session, media, canRetry }) {
    const place = el('error');
    place.hidden = error === null;
    place.dataset.code = error ?? '';
    const sentence = error === 'key-required' && session.triedKey ? 'error.key-wrong' : errorKey(error ?? '', say, browser);
    const also = session.screen === 'lobby' && say(`error.or.${error}`) !== `error.or.${error}` ? [`error.or.${error}`] : [];
    setText(el('errorText'), error === null ? '' : together([sentence, ...also], { device: media.label }));
    el('btnRetry').hidden = !canRetry;
    // What is still so cannot be put aside.
    el('btnDismiss').hidden = error === 'no-path' || error === 'unreachable';
  }

  /** Sentences one after the other. @param {string[]} keys @param {Record<string, string>} [fills] */
  function together(keys, fills) {
    return keys.map((key) => say(key, fills)).join(say('sentence.gap'));
  }

  /** @param {Model} model */
  function showDoor({ session, media, invited, error }) {
    const join = /** @type {HTMLButtonElement} */ (el('btnJoin'));
    join.disabled = session.joining;
    const keyField = el('keyField');
    const keyAsked = keyField.hidden && session.needsKey;
    keyField.hidden = !session.needsKey;
    if (keyAsked) key.focus();
    el('btnNew').hidden = invited && error !== 'room-full';
    const { occupancy: inside } = session;
    el('inside').dataset.seats = String(inside ?? '');
    setText(el('inside'), inside === null || error === 'room-full' ? '' : say(`door.inside.${inside}`));
    setText(el('doorTitle'), say(invited ? 'door.invited' : 'door.title'));
    setText(el('joinWord'), say(switches.joinKey(media)));
    if (error === 'bad-room') room.setAttribute('aria-invalid', 'true');
    else room.removeAttribute('aria-invalid');
  }

  /** @param {Model} model */
  function showAfter({ session: { ended } }) {
    if (!ended) return;
    setText(el('afterTitle'), ended.seconds === null ? say('after.title') : say('after.titleAndTime', { time: clockTime(ended.seconds) }));
    setText(el('afterWhy'), say(`after.${ended.reason}`));
  }

  /** @param {Model} model */
  function showBadges({ status, path, udpBlocked, quality, reason, session }) {
    const badge = el('path');
    badge.hidden = status !== 'connected' || path === null;
    if (path) {
      badge.dataset.path = path;
      const word = qualityWith(quality ?? 'good', session.outgoingVideo);
      badge.dataset.quality = word;
      const way = `${say(`path.${path}`)} · ${say(`quality.${word}`)}`;
      setText(el('pathWord'), way);
      label(badge, say('path.label', { way }), 'P');
      setText(el('pathWhy'), together([session.pathAvoided && path !== 'direct' ? 'path.detour' : udpBlocked && path.startsWith('relay-t') ? `path.shut.${path}` : `path.why.${path}`, ...(reason ? [`quality.why.${reason}`] : []),
        ...(session.outgoingVideo === 'full' ? [] : [`picture.${session.outgoingVideo}`])]));
    } else {
      delete badge.dataset.path;
    }
    showTrust(status === 'connected' ? session.verification : null);
    el('theirMic').hidden = status !== 'connected' || session.remote.mic;
  }

  return {
    show,
    level(loud) {
      for (const bar of document.querySelectorAll('.level i')) /** @type {HTMLElement} */ (bar).style.transform = `scaleX(${loud.toFixed(2)})`;
    },
    room: () => room.value,
    setRoom(name) {
      room.value = name;
    },
    remote: pictures.remote,
  };
}
