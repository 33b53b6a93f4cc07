// Wake lock: keeps the device's screen on during a call.

/**
 * @param {WakeLock | undefined} wakeLock missing in some browsers
 * @returns {{set: (on: boolean) => void}} call again when the page becomes visible: a hidden page loses the lock
 */
export function makeWakeLock(wakeLock) {
  let wanted = false;
  let requesting = false;
  /** @type {WakeLockSentinel | null} */
  let lock = null;

  async function update() {
    if (requesting) return;
    if (!wanted) {
      lock?.release().catch(() => {});
      lock = null;
    } else if (!lock || lock.released) {
      requesting = true;
      lock = await wakeLock?.request('screen').catch(() => null) ?? null;
      requesting = false;
      // The call may have ended during the request.
      if (!wanted) update();
    }
  }

  return {
    set(on) {
      wanted = on;
      update();
    },
  };
}
