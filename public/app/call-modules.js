// The modules that only a call needs: one file, which the page loads after the lobby is drawn.

import { Call } from '../call/call.js';
import { makeStartBitrate } from '../call/start-bitrate.js';
import { makeStatsSampler } from '../call/stats-sampler.js';

export const callModules = { Call, makeStartBitrate, makeStatsSampler };
