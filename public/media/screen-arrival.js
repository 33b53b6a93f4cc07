// Arrival: whether a screen that the other shares is in sight yet. On a weak line it is told of before any of it comes,
// and what the video element holds until then is their camera, or an earlier screen.

/**
 * @returns {(theirs: {screen: boolean, weak: boolean}, decoded: number) => boolean} whether it is still to come; to be
 *   told what they show, with how many frames have been decoded so far
 */
export function makeArrival() {
  let shared = false;
  /** @type {number | null} frames that were decoded before it */
  let before = null;
  return ({ screen, weak }, decoded) => {
    // Where the line is good its first frame is there at once, and a note would only flicker.
    if (screen && !shared) before = weak ? decoded : null;
    shared = screen;
    // A stream that begins anew counts from nothing again; none at all is said while nobody counts.
    if (before !== null && decoded > 0 && decoded < before) before = decoded;
    if (!screen || (before !== null && decoded > before)) before = null;
    return before !== null;
  };
}
