// Chime: short quiet sounds that are generated in the page: somebody joined, left or knocks, and a test of the speaker.

import { nextTask } from '../lib/clock.js';

const START_S = 0.05;
const FADE_S = 0.03;
const START_TIMEOUT_MS = 2000;

/** Frequencies in Hz, one note after the other, where 0 is a rest; seconds of a note; volume from 0 to 1. */
const SOUNDS = {
  joined: { notes: [523.25, 783.99], length: 0.2, volume: 0.12 },
  left: { notes: [659.25, 440], length: 0.2, volume: 0.12 },
  knock: { notes: [392, 0, 392, 0, 523.25], length: 0.12, volume: 0.16 },
  test: { notes: [523.25, 659.25], length: 0.45, volume: 0.25 },
};

/** @typedef {keyof typeof SOUNDS} ChimeKind */

export class Chime {
  #parts;
  #playing = false;

  /**
   * @param {object} parts
   * @param {() => AudioContext} parts.newContext
   * @param {() => HTMLAudioElement & {setSinkId?: (id: string) => Promise<void>}} parts.newAudio
   * @param {() => boolean} parts.mayPlay whether the person has touched the page: browsers block sound before
   */
  constructor(parts) {
    this.#parts = parts;
  }

  /**
   * @param {ChimeKind} kind
   * @param {string} [speaker] id of the output device; '' is the default one
   * @returns {Promise<boolean>} whether it was played; not while another one plays
   */
  async play(kind, speaker = '') {
    if (this.#playing || !this.#parts.mayPlay()) return false;
    this.#playing = true;
    /** @type {AudioContext | undefined} */
    let context;
    try {
      // In a task of its own, after what it accompanies is drawn: the start of sound takes a slow phone 20 ms.
      await nextTask();
      context = this.#parts.newContext();
      // Without an output device some browsers never resolve this.
      await Promise.race([context.resume(), pause(START_TIMEOUT_MS)]);
      if (context.state !== 'running') return false;
      const audio = await this.#connect(context, speaker);
      await playNotes(context, audio.output, SOUNDS[kind]);
      audio.stop();
      return true;
    } catch {
      return false;
    } finally {
      this.#playing = false;
      context?.close().catch(() => {});
    }
  }

  /** An audio element can play through a selected speaker in every browser that has a choice. @param {AudioContext} context @param {string} speaker */
  async #connect(context, speaker) {
    const audio = speaker === '' ? null : this.#parts.newAudio();
    if (!audio?.setSinkId) return { output: context.destination, stop() {} };
    const output = context.createMediaStreamDestination();
    audio.srcObject = output.stream;
    // A speaker that is gone gives way to the default one.
    await audio.setSinkId(speaker).catch(() => {});
    await audio.play();
    return { output, stop: () => { audio.srcObject = null; } };
  }
}

/**
 * @param {AudioContext} context
 * @param {AudioNode} output
 * @param {{notes: number[], length: number, volume: number}} sound
 */
async function playNotes(context, output, { notes, length, volume }) {
  const start = context.currentTime + START_S;
  for (const [i, frequency] of notes.entries()) {
    if (frequency === 0) continue;
    const [note, gain] = [context.createOscillator(), context.createGain()];
    const from = start + i * length;
    // Fades in and out: a sudden change would click.
    gain.gain.setValueAtTime(0, from);
    gain.gain.linearRampToValueAtTime(volume, from + FADE_S);
    gain.gain.setValueAtTime(volume, from + length - FADE_S);
    gain.gain.linearRampToValueAtTime(0, from + length);
    note.frequency.value = frequency;
    note.connect(gain);
    gain.connect(output);
    note.start(from);
    note.stop(from + length);
  }
  await pause((START_S + notes.length * length + 0.2) * 1000);
}

/** @param {number} ms */
function pause(ms) {
  return new Promise((resolve) => { setTimeout(resolve, ms); });
}
