// Media: the person's own microphone, camera and screen, as tracks that may each be missing, and what becomes
// of them while a call goes on: switched, chosen, unplugged, taken by a phone call, and had again.

import { makeCapture } from './capture.js';
import { makeChosen } from './chosen.js';
import { makeHolding } from './holding.js';
import { makeLost } from './lost.js';
import { makeMixer } from './mixer.js';
import { makeScreen } from './screen.js';

const HINT_AFTER_MS = 20_000;
const NOTICE_MS = 8000;
const INPUT = /** @type {const} */ ({ mic: 'audioinput', cam: 'videoinput' });
const NO_TROUBLE = { trouble: null };
const BOTH = /** @type {const} */ (['mic', 'cam']);

/**
 * @typedef {{mic: boolean, cam: boolean}} Wanted
 * @typedef {import('./lost.js').Kind} Kind
 * @typedef {import('./media-trouble.js').MediaCode} MediaCode
 * @typedef {import('./chosen.js').MediaState} MediaState
 *
 * @typedef {(on: boolean) => Promise<MediaCode | null>} Switch resolves to what stood in the way
 *
 * @typedef {object} Media
 * @property {MediaState} state
 * @property {(wanted?: Wanted) => Promise<void>} start
 * @property {() => Promise<void>} again asks for what is wanted and not there
 * @property {() => Wanted} wanted the person's last word, whatever became of it
 * @property {() => void} stop
 * @property {Switch} setMic
 * @property {Switch} setCam
 * @property {Switch} setScreen
 * @property {(kind: import('./chosen.js').DeviceKind, id: string) => Promise<void>} choose
 * @property {() => Promise<void>} flip
 * @property {() => void} wake the page is looked at again: what was taken is taken back
 * @property {() => void} calm what was only a notice has been read
 * @property {() => MediaStreamTrack | null} voice the microphone alone
 * @property {() => {audio: MediaStreamTrack | null, video: MediaStreamTrack | null}} outgoing
 */

/**
 * @param {import('./capture.js').Edge & {
 *   newStream: () => MediaStream, newContext?: () => AudioContext, memory?: import('./chosen.js').Memory,
 *   clock: import('./signaling.js').Clock, now: () => number, hidden?: () => boolean, changed: () => void}} parts
 *   `changed` is called after every change of state or tracks; `memory` keeps what was chosen; `hidden`: nobody looks
 * @returns {Media}
 */
