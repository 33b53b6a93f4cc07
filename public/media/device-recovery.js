// Lost: a camera or microphone that went without being switched off, and how it is had again: at once, whenever there
// may be one, and less and less often in between.
//
// One device each. It asks no browser and shows nothing by itself. What fails while it tries is no news: the trouble stays the one
// that began it, so that who has read it is left in peace.

/** A device that is taken may be free again at any moment. */
const RETRY_FIRST_MS = 1000;
const RETRY_LONGEST_MS = 15_000;

/**
 * @typedef {import('./media-errors.js').MediaCode} MediaCode
 * @typedef {{track?: MediaStreamTrack, trouble: MediaCode | null}} Taken neither, where it is not wanted any more, or not in this way
 *
 * @typedef {object} Lost
 * @property {(label: string, trouble: MediaCode) => void} begin it is gone, and was called so
 * @property {() => Promise<void>} regain looks for it now
 * @property {() => void} forget it is there again, or not wanted
 * @property {() => MediaCode | null} trouble null where nothing is lost
 */

/**
 * @param {object} parts
 * @param {() => Promise<boolean>} parts.there whether a device of its kind is attached
 * @param {() => Promise<Taken>} parts.take
 * @param {(track: MediaStreamTrack, before: string) => void} parts.back told of what came in place of the one that
 *   was called `before`
 * @param {() => void} parts.changed
 * @param {import('../lib/clock.js').Clock} parts.clock
 * @returns {Lost}
 */
export function makeLost({ there, take, back, changed, clock }) {
  /** @type {{label: string, trouble: MediaCode, tries: number, asking: boolean, timer?: any} | null} */
  let gone = null;

  async function regain() {
    const mine = gone;
    // A refusal is the person's or the system's word, and not asked about again.
    if (!mine || mine.trouble.startsWith('camera-denied')) return;
    if (!(await there()) || mine.asking || gone !== mine) return;
    clock.cancel(mine.timer);
    mine.asking = true;
    const { track, trouble } = await take();
    mine.asking = false;
    if (track) return back(track, mine.label);
    if (gone !== mine) return;
    if (trouble?.startsWith('camera-denied')) mine.trouble = trouble;
    else mine.timer = clock.after(regain, Math.min(RETRY_LONGEST_MS, RETRY_FIRST_MS * 2 ** mine.tries++));
    changed();
  }

  return {
    begin(label, trouble) {
      gone = { label, trouble, tries: 0, asking: false };
      regain();
    },
    regain,
    forget() {
      clock.cancel(gone?.timer);
      gone = null;
    },
    trouble: () => gone?.trouble ?? null,
  };
}
