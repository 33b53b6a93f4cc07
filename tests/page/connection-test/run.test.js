import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Run } from '../../../public/connection-test/run.js';
import { settle } from '../harness/fakes.js';
import { GOOD, probeResults } from '../harness/probes.js';

/** A run with these results. */
function makeRun({ plan, found = '' }) {
  const phases = [];
  const measured = [];
  const run = new Run({
    fetchPlan: async () => (typeof plan === 'function' ? plan() : plan),
    runProbe: async (probe) => probeResults(found).find((each) => each.probe.name === probe.name),
    measure: async (probe) => { measured.push(probe.name); return GOOD; },
    changed: () => { if (phases.at(-1) !== run.state.phase) phases.push(run.state.phase); },
  });
  return { run, phases, measured };
}

test('a run probes every path, calls over the best one and judges', async () => {
  const probes = probeResults('udp4 tcp4 tls').map(({ probe }) => probe);
  const { run, phases, measured } = makeRun({ plan: { probes, username: 'u', credential: 'c' }, found: 'udp4! tcp4 tls' });
  await Promise.all([run.start(), run.start()]);
  assert.deepEqual(phases, ['asking', 'probing', 'calling', 'done']);
  assert.deepEqual(measured, ['turn-tcp']);
  assert.equal(run.state.verdict.code, 'no-udp');
  await run.start();
  assert.equal(measured.length, 2, 'it can be repeated');
});

test('a run ends when limited or offline; without a path there is no call', async () => {
  const limited = makeRun({ plan: 'limited' });
  await limited.run.start();
  assert.equal(limited.run.state.phase, 'limited');
  const offline = makeRun({ plan: () => { throw new Error('offline'); } });
  await offline.run.start();
  assert.equal(offline.run.state.phase, 'unreachable');
  const probes = probeResults('udp4').map(({ probe }) => probe);
  const blocked = makeRun({ plan: { probes }, found: 'udp4!' });
  await blocked.run.start();
  await settle();
  assert.deepEqual(blocked.measured, []);
  assert.equal(blocked.run.state.verdict.code, 'nothing');
});

test('a run finds out how a call would be set up', async () => {
  const probes = probeResults('udp4').map(({ probe }) => probe);
  const parts = { fetchPlan: async () => ({ probes }), runProbe: async () => probeResults('udp4')[0], measure: async () => GOOD, changed() {} };
  for (const [way, code, notes] of [['websocket', 'good', []], ['polling', 'good', ['no-websocket']], [null, 'no-signaling', []]]) {
    const run = new Run({ ...parts, signalingWay: async () => way });
    await run.start();
    assert.deepEqual([run.state.verdict.code, run.state.verdict.notes], [code, notes]);
  }
});

test('no port is named where the browser did not try', async () => {
  const probes = probeResults('udp4 tcp4 tls').map(({ probe }) => probe);
  for (const [parts, code] of [
    [{ lacksWebRtc: () => true }, 'no-webrtc'],
    [{ runProbe: async (probe) => ({ probe, ok: false, ms: 0, code: 0, tried: false }) }, 'no-webrtc'],
    [{ gathersCandidates: async () => false }, 'no-candidates'],
    [{ gathersCandidates: async () => true }, 'nothing'],
    [{ runProbe: async (probe) => ({ probe, ok: false, ms: 0, code: 486 }), gathersCandidates: async () => false }, 'refused'],
  ]) {
    const run = new Run({ fetchPlan: async () => ({ probes }), runProbe: async (probe) => ({ probe, ok: false, ms: 0, code: 0 }), measure: async () => null, changed() {}, ...parts });
    await run.start();
    assert.equal(run.state.verdict.code, code);
    const isBrowser = code.startsWith('no-');
    assert.equal(run.state.verdict.ports.length === 0 && run.state.rows.length === 0, isBrowser, code);
  }
});
