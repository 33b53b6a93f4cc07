// Media: microphone, camera and screen together: requested with one question, shown in one preview, sent as one audio and
// one video track, with one error at a time.

import { Capture, constraintsOf } from './capture.js';
import { makeDevicePreferences } from './device-preferences.js';
import { DeviceSelection } from './device-selection.js';
import { LocalTrack } from './local-track.js';
import { makeMixer, makeScreenShare } from './screen-share.js';
import { makeSerialQueue } from '../lib/serial-queue.js';

/**
 * @import { Clock, Timer } from '../lib/clock.js'
 * @import { SerialQueue } from '../lib/serial-queue.js'
 * @import { CaptureParts } from './capture.js'
 * @import { DeviceKind, PreferenceStorage, Processing } from './device-preferences.js'
 * @import { SelectionState } from './device-selection.js'
 * @import { Kind } from './local-track.js'
 * @import { MediaErrorCode } from './media-errors.js'
 *
 * @typedef {{mic: boolean, cam: boolean}} Wanted
 *
 * @typedef {object} DeviceState
 * @property {boolean} requesting the browser asks the person for permission
 * @property {boolean} mic
 * @property {boolean} cam
 * @property {boolean} screen
 * @property {{mic: boolean, cam: boolean}} interrupted muted by the system, e.g. during a phone call
 * @property {boolean} hasMic
 * @property {boolean} speakingWhileMuted true for a few seconds, to be shown to the person; see muted-speech.js
 * @property {boolean} canShare
 * @property {MediaErrorCode | null} error
 * @property {string} label of the device of the error
 * @property {MediaStream | null} stream for the preview
 *
 * @typedef {DeviceState & SelectionState} MediaState
 *
 * @typedef {object} MediaParts
 * @property {() => MediaStream} newStream
 * @property {() => AudioContext} [newContext]
 * @property {PreferenceStorage} [storage] for the selected devices
 * @property {Clock} clock
 * @property {() => number} now milliseconds
 * @property {() => boolean} [hidden] whether the page is hidden
 * @property {() => void} changed called after every change of state or tracks
 */

/** A question open for this long gets a hint. */
const HINT_AFTER_MS = 20_000;
const NOTICE_MS = 8000;

export class Media {
  /** @type {MediaState} */
  state;
  /** @type {Pick<MediaParts, 'newStream' | 'clock' | 'changed'>} */
  #parts;
  /** @type {Capture} */
  #capture;
  #mixer;
  #screen;
  #preferences;
  /** @type {SerialQueue} */
  #cameraQueue;
  /** @type {Record<Kind, LocalTrack>} */
  #tracks;
  /** @type {DeviceSelection} */
  #selection;
  /** Error of the last request, or a notice; lost and interrupted devices have errors of their own. @type {MediaErrorCode | null} */
  #error = null;
  /** @type {{notice?: Timer, hint?: Timer}} */
  #timers = {};
  /** Each start and stop invalidates earlier requests. */
  #generation = 0;

  /** @param {CaptureParts & MediaParts} parts */
  constructor({ devices, newStream, newContext = () => new AudioContext(), storage, clock, now, hidden = () => false, changed, ...captureParts }) {
    this.#parts = { newStream, clock, changed };
    this.#capture = new Capture({ devices, ...captureParts });
    this.#mixer = makeMixer(newContext);
    this.#screen = makeScreenShare({ pick: () => this.#capture.screen(), ended: () => this.setScreen(false) });
    this.#preferences = makeDevicePreferences(storage);
    this.#cameraQueue = makeSerialQueue(clock);
    this.#tracks = {
      mic: this.#newTrack('mic', (task) => task(), { clock, now, hidden }),
      cam: this.#newTrack('cam', this.#cameraQueue, { clock, now, hidden }),
    };
    this.#selection = new DeviceSelection({ devices, preferences: this.#preferences, tracks: this.#tracks, changed: (error) => this.#update(error) });
    this.state = {
      requesting: false, mic: true, cam: true, screen: false, interrupted: { mic: false, cam: false }, hasMic: false, speakingWhileMuted: false,
      canShare: typeof devices?.getDisplayMedia === 'function', error: null, label: '', stream: null, ...this.#selection.state,
    };
    devices?.addEventListener?.('devicechange', () => this.#devicesChanged());
    this.#capture.whenGranted(() => this.#permissionGranted());
  }

