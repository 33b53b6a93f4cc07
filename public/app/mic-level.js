// Mic level: which microphone is measured: the one of the lobby and of the settings for its meter, and one that was muted in a
// call, for somebody who speaks into it.

import { makeLevelMeter } from '../media/level-meter.js';

/**
 * @import { Clock } from '../lib/clock.js'
 * @import { Media } from '../media/media.js'
 * @import { MutedSpeech } from '../media/muted-speech.js'
 */

export class MicLevel {
  #media;
  #clock;
  #now;
  #meter;
  #mutedMeter;
  /** Loads with the first muted microphone. @type {MutedSpeech | null} */
  #mutedSpeech = null;

  /** @param {{media: Media, newContext: () => AudioContext, clock: Clock, now: () => number}} parts */
  constructor({ media, newContext, clock, now }) {
    this.#media = media;
    this.#clock = clock;
    this.#now = now;
    this.#meter = makeLevelMeter(newContext);
    this.#mutedMeter = makeLevelMeter(newContext);
  }

  /** The level of the meter, 0 to 1. */
  read() {
    return this.#meter.read();
  }

  /** Browsers let sound be measured from the first press on. */
  resume() {
    this.#meter.resume();
    this.#mutedMeter.resume();
  }

  /** @param {boolean} inCall @param {boolean} showsMeter whether the meter is visible */
  watch(inCall, showsMeter) {
    this.#meter.watch(showsMeter ? this.#media.micTrack() : null);
    this.#watchMutedSpeech(inCall).catch((error) => console.debug('muted speech', error));
  }

  /** Only a microphone that the person has muted in a call: its device is open. @param {boolean} inCall */
  async #watchMutedSpeech(inCall) {
    const media = this.#media;
    const isMuted = () => inCall && !media.wanted().mic && !media.state.interrupted.mic && media.micTrack() !== null;
    if (isMuted() && !this.#mutedSpeech) {
      const { MutedSpeech } = await import('../media/muted-speech.js');
      this.#mutedSpeech ??= new MutedSpeech({
        meter: this.#mutedMeter, clock: this.#clock, now: this.#now,
        changed: () => { media.setSpeakingWhileMuted(this.#mutedSpeech?.detected ?? false); },
      });
    }
    this.#mutedSpeech?.watch(isMuted() ? media.micTrack() : null);
  }
}
