// Media: the person's own microphone, camera and screen, as two tracks that may each be missing.
//
// The only file that knows getUserMedia. Missing devices are a value, never an exception: whatever can be
// had is had, and the trouble with the rest comes along as a code.

import { mediaCode, mayHaveSoundOnly } from './media-trouble.js';

const HINT_AFTER_MS = 20_000;

/**
 * @typedef {import('./media-trouble.js').MediaCode} MediaCode
 * @typedef {{mic: boolean, cam: boolean}} Wanted
 *
 * @typedef {object} MediaState
 * @property {boolean} asking the browser is asking the person
 * @property {boolean} mic heard by the other side
 * @property {boolean} cam
 * @property {boolean} screen
 * @property {boolean} hasMic
 * @property {boolean} canShare
 * @property {MediaCode | null} trouble
 * @property {MediaStream | null} stream own picture, for the mirror
 * @property {MediaDeviceInfo[]} devices
 * @property {{audioinput: string, videoinput: string}} chosen
 *
 * @typedef {object} Media
 * @property {MediaState} state
 * @property {(wanted?: Wanted) => Promise<void>} start
 * @property {() => void} stop
 * @property {(on: boolean) => Promise<void>} setMic
 * @property {(on: boolean) => Promise<void>} setCam
 * @property {(on: boolean) => Promise<void>} setScreen
 * @property {(kind: 'audioinput' | 'videoinput', id: string) => Promise<void>} choose
 * @property {() => {audio: MediaStreamTrack | null, video: MediaStreamTrack | null}} outgoing
 */

/**
 * @param {object} parts
 * @param {MediaDevices | undefined} parts.devices undefined on insecure origins
 * @param {() => MediaStream} parts.newStream
 * @param {import('./signaling.js').Clock} parts.clock
 * @param {() => void} parts.changed called after every change of state or tracks
 * @returns {Media}
 */