  /** @param {Wanted} [wanted] */
  async start(wanted = { mic: true, cam: true }) {
    this.#stopAll();
    const generation = this.#generation;
    const isCurrent = () => generation === this.#generation;
    const { mic, cam } = this.#tracks;
    mic.start(wanted.mic);
    cam.start(wanted.cam);
    this.state.requesting = true;
    this.#update();
    this.#timers.hint = this.#parts.clock.after(() => this.#update('timeout'), HINT_AFTER_MS);
    const request = () => this.#requestBoth(wanted, generation);
    await (wanted.cam ? this.#cameraQueue(request) : request());
    if (!isCurrent()) return;
    await this.#selection.refresh();
    if (!isCurrent()) return;
    await this.#selection.restore();
    if (isCurrent() && cam.wanted() && !wanted.cam && !cam.track()) await cam.fetch();
  }

  stop() {
    this.#stopAll();
    this.#update();
  }

  /** Requests what is wanted and missing. What runs continues, a shared screen too. */
  async retry() {
    if (!this.micTrack() && !this.#tracks.cam.track() && !this.#screen.video()) return this.start(this.wanted());
    const generation = this.#generation;
    /** @type {MediaErrorCode | null} */
    let error = null;
    for (const each of this.#both()) {
      const isMissing = each.state().lost !== null || (!each.track() && each.wanted());
      if (generation === this.#generation && isMissing) error = (await each.fetch()).error ?? error;
    }
    this.#update(generation === this.#generation && error ? error : this.#error);
  }

  /** What the person has set last, whatever the devices did. @returns {Wanted} */
  wanted() {
    return { mic: this.#tracks.mic.wanted(), cam: this.#tracks.cam.wanted() };
  }

  /** Requests the microphone alone after both were denied. */
  async requestMic() {
    const { clock } = this.#parts;
    const hint = (this.#timers.hint = clock.after(() => this.#update('timeout'), HINT_AFTER_MS));
    const { error } = await this.#tracks.mic.fetch().finally(() => clock.cancel(hint));
    if (error) this.#update(error === 'camera-denied' ? 'camera-denied-again' : error);
    return error;
  }

  /** @param {boolean} on @returns {Promise<MediaErrorCode | null>} */
  setMic(on) {
    return this.#tracks.mic.set(on);
  }

  /** @param {boolean} on @returns {Promise<MediaErrorCode | null>} */
  setCam(on) {
    return this.#tracks.cam.set(on);
  }

  /** @param {boolean} on @returns {Promise<MediaErrorCode | null>} */
  async setScreen(on) {
    const result = on ? await this.#screen.start() : { error: null };
    if (!result) return null;
    if (!on) this.#screen.stop();
    this.#updateTracks(result.error ?? (this.#error?.startsWith('screen-') ? null : this.#error));
    return result.error;
  }

  /** @param {DeviceKind} kind @param {string} id */
  select(kind, id) {
    return this.#selection.select(kind, id);
  }

  /** Switches between front and back camera. */
  flip() {
    return this.#selection.flip();
  }

  /** The track that is processed, and what the person has set. @param {Processing} name */
  processing(name) {
    return { track: this.#tracks[processedKind(name)].track(), preferred: this.#preferences.selected[name] };
  }

  /** Switches the processing of sound or picture, now and for the next visits. @param {Processing} name @param {boolean} on */
  async setProcessing(name, on) {
    const { selected } = this.#preferences;
    selected[name] = on;
    this.#preferences.save(this.state.devices);
    const kind = processedKind(name);
    const track = this.#tracks[kind].track();
    if (track) {
      const { reconfigure } = await import('./processing.js');
      const isSet = await reconfigure(track, constraintsOf(kind, selected), name);
      // Requesting the camera again would interrupt the picture, and gains nothing where it offers no blur.
      if (!isSet && kind === 'mic' && this.micTrack() === track) await this.#tracks.mic.fetch(true, () => this.#capture.switchedMicrophone(selected));
    }
    this.#update();
  }

  /** @param {boolean} speaking */
  setSpeakingWhileMuted(speaking) {
    this.state.speakingWhileMuted = speaking;
    this.#parts.changed();
  }

  pageVisible() {
    for (const each of this.#both()) each.pageVisible();
    this.#mixer.resume();
  }

  /** The page was touched: audio that a browser blocks until then may run. */
  resumeAudio() {
    this.#mixer.resume();
  }

  /** Removes a notice. */
  dismissNotice() {
    this.#update(this.#error === 'device-switched' ? null : this.#error);
  }

  micTrack() {
    return this.#tracks.mic.track();
  }

  outgoingTracks() {
    const audio = this.#mixer.mix(this.micTrack(), this.#screen.audio());
    if (audio) audio.contentHint = this.#preferences.selected.music ? 'music' : '';
    return { audio, video: this.#screen.video() ?? this.#tracks.cam.track() };
  }

  /**
   * @param {Kind} kind
   * @param {SerialQueue} queue
   * @param {{clock: Clock, now: () => number, hidden: () => boolean}} parts
   */
  #newTrack(kind, queue, parts) {
    return new LocalTrack({
      ...parts, kind, queue,
      request: () => this.#capture.one(kind, this.#preferences.selected),
      isPresent: async () => {
        await this.#selection.refresh();
        return this.#selection.has(kind);
      },
      changed: (error, label) => {
        if (error === 'device-switched') this.#setNotice(label ?? '');
        this.#updateTracks(error);
      },
    });
  }

  #both() {
    return [this.#tracks.mic, this.#tracks.cam];
  }

  /** @param {MediaErrorCode | null} [error] replaces the one before */
  #update(error = this.#error) {
    this.#error = error;
    const [mic, cam] = this.#both().map((each) => each.state());
    Object.assign(this.state, this.#selection.state, {
      mic: mic.on, cam: cam.on, interrupted: { mic: mic.interrupted, cam: cam.interrupted }, hasMic: this.micTrack() !== null,
      screen: this.#screen.video() !== null,
      error: error ?? mic.lost ?? cam.lost ?? (mic.taken || cam.taken ? 'device-taken' : null),
    });
    this.#parts.changed();
  }

  /** The preview shows what is sent. @param {MediaErrorCode | null} [error] */
  #updateTracks(error) {
    const before = this.state.stream?.getTracks() ?? [];
    const next = [this.#screen.video() ?? this.#tracks.cam.track(), this.micTrack()].filter((track) => track !== null);
    if (before.length !== next.length || next.some((track) => !before.includes(track))) {
      this.state.stream = next.length ? this.#parts.newStream() : null;
      for (const track of next) this.state.stream?.addTrack(track);
    }
    this.#update(error);
  }

  /** Another device replaced a lost one. @param {string} label */
  #setNotice(label) {
    this.state.label = label;
    this.#parts.clock.cancel(this.#timers.notice);
    this.#timers.notice = this.#parts.clock.after(() => this.dismissNotice(), NOTICE_MS);
  }

  /** @param {Wanted} wanted @param {number} generation */
  async #requestBoth(wanted, generation) {
    if (generation !== this.#generation) return;
    const { stream, error } = await this.#capture.both(wanted, this.#preferences.selected);
    const tracks = stream?.getTracks() ?? [];
    if (generation !== this.#generation) return tracks.forEach((track) => track.stop());
    this.#parts.clock.cancel(this.#timers.hint);
    this.state.requesting = false;
    this.#tracks.mic.started(tracks.find((track) => track.kind === 'audio'));
    this.#tracks.cam.started(tracks.find((track) => track.kind === 'video'));
    this.#updateTracks(error);
  }

  #stopAll() {
    this.#generation += 1;
    this.#error = null;
    for (const each of this.#both()) each.stop();
    this.#screen.stop();
    this.#parts.clock.cancel(this.#timers.notice);
    this.#parts.clock.cancel(this.#timers.hint);
    Object.assign(this.state, { requesting: false, stream: null });
    this.#mixer.mix(null, null);
  }

  async #devicesChanged() {
    await this.#selection.refresh();
    for (const each of this.#both()) each.recover();
    if (!this.state.requesting) await this.#selection.restore();
  }

  /** Granted in the browser's settings: no retry button needed. */
  #permissionGranted() {
    if (!this.state.requesting && this.state.error?.startsWith('camera-denied')) this.retry();
  }
}

/** @param {Processing} name @returns {Kind} */
const processedKind = (name) => (name === 'backgroundBlur' || name === 'highResolution' ? 'cam' : 'mic');
