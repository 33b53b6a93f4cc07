// Media: the person's own microphone, camera and screen together: asked for with one question, shown in one mirror,
// sent as one sound and one picture, and told of in one sentence at a time.

import { makeCapture } from './capture.js';
import { makeChoosing } from './device-selection.js';
import { makeChosen } from './device-preferences.js';
import { makeMixer } from './mixer.js';
import { makeOwn } from './local-track.js';
import { makeScreen } from './screen-share.js';
import { makeTurn } from '../lib/serial-queue.js';

const HINT_AFTER_MS = 20_000;
const NOTICE_MS = 8000;

/**
 * @typedef {{mic: boolean, cam: boolean}} Wanted
 * @typedef {import('./local-track.js').Kind} Kind
 * @typedef {import('./media-errors.js').MediaCode} MediaCode
 *
 * @typedef {OwnState & import('./device-selection.js').ChoosingState} MediaState what the page knows of its own devices
 * @typedef {object} OwnState
 * @property {boolean} asking the browser is asking the person
 * @property {boolean} mic heard by the other side
 * @property {boolean} cam
 * @property {boolean} screen
 * @property {{mic: boolean, cam: boolean}} held taken from us for now: by a phone call, or by the system
 * @property {boolean} hasMic
 * @property {boolean} canShare
 * @property {MediaCode | null} trouble
 * @property {string} label of the device a trouble is about
 * @property {MediaStream | null} stream own picture, for the mirror
 *
 * @typedef {(on: boolean) => Promise<MediaCode | null>} Switch resolves to what stood in the way
 *
 * @typedef {object} Media
 * @property {MediaState} state
 * @property {(wanted?: Wanted) => Promise<void>} start
 * @property {() => Promise<void>} again asks for what is wanted and not there
 * @property {() => Wanted} wanted the person's last word, whatever became of it
 * @property {() => void} stop
 * @property {() => Promise<MediaCode | null>} askMic for the microphone alone, where both were refused; switched as wanted
 * @property {Switch} setMic
 * @property {Switch} setCam
 * @property {Switch} setScreen
 * @property {import('./device-selection.js').Choosing['choose']} choose
 * @property {() => Promise<void>} flip
 * @property {() => void} wake the page is looked at again: what was taken is taken back
 * @property {() => void} sound the page was touched: what a browser holds until then goes on
 * @property {() => void} calm what was only a notice has been read
 * @property {() => MediaStreamTrack | null} voice the microphone alone
 * @property {() => {audio: MediaStreamTrack | null, video: MediaStreamTrack | null}} outgoing
 */

/**
 * @param {import('./capture.js').Edge & {
 *   newStream: () => MediaStream, newContext?: () => AudioContext, memory?: import('./device-preferences.js').Memory,
 *   clock: import('../lib/clock.js').Clock, now: () => number, hidden?: () => boolean, changed: () => void}} parts
 *   `changed` is called after every change of state or tracks; `memory` keeps what was chosen; `hidden`: nobody looks
 * @returns {Media}
 */
