// One run of the network test: what to try, each way to the relay, a test call over the best of them, the verdict.
//
// It knows no browser: what asks and what measures comes in.

import { best } from './probes.js';
import { browserVerdict, verdictOf } from './verdict.js';

/**
 * @typedef {import('./probes.js').Probe} Probe
 * @typedef {import('./probes.js').Reach} Reach
 * @typedef {import('./probes.js').Credential} Credential
 * @typedef {Credential & {probes: Probe[]}} Sheet
 *
 * @typedef {object} State
 * @property {'idle' | 'asking' | 'probing' | 'calling' | 'done' | 'limited' | 'unreachable'} phase
 * @property {{probe: Probe, reach: Reach | null}[]} rows
 * @property {Reach | null} way that the test call takes
 * @property {import('./loopback-call.js').Figures | null} figures
 * @property {import('./verdict.js').Verdict | null} verdict
 */

/**
 * @param {object} parts
 * @param {() => Promise<Sheet | 'limited'>} parts.ask throws where the server cannot be reached
 * @param {(probe: Probe, credential: Credential) => Promise<Reach>} parts.reach
 * @param {(probe: Probe, credential: Credential) => Promise<import('./loopback-call.js').Figures | null>} parts.measure
 * @param {() => boolean} [parts.lacking] whether this browser makes no connections at all
 * @param {() => Promise<boolean>} [parts.gathers] whether it finds any candidate
 * @param {() => void} parts.changed
 * @returns {{state: State, start: () => Promise<void>}}
 */
export function makeRun({ ask, reach, measure, lacking = () => false, gathers = async () => true, changed }) {
  /** @type {State} */
  const state = { phase: 'idle', rows: [], way: null, figures: null, verdict: null };

  /** @param {Partial<State>} news */
  function set(news) {
    Object.assign(state, news);
    changed();
  }

  return {
    state,
    async start() {
      if (['asking', 'probing', 'calling'].includes(state.phase)) return;
      set({ phase: 'asking', rows: [], way: null, figures: null, verdict: null });
      if (lacking()) return set({ phase: 'done', verdict: browserVerdict('no-webrtc') });
      const sheet = await ask().catch(() => /** @type {const} */ ('unreachable'));
      if (typeof sheet === 'string') return set({ phase: sheet });

      set({ phase: 'probing', rows: sheet.probes.map((probe) => ({ probe, reach: null })) });
      const reaches = await Promise.all(state.rows.map(async (row) => {
        row.reach = await reach(row.probe, sheet);
        changed();
        return row.reach;
      }));

      // Of ports that the browser did not even try there is nothing to tell.
      const refused = reaches.length > 0 && reaches.every(({ tried }) => tried === false);
      const silent = reaches.length > 0 && reaches.every(({ ok, code }) => !ok && code === 0);
      if (refused) return set({ phase: 'done', rows: [], verdict: browserVerdict('no-webrtc') });
      if (silent && !(await gathers())) return set({ phase: 'done', rows: [], verdict: browserVerdict('no-candidates') });

      const way = best(reaches);
      set({ phase: 'calling', way });
      const figures = way && await measure(way.probe, sheet);
      set({ phase: 'done', figures, verdict: verdictOf(reaches, figures) });
    },
  };
}
