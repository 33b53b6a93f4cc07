// Media harness: fake tracks, a browser whose answers the test decides, and devices that appear and disappear.

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

/** Mixes labels: the label of the output contains those of the inputs. */
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
  const requests = [];
  const cameras = { opening: 0, maximum: 0 };
  const listeners = {};
  const errors = [];
  const seen = [];
  const devices = {
    async getUserMedia(wanted) {
      requests.push(wanted);
      if (wanted.video) cameras.maximum = Math.max(cameras.maximum, cameras.opening += 1);
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
  /** `errors`: in the order they were shown. `seen`: the video track at each change. `cameras.maximum`: the most cameras
   *  that were opened at the same time. `frozen`: ms during which timers of the page were suspended. */
  const harness = { media, hidden: false, frozen: 0, clock, requests, cameras, list, errors, seen, async plug(...now) {
    harness.list = now;
    listeners.devicechange();
    await settle();
  } };
  return harness;
}

export const allTracks = ({ audio, video }) => new Stream([...(audio ? [new Track('audio')] : []), ...(video ? [new Track('video')] : [])]);

/** Browser storage with these preferences. */
export function storageOf(preferences = {}) {
  const items = new Map([['webrtc-box.devices', JSON.stringify(preferences)]]);
  return { getItem: (key) => items.get(key) ?? null, setItem: (key, value) => void items.set(key, value), now: () => JSON.parse(items.get('webrtc-box.devices')) };
}

/** The system mutes the device of a track, or unmutes it. */
export const mute = (track, muted = true) => {
  track.muted = muted;
  if (muted) track.onmute();
  else track.onunmute();
};

export const BOTH_DEVICES = { list: [input('audio', 'a'), input('video', 'c')] };

/** Requests by the id of their device; after `hold` the test resolves or rejects them. */
export function makeControlledDevices() {
  const waiting = {};
  let hold = false;
  const answer = ({ audio, video }) => {
    const id = (audio ?? video)?.deviceId?.exact;
    const stream = new Stream([...(audio ? [new Track('audio', { id: id ?? 'a' })] : []), ...(video ? [new Track('video', { id: id ?? 'c' })] : [])]);
    return hold ? new Promise((done, refuse) => { waiting[id] = { resolve: () => done(stream), refuse, stream }; }) : stream;
  };
  return { answer, waiting, hold: () => { hold = true; } };
}