export function makeMedia({ devices, newStream, newContext = () => new AudioContext(), memory, clock, now, hidden = () => false, changed, ...edge }) {
  const capture = makeCapture({ devices, ...edge });
  const mixer = makeMixer(newContext);
  const kept = makeChosen(memory);
  const cameraTurn = makeTurn(clock);
  const own = { mic: ownOf('mic', (task) => task()), cam: ownOf('cam', cameraTurn) };
  const both = [own.mic, own.cam];
  const choosing = makeChoosing({ devices, kept, own, changed: tell });
  const screen = makeScreen({ pick: capture.screen, ended: () => setScreen(false) });
  /** @type {MediaCode | null} what came of the last question, or a notice; what is lost or held is told by itself */
  let told = null;
  /** @type {{notice?: any, hint?: any}} a notice goes by itself, and a question left open for long is told of */
  const timers = {};
  /** Each start and stop makes what earlier askings still bring unwanted. */
  let generation = 0;
  /** @type {MediaState} */
  const state = {
    asking: false, mic: true, cam: true, screen: false, held: { mic: false, cam: false }, hasMic: false,
    canShare: typeof devices?.getDisplayMedia === 'function', trouble: null, label: '', stream: null, ...choosing.state,
  };

  devices?.addEventListener?.('devicechange', plugged);
  capture.whenGranted(granted);

  /** @param {Kind} kind @param {import('../lib/serial-queue.js').InTurn} inTurn */
  function ownOf(kind, inTurn) {
    return makeOwn({
      kind, inTurn, clock, now, hidden,
      ask: () => capture.one(kind, kept.chosen),
      async look() {
        await choosing.list();
        return choosing.has(kind);
      },
      changed(news, label) {
        if (news === 'device-switched') announce(label ?? '');
        refresh(news);
      },
    });
  }

  /** @param {MediaCode | null} [news] in place of what was told before */
  function tell(news = told) {
    told = news;
    const [mic, cam] = both.map((each) => each.state());
    Object.assign(state, choosing.state, {
      mic: mic.on, cam: cam.on, held: { mic: mic.held, cam: cam.held }, hasMic: own.mic.track() !== null, screen: screen.video() !== null,
      trouble: told ?? mic.lost ?? cam.lost ?? (mic.taken || cam.taken ? 'device-taken' : null),
    });
    changed();
  }

  /** The mirror shows what is on the wire; the tracks go out in the same breath. @param {MediaCode | null} [news] */
  function refresh(news) {
    const before = state.stream?.getTracks() ?? [];
    const next = [screen.video() ?? own.cam.track(), own.mic.track()].filter((track) => track !== null);
    if (before.length !== next.length || next.some((track) => !before.includes(track))) {
      state.stream = next.length ? newStream() : null;
      next.forEach((track) => state.stream?.addTrack(track));
    }
    tell(news);
  }

  /** Another device came by itself in place of one that was lost. @param {string} label */
  function announce(label) {
    state.label = label;
    clock.cancel(timers.notice);
    timers.notice = clock.after(calm, NOTICE_MS);
  }

  function calm() {
    tell(told === 'device-switched' ? null : told);
  }

  /** @param {Wanted} [wanted] */
  async function start(wanted = { mic: true, cam: true }) {
    stopAll();
    const mine = generation;
    own.mic.begin(wanted.mic);
    own.cam.begin(wanted.cam);
    state.asking = true;
    tell();
    timers.hint = clock.after(() => tell('timeout'), HINT_AFTER_MS);
    const asked = () => askBoth(wanted, mine);
    await (wanted.cam ? cameraTurn(asked) : asked());
    if (mine !== generation) return;
    await choosing.list();
    if (mine !== generation) return;
    await choosing.correct();
    if (mine === generation && own.cam.wanted() && !wanted.cam && !own.cam.track()) await own.cam.fetch();
  }

  /** @param {Wanted} wanted @param {number} mine */
  async function askBoth(wanted, mine) {
    if (mine !== generation) return;
    const { stream, trouble } = await capture.both(wanted, kept.chosen);
    const tracks = stream?.getTracks() ?? [];
    if (mine !== generation) return tracks.forEach((track) => track.stop());
    clock.cancel(timers.hint);
    state.asking = false;
    own.mic.settle(tracks.find((track) => track.kind === 'audio'));
    own.cam.settle(tracks.find((track) => track.kind === 'video'));
    refresh(trouble);
  }

  function stopAll() {
    generation += 1;
    told = null;
    both.forEach((each) => each.end());
    screen.end();
    clock.cancel(timers.notice);
    clock.cancel(timers.hint);
    Object.assign(state, { asking: false, stream: null });
    mixer.mix(null, null);
  }

  /** What is wanted and not there. What runs goes on as it is, a shared screen too. */
  async function again() {
    if (!own.mic.track() && !own.cam.track() && !screen.video()) return start(wanted());
    const mine = generation;
    /** @type {MediaCode | null} */
    let refused = null;
    for (const each of both) {
      const isMissing = each.state().lost !== null || (!each.track() && each.wanted());
      if (mine === generation && isMissing) refused = (await each.fetch()).trouble ?? refused;
    }
    tell(mine === generation && refused ? refused : told);
  }

  /** What was chosen and comes back is taken again, as a speaker is. */
  async function plugged() {
    await choosing.list();
    both.forEach((each) => each.regain());
    if (!state.asking) await choosing.correct();
  }

  /** Allowed after all, in the browser's own settings: no need to be asked to try again. */
  function granted() {
    if (!state.asking && state.trouble?.startsWith('camera-denied')) again();
  }

  async function setScreen(/** @type {boolean} */ on) {
    const answer = on ? await screen.share() : { trouble: null };
    if (!answer) return null;
    if (!on) screen.end();
    refresh(answer.trouble ?? (told?.startsWith('screen-') ? null : told));
    return answer.trouble;
  }

  const wanted = () => ({ mic: own.mic.wanted(), cam: own.cam.wanted() });

  return {
    state,
    start,
    stop() {
      stopAll();
      tell();
    },
    again,
    wanted,
    async askMic() {
      const hint = (timers.hint = clock.after(() => tell('timeout'), HINT_AFTER_MS));
      const { trouble } = await own.mic.fetch().finally(() => clock.cancel(hint));
      if (trouble) tell(trouble === 'camera-denied' ? 'camera-denied-again' : trouble);
      return trouble;
    },
    setMic: own.mic.set,
    setCam: own.cam.set,
    setScreen,
    choose: choosing.choose,
    flip: choosing.flip,
    wake() {
      both.forEach((each) => each.wake());
      mixer.wake();
    },
    sound: mixer.wake,
    calm,
    voice: own.mic.track,
    outgoing: () => ({ audio: mixer.mix(own.mic.track(), screen.sound()), video: screen.video() ?? own.cam.track() }),
  };
}
