// Level meter: the loudness of a microphone, from 0 to 1.

/**
 * @param {() => AudioContext} newContext
 * @returns {{watch: (track: MediaStreamTrack | null) => void, read: () => number, resume: () => void}} `resume`: some
 *   browsers suspend audio until the first touch, or after a phone call
 */
export function makeLevelMeter(newContext) {
  /** @type {{track: MediaStreamTrack, context: AudioContext, analyser: AnalyserNode, source: AudioNode} | null} */
  let watched = null;
  const samples = new Float32Array(512);

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
        const analyser = context.createAnalyser();
        analyser.fftSize = samples.length;
        // Kept, or the browser may collect it.
        const source = context.createMediaStreamSource(new MediaStream([track]));
        source.connect(analyser);
        watched = { track, context, analyser, source };
      } catch {
        watched = null;
      }
    },
    resume() {
      if (watched && watched.context.state !== 'running') watched.context.resume().catch(() => {});
    },
    read() {
      if (!watched?.track.enabled) return 0;
      watched.analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, each) => sum + each * each, 0) / samples.length;
      // -60 dB and less is silence, -10 dB is a loud voice.
      return Math.min(1, Math.max(0, (10 * Math.log10(power + 1e-9) + 60) / 50));
    },
  };
}
