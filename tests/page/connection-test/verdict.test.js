import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bestOf } from '../../../public/connection-test/probes.js';
import { verdictOf } from '../../../public/connection-test/verdict.js';
import { GOOD, probeResults } from '../harness/probes.js';

for (const [tried, figures, code, tone, notes, ports] of [
  ['udp4 udp6 tcp4 tcp6 tls', GOOD, 'good', 'good', [], []],
  ['udp4 udp6! tcp4 tcp6! tls', GOOD, 'good', 'good', ['no-ipv6'], []],
  ['udp4! udp6 tcp4! tcp6 tls', GOOD, 'good', 'good', ['no-ipv4'], []],
  ['udp tcp', GOOD, 'good', 'good', [], []],
  ['udp4 tcp4 tls!', GOOD, 'good', 'good', ['shut'], ['TLS 443']],
  ['udp4! udp6! tcp4 tcp6! tls', GOOD, 'no-udp', 'fair', ['no-ipv6'], ['UDP 3478']],
  ['udp4! tcp4! tls', GOOD, 'tls-only', 'fair', [], ['UDP 3478', 'TCP 3478']],
  ['udp4! udp6! tcp4! tcp6! tls', GOOD, 'tls-only', 'fair', [], ['UDP 3478', 'TCP 3478']],
  ['udp4! tcp4! tls!', null, 'nothing', 'poor', [], ['UDP 3478', 'TCP 3478', 'TLS 443']],
  ['udp4! tcp4? tls!', null, 'refused', 'poor', [], ['UDP 3478', 'TCP 3478', 'TLS 443']],
  ['udp4 tcp4 tls', null, 'no-call', 'poor', [], []],
  ['', null, 'off', 'poor', [], []],
  ['udp4 tcp4', { ...GOOD, loss: 0.04 }, 'lossy', 'fair', [], []],
  ['udp4 tcp4', { ...GOOD, loss: 0.12 }, 'lossy', 'poor', [], []],
  ['udp4 tcp4', { ...GOOD, rtt: 450 }, 'far', 'fair', [], []],
  ['udp4 tcp4', { ...GOOD, rtt: 900 }, 'far', 'poor', [], []],
  ['udp4 tcp4', { ...GOOD, rate: 1_000_000 }, 'slow', 'fair', [], []],
  ['udp4 tcp4', { ...GOOD, rate: 200_000 }, 'slow', 'poor', [], []],
  ['udp4! tcp4 tls', { ...GOOD, rate: 200_000 }, 'slow', 'poor', ['no-udp'], ['UDP 3478']],
]) {
  test(`"${tried}"${figures === GOOD ? '' : ` with ${JSON.stringify(figures)}`} has the verdict ${code}, ${tone}`, () => {
    assert.deepEqual(verdictOf(probeResults(tried), figures, 'websocket'), { code, tone, notes, ports });
  });
}

test('a network without WebSocket is a note, one without any way to set up calls is the verdict', () => {
  const results = probeResults('udp4! tcp4 tls');
  assert.deepEqual(verdictOf(results, GOOD, 'polling').notes, ['no-websocket']);
  assert.equal(verdictOf(results, GOOD, 'polling').code, 'no-udp');
  assert.deepEqual(verdictOf(results, GOOD, null), { code: 'no-signaling', tone: 'poor', notes: [], ports: ['UDP 3478'] });
});

test('a call takes UDP before TCP before TLS, and the faster address family', () => {
  const best = (text) => { const { name, family } = bestOf(probeResults(text)).probe; return `${name} ${family}`; };
  assert.equal(best('tls tcp4 udp6 udp4'), 'turn-udp ipv6');
  assert.equal(best('tls tcp4 udp6! udp4!'), 'turn-tcp ipv4');
  assert.equal(best('udp4! tcp4? tls'), 'turn-tls any');
  assert.equal(bestOf(probeResults('udp4! tls!')), null);
});
