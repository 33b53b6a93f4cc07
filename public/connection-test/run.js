// Run: one run of the connection test: a probe for each path to the relay, a test call over the best one, a verdict.
//
// It uses no browser API: the functions that probe and measure come in.

import { bestOf } from './probes.js';
import { browserVerdict, verdictOf } from './verdict.js';

/**
 * @import { Figures } from './loopback-call.js'
 * @import { Credential, Probe, ProbeResult } from './probes.js'
 * @import { Verdict } from './verdict.js'
 * @import { Way } from '../signaling/transport.js'
 *
 * @typedef {Credential & {probes: Probe[]}} TestPlan `/test.json`
 *
 * @typedef {object} RunState
 * @property {'idle' | 'asking' | 'probing' | 'calling' | 'done' | 'limited' | 'unreachable'} phase
 * @property {{probe: Probe, result: ProbeResult | null}[]} rows
 * @property {ProbeResult | null} path of the test call
 * @property {Figures | null} figures
 * @property {Verdict | null} verdict
 *
 * @typedef {object} RunParts
 * @property {() => Promise<TestPlan | 'limited'>} fetchPlan throws where the server cannot be reached
 * @property {(probe: Probe, credential: Credential) => Promise<ProbeResult>} runProbe
 * @property {(probe: Probe, credential: Credential) => Promise<Figures | null>} measure
 * @property {() => Promise<Way | null>} [signalingWay] how a call would be set up
 * @property {() => boolean} [lacksWebRtc]
 * @property {() => Promise<boolean>} [gathersCandidates]
 * @property {() => void} changed
 */

/** @returns {RunState} */
const initialState = () => ({ phase: 'idle', rows: [], path: null, figures: null, verdict: null });

export class Run {
  state = initialState();
  #parts;

  /** @param {RunParts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  async start() {
    const { fetchPlan, runProbe, measure, signalingWay = async () => 'websocket', lacksWebRtc = () => false, changed } = this.#parts;
    if (['asking', 'probing', 'calling'].includes(this.state.phase)) return;
    this.#set({ ...initialState(), phase: 'asking' });
    if (lacksWebRtc()) return this.#set({ phase: 'done', verdict: browserVerdict('no-webrtc') });
    const plan = await fetchPlan().catch(() => /** @type {const} */ ('unreachable'));
    if (typeof plan === 'string') return this.#set({ phase: plan });

    this.#set({ phase: 'probing', rows: plan.probes.map((probe) => ({ probe, result: null })) });
    const signaling = signalingWay();
    const results = await Promise.all(this.state.rows.map(async (row) => {
      row.result = await runProbe(row.probe, plan);
      changed();
      return row.result;
    }));
    const browserError = await this.#browserError(results);
    // Nothing is known of a port that the browser did not try.
    if (browserError) return this.#set({ phase: 'done', rows: [], verdict: browserVerdict(browserError) });

    const path = bestOf(results);
    this.#set({ phase: 'calling', path });
    const figures = path && await measure(path.probe, plan);
    this.#set({ phase: 'done', figures, verdict: verdictOf(results, figures, await signaling) });
  }

  /** What keeps this browser from trying. @param {ProbeResult[]} results @returns {Promise<'no-webrtc' | 'no-candidates' | null>} */
  async #browserError(results) {
    const { gathersCandidates = async () => true } = this.#parts;
    if (results.length === 0) return null;
    if (results.every(({ tried }) => tried === false)) return 'no-webrtc';
    const isSilent = results.every(({ ok, code }) => !ok && code === 0);
    return isSilent && !(await gathersCandidates()) ? 'no-candidates' : null;
  }

  /** @param {Partial<RunState>} change */
  #set(change) {
    Object.assign(this.state, change);
    this.#parts.changed();
  }
}
