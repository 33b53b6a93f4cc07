// Thaw: a picture that is decoded and not shown any more. Now and then Chromium goes on to decode what comes after a
// change of path, and its video element stays at the frame before; put in anew, the stream is shown.

/** So many readings in a row, each with so many new frames, of which none was shown. */
const READINGS = 3;
const FRAMES = 5;

/**
 * @param {object} parts
 * @param {() => number} parts.shown frames that have come to the element so far; 0 where the browser does not count them
 * @param {() => void} parts.anew has the element begin again
 * @returns {(decoded: number) => void} to be told with each reading how many frames have been decoded so far
 */
export function makeThaw({ shown, anew }) {
  let before = { decoded: 0, shown: 0 };
  let still = 0;
  return (decoded) => {
    if (decoded === before.decoded) return;
    const now = { decoded, shown: shown() };
    const stands = now.shown > 0 && now.shown === before.shown && decoded - before.decoded >= FRAMES;
    still = stands ? still + 1 : 0;
    before = now;
    if (still < READINGS) return;
    still = 0;
    anew();
  };
}
