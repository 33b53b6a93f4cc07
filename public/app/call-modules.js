// The modules that only a call needs: one file, which the page loads after the lobby is drawn.

import { Call } from '../call/call.js';
import { makeStartBitrate } from '../call/start-bitrate.js';
import { makeStatsSampler } from '../call/stats-sampler.js';

/** @param {Omit<import('../call/call.js').CallParts, 'startBitrate'> & {storage: Pick<Storage, 'getItem' | 'setItem'>}} parts */
function createCall({ storage, ...parts }) {
  const { connection: network } = /** @type {any} */ (navigator);
  return new Call({ ...parts, startBitrate: makeStartBitrate({ storage, network }) });
}

export const callModules = { createCall, makeStatsSampler };