export function makeMedia({ devices, newStream, clock, changed }) {
  /** @type {{mic: MediaStreamTrack | null, cam: MediaStreamTrack | null, screen: MediaStreamTrack | null}} */
  const tracks = { mic: null, cam: null, screen: null };
  /** Each start and stop makes what earlier askings still bring unwanted. */
  let generation = 0;
  /** @type {MediaState} */
  const state = {
    asking: false, mic: true, cam: true, screen: false, hasMic: false, trouble: null, stream: null,
    devices: [], chosen: { audioinput: '', videoinput: '' },
    canShare: typeof devices?.getDisplayMedia === 'function',
  };

  devices?.addEventListener?.('devicechange', listDevices);

  /** @param {Wanted} [wanted] */
  async function start(wanted = { mic: true, cam: true }) {
    const mine = ++generation;
    stopTracks();
    Object.assign(state, { asking: true, trouble: null, mic: wanted.mic, cam: wanted.cam });
    changed();
    const hint = clock.after(() => { state.trouble = 'timeout'; changed(); }, HINT_AFTER_MS);
    const got = await askBoth(wanted);
    clock.cancel(hint);
    if (mine !== generation) return got.stream?.getTracks().forEach((track) => track.stop());
    state.asking = false;
    state.trouble = got.trouble;
    for (const track of got.stream?.getTracks() ?? []) adopt(track);
    state.cam = tracks.cam !== null;
    state.mic = tracks.mic !== null && wanted.mic;
    if (tracks.mic) tracks.mic.enabled = state.mic;
    refresh();
    await listDevices();
  }

  /**
   * Camera and microphone with one question; where one of them is missing, the other alone.
   * @param {Wanted} wanted
   * @returns {Promise<{stream: MediaStream | null, trouble: MediaCode | null}>}
   */
  async function askBoth(wanted) {
    // The microphone is asked for even when it starts switched off: switching it on must not ask again.
    const both = await ask({ audio: microphone(), video: wanted.cam && camera() });
    if (!both.trouble || !wanted.cam || !mayHaveSoundOnly(both.trouble)) return both;
    const sound = await ask({ audio: microphone() });
    if (sound.stream) return { stream: sound.stream, trouble: both.trouble };
    const picture = await ask({ video: camera() });
    return { stream: picture.stream, trouble: both.trouble };
  }

  /**
   * @param {MediaStreamConstraints} constraints
   * @returns {Promise<{stream: MediaStream | null, trouble: MediaCode | null}>}
   */
  async function ask(constraints) {
    if (!devices) return { stream: null, trouble: 'insecure-origin' };
    try {
      return { stream: await devices.getUserMedia(constraints), trouble: null };
    } catch (error) {
      return { stream: null, trouble: mediaCode(error) };
    }
  }

  /** @returns {MediaTrackConstraints} */
  function microphone() {
    return { echoCancellation: true, noiseSuppression: true, autoGainControl: true,
      ...(state.chosen.audioinput && { deviceId: { ideal: state.chosen.audioinput } }) };
  }

  /** @returns {MediaTrackConstraints} */
  function camera() {
    return { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 },
      ...(state.chosen.videoinput ? { deviceId: { ideal: state.chosen.videoinput } } : { facingMode: 'user' }) };
  }

  /** @param {MediaStreamTrack} track */
  function adopt(track) {
    const kind = track.kind === 'audio' ? 'mic' : 'cam';
    tracks[kind]?.stop();
    tracks[kind] = track;
    track.onended = () => {
      if (tracks[kind] !== track) return;
      tracks[kind] = null;
      state[kind] = false;
      state.trouble = 'device-not-found';
      refresh();
    };
  }

  /** The mirror shows what is on the wire; the tracks go out in the same breath. */
  function refresh() {
    const shown = tracks.screen ?? tracks.cam;
    const kept = state.stream?.getTracks() ?? [];
    const next = [shown, tracks.mic].filter((track) => track !== null);
    if (kept.length !== next.length || next.some((track) => !kept.includes(track))) {
      state.stream = next.length ? newStream() : null;
      next.forEach((track) => state.stream?.addTrack(track));
    }
    state.hasMic = tracks.mic !== null;
    changed();
  }

  async function listDevices() {
    state.devices = (await devices?.enumerateDevices().catch(() => [])) ?? [];
    state.chosen.audioinput = tracks.mic?.getSettings().deviceId ?? state.chosen.audioinput;
    state.chosen.videoinput = tracks.cam?.getSettings().deviceId ?? state.chosen.videoinput;
    changed();
  }

  function stopTracks() {
    for (const kind of /** @type {const} */ (['mic', 'cam', 'screen'])) {
      tracks[kind]?.stop();
      tracks[kind] = null;
    }
    state.screen = false;
    state.stream = null;
    state.hasMic = false;
  }

  /** @param {'mic' | 'cam'} kind */
  async function fetchTrack(kind) {
    const mine = generation;
    const { stream, trouble } = await ask(kind === 'mic' ? { audio: microphone() } : { video: camera() });
    const track = stream?.getTracks()[0];
    if (mine !== generation) return void track?.stop();
    state.trouble = trouble;
    if (track) adopt(track);
    state[kind] = tracks[kind] !== null;
    refresh();
    await listDevices();
  }

  return {
    state,
    start,
    stop() {
      generation += 1;
      state.asking = false;
      stopTracks();
      changed();
    },
    async setMic(on) {
      if (on && !tracks.mic) return fetchTrack('mic');
      if (tracks.mic) tracks.mic.enabled = on;
      state.mic = on;
      changed();
    },
    async setCam(on) {
      // Off lets go of the camera, so that its light goes out.
      if (on && !tracks.cam) return fetchTrack('cam');
      if (!on) {
        tracks.cam?.stop();
        tracks.cam = null;
      }
      state.cam = on;
      refresh();
    },
    async setScreen(on) {
      tracks.screen?.stop();
      tracks.screen = null;
      if (on) {
        const picked = await devices?.getDisplayMedia({ video: true }).catch(() => null);
        tracks.screen = picked?.getVideoTracks()[0] ?? null;
        if (tracks.screen) tracks.screen.onended = () => this.setScreen(false);
      }
      state.screen = tracks.screen !== null;
      refresh();
    },
    async choose(kind, id) {
      state.chosen[kind] = id;
      await fetchTrack(kind === 'audioinput' ? 'mic' : 'cam');
    },
    outgoing: () => ({ audio: tracks.mic, video: tracks.screen ?? tracks.cam }),
  };
}
