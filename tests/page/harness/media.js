// Media harness: fake tracks, a browser that answers requests as the test says, and a system that takes and
// returns devices.

import { Media } from '../../../public/media/media.js';
import { makeClock, settle } from './fakes.js';

export const mediaError = (name, message = '') => Object.assign(new Error(message), { name });

export class Track {
  enabled = true;
  stopped = false;
  muted = false;
  constructor(kind, { id = `${kind}-1`, label = '', facingMode } = {}) { Object.assign(this, { kind, id, label, facingMode }); }
  stop() { this.stopped = true; }
  getSettings() { return { deviceId: this.id, ...(this.facingMode && { facingMode: this.facingMode }) }; }
}

export class Stream {
  constructor(tracks = []) { this.tracks = [...tracks]; }
  addTrack(track) { this.tracks.push(track); }
  getTracks() { return this.tracks; }
  getVideoTracks() { return this.tracks.filter((track) => track.kind === 'video'); }
  getAudioTracks() { return this.tracks.filter((track) => track.kind === 'audio'); }
}

/** Mixes labels: the output names its inputs. */
export class Context {
  static open = 0;
  static last = null;
  state = 'running';
  constructor() { Context.open += 1; Context.last = this; }
  async resume() { this.state = 'running'; }
  createMediaStreamDestination() {
    const track = new Track('audio', { label: '' });
    return { stream: new Stream([track]), track };
  }
  createMediaStreamSource(stream) { return { connect: ({ track }) => { track.label += `[${stream.getTracks()[0].label}]`; } }; }
  async close() { Context.open -= 1; }
}
globalThis.MediaStream ??= Stream;

export const input = (kind, deviceId, label = deviceId) => ({ kind: `${kind}input`, deviceId, label });

export function makeHarness(answer, { storage, permissions, allowed, list = [], screen = () => new Stream([new Track('video')]) } = {}) {
  const clock = makeClock();
  const asked = [];
  const cameras = { opening: 0, most: 0 };
  const listeners = {};
  const errors = [];
  const seen = [];
  const devices = {
    async getUserMedia(wanted) {
      asked.push(wanted);
      if (wanted.video) cameras.most = Math.max(cameras.most, cameras.opening += 1);
      try {
        return await answer(wanted);
      } finally {
        if (wanted.video) cameras.opening -= 1;
      }
    },
    getDisplayMedia: async (wanted) => screen(wanted),
    enumerateDevices: async () => harness.list,
    addEventListener: (event, fn) => { listeners[event] = fn; },
  };
  const media = new Media({
    devices, storage, permissions, allowed, clock, now: () => clock.now() + harness.frozen, hidden: () => harness.hidden,
    newStream: () => new Stream(), newContext: () => new Context(),
    changed() {
      seen.push(media?.outgoingTracks().video);
      if (media && errors.at(-1) !== media.state.error) errors.push(media.state.error);
    },
  });
  /** `errors`: in the order they were shown. `seen`: the video track at each change. `cameras.most`: how many
   *  were being opened at once. `frozen`: ms that passed without a timer of the page. */
  const harness = { media, hidden: false, frozen: 0, clock, asked, cameras, list, errors, seen, async plug(...now) {
    harness.list = now;
    listeners.devicechange();
    await settle();
  } };
  return harness;
}

export const everything = ({ audio, video }) => new Stream([...(audio ? [new Track('audio')] : []), ...(video ? [new Track('video')] : [])]);

/** A browser's storage with these preferences. */
export function storageOf(preferences = {}) {
  const all = new Map([['webrtc-box.devices', JSON.stringify(preferences)]]);
  return { getItem: (key) => all.get(key) ?? null, setItem: (key, value) => void all.set(key, value), now: () => JSON.parse(all.get('webrtc-box.devices')) };
}

/** The system mutes the device of a track, or unmutes it. */
export const mute = (track, muted = true) => {
  track.muted = muted;
  if (muted) track.onmute();
  else track.onunmute();
};

export const BOTH_THERE = { list: [input('audio', 'a'), input('video', 'c')] };

/** The test answers each request, by the id of its device. */
export function slowly() {
  const waiting = {};
  let hold = false;
  const answer = ({ audio, video }) => {
    const id = (audio ?? video)?.deviceId?.exact;
    const stream = new Stream([...(audio ? [new Track('audio', { id: id ?? 'a' })] : []), ...(video ? [new Track('video', { id: id ?? 'c' })] : [])]);
    return hold ? new Promise((done, refuse) => { waiting[id] = { give: () => done(stream), refuse, stream }; }) : stream;
  };
  return { answer, waiting, hold: () => { hold = true; } };
}
