// Screen share: the video and audio of a shared screen, and the mixer that adds its audio to the microphone.

/**
 * @import { CaptureResult } from './capture.js'
 *
 * @typedef {object} ScreenShare
 * @property {() => Promise<Pick<CaptureResult, 'error'> | null>} start null if a picker is open already, or was stopped
 * @property {() => void} stop also an open picker's result
 * @property {() => MediaStreamTrack | null} video
 * @property {() => MediaStreamTrack | null} audio
 */

/**
 * A running share continues until the next one starts.
 * @param {object} parts
 * @param {() => Promise<CaptureResult>} parts.pick neither stream nor error if the person cancels
 * @param {() => void} parts.ended by the browser's own button, or with the shared window
 * @returns {ScreenShare}
 */
export function makeScreenShare({ pick, ended }) {
  /** @type {MediaStreamTrack[]} */
  let tracks = [];
  /** @type {object | null} */
  let picking = null;

  /** @param {MediaStreamTrack[]} next */
  function replace(next) {
    for (const each of tracks) each.stop();
    tracks = next;
  }

  /** @param {string} kind */
  const track = (kind) => tracks.find((each) => each.kind === kind) ?? null;

  return {
    async start() {
      if (picking) return null;
      const current = (picking = {});
      const { stream, error } = await pick();
      const next = stream?.getTracks() ?? [];
      if (picking !== current) {
        for (const each of next) each.stop();
        return null;
      }
      picking = null;
      if (stream) replace(next);
      const video = track('video');
      if (video) {
        video.contentHint = 'text';
        video.onended = () => { if (track('video') === video) ended(); };
      }
      return { error };
    },
    stop() {
      picking = null;
      replace([]);
    },
    video: () => track('video'),
    audio: () => track('audio'),
  };
}

/**
 * Mixes microphone and screen audio into the one audio track that is sent. Without screen audio the microphone's track
 * is sent unchanged.
 * @param {() => AudioContext} newContext
 * @returns {{mix: (mic: MediaStreamTrack | null, screen: MediaStreamTrack | null) => MediaStreamTrack | null, resume: () => void}}
 *   `resume`: the page was touched or is visible again
 */
export function makeMixer(newContext) {
  /** @type {{mic: MediaStreamTrack | null, screen: MediaStreamTrack, context: AudioContext, track: MediaStreamTrack} | null} */
  let mixed = null;

  function stop() {
    mixed?.context.close().catch(() => {});
    mixed = null;
  }

  function resume() {
    if (mixed && mixed.context.state !== 'running') mixed.context.resume().catch(() => {});
  }

  return {
    resume,
    mix(mic, screen) {
      if (!screen) {
        stop();
        return mic;
      }
      if (mixed?.mic === mic && mixed.screen === screen) return mixed.track;
      stop();
      try {
        const context = newContext();
        const out = context.createMediaStreamDestination();
        for (const track of [mic, screen]) if (track) context.createMediaStreamSource(new MediaStream([track])).connect(out);
        // A phone call, or a browser that waits for a touch, suspends it and with it the microphone.
        context.onstatechange = () => { if (mixed?.context === context) resume(); };
        const track = out.stream.getAudioTracks()[0];
        mixed = { mic, screen, context, track };
        resume();
        return track;
      } catch {
        return mic ?? screen;
      }
    },
  };
}
