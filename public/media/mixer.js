// Mixer: the microphone and a shared screen's sound as one track, because one is on the wire.
//
// Without a screen's sound the microphone goes out as it is, untouched.

/**
 * @param {() => AudioContext} newContext
 * @returns {{mix: (mic: MediaStreamTrack | null, screen: MediaStreamTrack | null) => MediaStreamTrack | null, wake: () => void}}
 *   `wake`: somebody touched or looks at the page
 */
export function makeMixer(newContext) {
  /** @type {{mic: MediaStreamTrack | null, screen: MediaStreamTrack, context: AudioContext, track: MediaStreamTrack} | null} */
  let mixed = null;

  function stop() {
    mixed?.context.close().catch(() => {});
    mixed = null;
  }

  function wake() {
    if (mixed && mixed.context.state !== 'running') mixed.context.resume().catch(() => {});
  }

  return {
    wake,
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
        // A phone call or a browser that waits for a touch holds it, and with it the microphone.
        context.onstatechange = () => { if (mixed?.context === context) wake(); };
        const track = out.stream.getAudioTracks()[0];
        mixed = { mic, screen, context, track };
        wake();
        return track;
      } catch {
        return mic ?? screen;
      }
    },
  };
}
