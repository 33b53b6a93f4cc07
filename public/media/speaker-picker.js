// Speaker: asked for in the browser's own window, where it has one: Firefox names no speaker before.

/**
 * @param {MediaDevices | undefined} devices
 * @returns {Promise<string | null>} its id; null where the person put it off
 */
export async function pickSpeaker(devices) {
  const picked = await /** @type {any} */ (devices)?.selectAudioOutput?.().catch(() => null);
  return picked?.deviceId ?? null;
}
