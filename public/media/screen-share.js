// Screen: the picture and the sound of a screen that is shared, one at a time.
//
// While the person still picks one, nobody asks for another; and what is shared goes on until the next one is there.

/**
 * @typedef {import('./capture.js').Catch} Catch
 * @typedef {object} Screen
 * @property {() => Promise<Pick<Catch, 'trouble'> | null>} share null where a picker is open already, or nobody waits
 *   for its answer any more
 * @property {() => void} end also what is still being picked
 * @property {() => MediaStreamTrack | null} video
 * @property {() => MediaStreamTrack | null} sound
 */

/**
 * @param {object} parts
 * @param {() => Promise<Catch>} parts.pick asks the person; neither stream nor trouble where they put it off
 * @param {() => void} parts.ended by the browser's own button, or with the window that was shared
 * @returns {Screen}
 */
export function makeScreen({ pick, ended }) {
  /** @type {MediaStreamTrack[]} */
  let shared = [];
  /** @type {object | null} */
  let picking = null;

  /** @param {MediaStreamTrack[]} next */
  function replace(next) {
    shared.forEach((track) => track.stop());
    shared = next;
  }

  /** @param {string} kind */
  const track = (kind) => shared.find((each) => each.kind === kind) ?? null;

  return {
    async share() {
      if (picking) return null;
      const mine = (picking = {});
      const { stream, trouble } = await pick();
      const next = stream?.getTracks() ?? [];
      if (picking !== mine) {
        next.forEach((each) => each.stop());
        return null;
      }
      picking = null;
      if (stream) replace(next);
      const picture = track('video');
      if (picture) {
        picture.contentHint = 'text';
        picture.onended = () => { if (track('video') === picture) ended(); };
      }
      return { trouble };
    },
    end() {
      picking = null;
      replace([]);
    },
    video: () => track('video'),
    sound: () => track('audio'),
  };
}
