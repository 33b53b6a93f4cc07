// Protocol: what the signaling client must know of the server's messages, error codes and close codes (docs/protocol.md).

/** @import { ServerMessage } from '../types.js' */

export const CLOSE_REPLACED = 4001;
/** Close codes 1008 (policy violation) and 1013 (try again later). */
export const CLOSE_REJECTED = new Set([1008, 1013]);
/** Errors that the same join would meet again. */
export const FINAL_ERRORS = new Set(['room-full', 'bad-room', 'key-required', 'rate-limited', 'declined', 'try-later']);

const DATA_CHANNELS = 'data-channels';
/** What our client announces. */
export const FEATURES = [DATA_CHANNELS];

/**
 * @param {unknown} data
 * @returns {ServerMessage | null} null for anything that is not a message; only `type` is checked
 */
export function parseMessage(data) {
  if (typeof data !== 'string') return null;
  try {
    const message = JSON.parse(data);
    return message && typeof message.type === 'string' ? message : null;
  } catch {
    return null;
  }
}

/** Whether a client knows our data channels. Others get one audio and one video track. @param {unknown} features of the client */
export function knowsChannels(features) {
  return Array.isArray(features) && features.includes(DATA_CHANNELS);
}
