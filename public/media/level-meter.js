// Level: how loud a microphone is, from 0 to 1, while somebody wants to see it.
//
// It only listens; nothing it hears goes anywhere.

/**
 * @param {() => AudioContext} newContext
 * @returns {{watch: (track: MediaStreamTrack | null) => void, read: () => number, wake: () => void}}
 */
export function makeLevel(newContext) {
  /** @type {{track: MediaStreamTrack, context: AudioContext, ear: AnalyserNode, source: AudioNode} | null} */
  let watched = null;
  const wave = new Float32Array(512);

  function stop() {
    watched?.context.close().catch(() => {});
    watched = null;
  }

  return {
    watch(track) {
      if (watched?.track === track) return;
      stop();
      if (!track) return;
      try {
        const context = newContext();
        const ear = context.createAnalyser();
        ear.fftSize = wave.length;
        const source = context.createMediaStreamSource(new MediaStream([track]));
        source.connect(ear);
        watched = { track, context, ear, source };
      } catch {
        watched = null;
      }
    },
    /** Some browsers let nothing listen before the first touch, or after a phone call. */
    wake() {
      if (watched && watched.context.state !== 'running') watched.context.resume().catch(() => {});
    },
    read() {
      if (!watched?.track.enabled) return 0;
      watched.ear.getFloatTimeDomainData(wave);
      const power = wave.reduce((sum, each) => sum + each * each, 0) / wave.length;
      // -60 dB and less is silence, -10 dB is a loud voice.
      return Math.min(1, Math.max(0, (10 * Math.log10(power + 1e-9) + 60) / 50));
    },
  };
}
