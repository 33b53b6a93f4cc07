// Screen arrival: whether the peer's shared screen is visible yet. On a weak network it is announced before its first frame
// arrives, and until then the video element shows the camera or an earlier screen.

/**
 * @returns {(remote: {screen: boolean, weak: boolean}, framesDecoded: number) => boolean} whether it is still to come; called
 *   with each change of what the peer sends and of the number of decoded frames
 */
export function makeScreenArrival() {
  let shared = false;
  /** Frames decoded before it. @type {number | null} */
  let before = null;
  return ({ screen, weak }, framesDecoded) => {
    // On a good network its first frame is there at once, and a note would only flicker.
    if (screen && !shared) before = weak ? framesDecoded : null;
    shared = screen;
    // A new stream counts from zero again; zero also means that statistics are not read.
    if (before !== null && framesDecoded > 0 && framesDecoded < before) before = framesDecoded;
    if (!screen || (before !== null && framesDecoded > before)) before = null;
    return before !== null;
  };
}