export function makeMedia({ devices, newStream, newContext = () => new AudioContext(), memory, clock, now, hidden = () => false, changed, ...edge }) {
  const capture = makeCapture({ devices, ...edge });
  const mixer = makeMixer(newContext);
  const { chosen: wish, keep, match, isOther } = makeChosen(memory);
  const screen = makeScreen({ pick: capture.screen, ended: () => setScreen(false) });
  /** @type {Record<Kind, MediaStreamTrack | null>} */
  const tracks = { mic: null, cam: null };
  /** @type {Record<Kind, object | null>} the newest asking for each: what an earlier one still brings is not wanted */
  const fetching = { mic: null, cam: null };
  const lost = makeLost({ clock, there, back, changed: tell, take: (kind) => take(kind, true) });
  const holding = makeHolding({ clock, now, hidden, changed: tell, taken, released, kept: lose });
  /** @type {MediaCode | null} what came of the last question, or a notice; what is lost or held is told by itself */
  let told = null;
  /** @type {any} a notice goes by itself */
  let notice;
  /** Each start and stop makes what earlier askings still bring unwanted. */
  let generation = 0;
  /** @type {MediaStreamTrack | null} a microphone that may be left silent, though it says otherwise */
  let stale = null;
  /** The person's last word on each, also while a device is still being fetched or is gone. */
  let want = { mic: true, cam: true };
  /** @type {MediaState} */
  const state = {
    asking: false, mic: true, cam: true, screen: false, held: { mic: false, cam: false }, hasMic: false,
    canShare: typeof devices?.getDisplayMedia === 'function', canFlip: false, mirrored: true, trouble: null, label: '',
    stream: null, devices: [], chosen: { audioinput: '', videoinput: '', audiooutput: wish.audiooutput },
  };

  devices?.addEventListener?.('devicechange', plugged);
  capture.whenGranted(granted);

  function tell() {
    state.held = { mic: holding.held('mic'), cam: holding.held('cam') };
    state.trouble = told ?? lost.trouble() ?? (BOTH.some((kind) => state[kind] && holding.seen(kind)) ? 'device-taken' : null);
    changed();
  }

  /** @param {Wanted} [wanted] */
  async function start(wanted = { mic: true, cam: true }) {
    stopAll();
    const mine = generation;
    want = { ...wanted };
    Object.assign(state, { asking: true, mic: wanted.mic, cam: wanted.cam });
    tell();
    const hint = clock.after(() => { told = 'timeout'; tell(); }, HINT_AFTER_MS);
    const got = await capture.both(wanted, wish);
    clock.cancel(hint);
    if (mine !== generation) return got.stream?.getTracks().forEach((track) => track.stop());
    state.asking = false;
    told = got.trouble;
    for (const track of got.stream?.getTracks() ?? []) {
      const kind = track.kind === 'audio' ? 'mic' : 'cam';
      if (kind === 'mic' || want.cam) adopt(kind, track);
      else track.stop();
    }
    state.cam = tracks.cam !== null;
    state.mic = tracks.mic !== null && want.mic;
    if (tracks.mic) tracks.mic.enabled = state.mic;
    refresh();
    await listDevices();
    if (mine !== generation) return;
    // The remembered devices may have other names for the browser today; a missing one is no reason to lose both.
    match(state.devices);
    await Promise.all(BOTH.map((kind) => tracks[kind] && isOther(INPUT[kind], tracks[kind], state.devices) && take(kind)));
    if (want.cam && !wanted.cam && !tracks.cam) await take('cam');
  }

  /** @param {Kind} kind @param {MediaStreamTrack} track */
  function adopt(kind, track) {
    tracks[kind]?.stop();
    tracks[kind] = track;
    if (kind === 'cam') track.contentHint = 'motion';
    lost.forget(kind);
    track.onended = () => { if (tracks[kind] === track) lose(kind); };
    holding.watch(kind, track);
  }

  /** What is still being fetched is not wanted either. @param {Kind} kind */
  function letGo(kind) {
    tracks[kind]?.stop();
    tracks[kind] = null;
    fetching[kind] = null;
    holding.forget(kind);
  }

  /** Unplugged, or taken for good: where somebody had it before, it is not the person who can plug it in.
   *  @param {Kind} kind */
  function lose(kind) {
    const trouble = holding.long(kind) ? 'device-taken' : kind === 'mic' ? 'mic-lost' : 'cam-lost';
    const label = tracks[kind]?.label ?? '';
    letGo(kind);
    state[kind] = false;
    told = null;
    lost.begin(kind, label, trouble);
    refresh();
  }

  /** @param {Kind} kind */
  async function there(kind) {
    await listDevices();
    return state.devices.some((each) => each.kind === INPUT[kind]);
  }

  /** @param {MediaStreamTrack} track @param {string} before */
  function back({ label }, before) {
    if (!label || label === before) return;
    told = 'device-switched';
    state.label = label;
    clock.cancel(notice);
    notice = clock.after(calm, NOTICE_MS);
    tell();
  }

  /** @param {Kind} kind */
  function taken(kind) {
    if (state[kind]) told = null;
    tell();
  }

  /** After a phone call iOS gives the microphone back and yet leaves it silent: only a new one is heard.
   *  @param {Kind} kind */
  async function released(kind) {
    if (kind !== 'mic') return;
    stale = tracks.mic;
    const { trouble } = await take('mic', true);
    if (!trouble || trouble.startsWith('camera-denied') || !stale || tracks.mic !== stale) return;
    lost.begin('mic', stale.label, 'device-taken');
    tell();
  }

  function calm() {
    if (told === 'device-switched') told = null;
    tell();
  }

  async function plugged() {
    await listDevices();
    for (const kind of BOTH) lost.regain(kind);
  }

  /** Allowed after all, in the browser's own settings: no need to be asked to try again. */
  function granted() {
    if (!state.asking && state.trouble?.startsWith('camera-denied')) again();
  }

  /** What is wanted and not there. What runs goes on as it is, a shared screen too. */
  async function again() {
    if (!tracks.mic && !tracks.cam && !screen.video()) return start(want);
    const mine = generation;
    /** @type {MediaCode | null} */
    let refused = null;
    for (const kind of BOTH) if (mine === generation && (lost.has(kind) || (!tracks[kind] && want[kind]))) refused = (await take(kind)).trouble ?? refused;
    if (mine === generation) told = refused ?? told;
    tell();
  }

  /** The mirror shows what is on the wire; the tracks go out in the same breath. */
  function refresh() {
    const shown = screen.video() ?? tracks.cam;
    const kept = state.stream?.getTracks() ?? [];
    const next = [shown, tracks.mic].filter((track) => track !== null);
    if (kept.length !== next.length || next.some((track) => !kept.includes(track))) {
      state.stream = next.length ? newStream() : null;
      next.forEach((track) => state.stream?.addTrack(track));
    }
    state.hasMic = tracks.mic !== null;
    tell();
  }

  async function listDevices() {
    state.devices = (await devices?.enumerateDevices().catch(() => [])) ?? [];
    const facing = tracks.cam?.getSettings().facingMode;
    for (const kind of BOTH) state.chosen[INPUT[kind]] = tracks[kind]?.getSettings().deviceId || wish[INPUT[kind]] || state.chosen[INPUT[kind]];
    state.chosen.audiooutput = wish.audiooutput;
    state.canFlip = (facing === 'user' || facing === 'environment') && state.devices.filter((each) => each.kind === 'videoinput').length > 1;
    state.mirrored = facing !== 'environment';
    tell();
  }

  function stopAll() {
    generation += 1;
    told = null;
    BOTH.forEach(letGo);
    BOTH.forEach(lost.forget);
    screen.end();
    clock.cancel(notice);
    Object.assign(state, { asking: false, screen: false, stream: null, hasMic: false });
    mixer.mix(null, null);
  }

  /**
   * Fetches a microphone or camera in place of the one before, switched as the person wants it.
   * @param {Kind} kind
   * @param {boolean} quietly without a word where it fails, and not while it is asked for aloud
   * @returns {Promise<import('./lost.js').Taken>}
   */
  async function take(kind, quietly = false) {
    if (quietly && fetching[kind]) return NO_TROUBLE;
    const mine = (fetching[kind] = {});
    const { stream, trouble } = await capture.one(kind, wish);
    const track = stream?.getTracks()[0];
    // Left, switched off, or asked for anew while it was being fetched.
    if (fetching[kind] !== mine) {
      track?.stop();
      return NO_TROUBLE;
    }
    fetching[kind] = null;
    if (track || !quietly) told = trouble;
    if (track) adopt(kind, track);
    state[kind] = tracks[kind] !== null && want[kind];
    if (kind === 'mic' && tracks.mic) tracks.mic.enabled = state.mic;
    refresh();
    await listDevices();
    return { track, trouble };
  }

  /** Another camera by this wish; where it will not come, the one before, and the trouble is told.
   *  Phones open one camera at a time: the old one goes before the new one comes.
   *  @param {Partial<typeof wish>} next */
  async function changeCamera(next) {
    const [before, mine] = [{ ...wish }, generation];
    Object.assign(wish, next);
    keep(state.devices);
    if (lost.has('cam') || (!tracks.cam && !fetching.cam)) return haveChosen('cam');
    letGo('cam');
    state.chosen.videoinput = wish.videoinput || state.chosen.videoinput;
    tell();
    const { trouble } = await take('cam');
    if (!trouble || !want.cam || mine !== generation) return;
    Object.assign(wish, { videoinput: before.videoinput, facing: before.facing });
    const got = await take('cam');
    // Neither: something else was chosen in the meantime.
    if (!got.track && !got.trouble) return;
    told = trouble;
    tell();
  }

  /** What is chosen is had at once where the one before runs, is being fetched or is gone. @param {Kind} kind */
  async function haveChosen(kind) {
    if (tracks[kind] || fetching[kind] || lost.has(kind)) await take(kind);
    else await listDevices();
  }

  async function setScreen(/** @type {boolean} */ on) {
    const answer = on ? await screen.share() : NO_TROUBLE;
    if (!answer) return null;
    if (!on) screen.end();
    told = answer.trouble ?? (told?.startsWith('screen-') ? null : told);
    state.screen = screen.video() !== null;
    refresh();
    return answer.trouble;
  }

  return {
    state,
    start,
    stop() {
      stopAll();
      tell();
    },
    again,
    wanted: () => ({ ...want }),
    async setMic(on) {
      want.mic = on;
      // While the browser asks, a switch is only a wish. Off and on again fetches what was not given back.
      if (on && !state.asking && (!tracks.mic || tracks.mic === stale || lost.has('mic') || holding.long('mic'))) return (await take('mic')).trouble;
      if (tracks.mic) tracks.mic.enabled = on;
      else lost.forget('mic');
      state.mic = on;
      tell();
      return null;
    },
    async setCam(on) {
      want.cam = on;
      // Off lets go of the camera, so that its light goes out.
      if (on && !tracks.cam && !state.asking) return (await take('cam')).trouble;
      if (!on) letGo('cam');
      lost.forget('cam');
      state.cam = on;
      refresh();
      return null;
    },
    setScreen,
    async choose(kind, id) {
      if (kind === 'videoinput') return changeCamera({ videoinput: id });
      wish[kind] = id;
      keep(state.devices);
      await (kind === 'audioinput' ? haveChosen('mic') : listDevices());
    },
    async flip() {
      if (state.canFlip) await changeCamera({ videoinput: '', facing: state.mirrored ? 'environment' : 'user' });
    },
    wake() {
      BOTH.forEach(lost.regain);
      holding.wake();
    },
    calm,
    voice: () => tracks.mic,
    outgoing: () => ({ audio: mixer.mix(tracks.mic, screen.sound()), video: screen.video() ?? tracks.cam }),
  };
}
