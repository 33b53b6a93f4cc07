// Awake: the screen stays lit during a call, and not a moment longer.

/**
 * @param {object} parts
 * @param {WakeLock | undefined} parts.wakeLock absent where the browser has none
 * @returns {{lit: (yes: boolean) => void}} to be said again when the page is seen again: a hidden one loses its lock
 */
export function makeAwake({ wakeLock }) {
  let wanted = false;
  let asking = false;
  /** @type {WakeLockSentinel | null} */
  let lock = null;

  async function settle() {
    if (asking) return;
    if (!wanted) {
      lock?.release().catch(() => {});
      lock = null;
    } else if (!lock || lock.released) {
      asking = true;
      lock = await wakeLock?.request('screen').catch(() => null) ?? null;
      asking = false;
      // The call may have ended while the browser made up its mind.
      if (!wanted) settle();
    }
  }

  return {
    lit(yes) {
      wanted = yes;
      settle();
    },
  };
}
