import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pathOf, qualityOf, sampleOf } from '../../public/path.js';

const report = (entries) => new Map(entries.map((entry) => [entry.id, entry]));

/** As Chromium tells it: the transport names the pair. */
function chromium(local, remote = { candidateType: 'srflx' }) {
  return report([
    { id: 'T', type: 'transport', selectedCandidatePairId: 'P2' },
    { id: 'P1', type: 'candidate-pair', nominated: true, state: 'succeeded', localCandidateId: 'X', remoteCandidateId: 'R' },
    { id: 'P2', type: 'candidate-pair', nominated: true, state: 'succeeded', localCandidateId: 'L', remoteCandidateId: 'R', currentRoundTripTime: 0.04 },
    { id: 'X', type: 'local-candidate', candidateType: 'host' },
    { id: 'L', type: 'local-candidate', ...local },
    { id: 'R', type: 'remote-candidate', ...remote },
  ]);
}

/** As Firefox told it for long: no transport, the pair marks itself. */
function firefox(local, remote = { candidateType: 'host' }) {
  return report([
    { id: 'P1', type: 'candidate-pair', selected: false, nominated: false, state: 'frozen', localCandidateId: 'X', remoteCandidateId: 'R' },
    { id: 'P2', type: 'candidate-pair', selected: true, nominated: true, state: 'succeeded', localCandidateId: 'L', remoteCandidateId: 'R' },
    { id: 'X', type: 'local-candidate', candidateType: 'host' },
    { id: 'L', type: 'local-candidate', ...local },
    { id: 'R', type: 'remote-candidate', ...remote },
  ]);
}

for (const [browser, shaped] of Object.entries({ Chromium: chromium, Firefox: firefox })) {
  test(`${browser}: the path is read from the pair that carries media`, () => {
    assert.equal(pathOf(shaped({ candidateType: 'host' })), 'direct');
    assert.equal(pathOf(shaped({ candidateType: 'prflx' })), 'direct');
    for (const protocol of ['udp', 'tcp', 'tls']) {
      assert.equal(pathOf(shaped({ candidateType: 'relay', relayProtocol: protocol })), `relay-${protocol}`);
    }
    assert.equal(pathOf(shaped({ candidateType: 'relay' })), 'relay-udp');
    assert.equal(pathOf(shaped({ candidateType: 'host' }, { candidateType: 'relay' })), 'relay-udp');
  });
}

test('the URL tells where the protocol is not told', () => {
  assert.equal(pathOf(firefox({ candidateType: 'relay', url: 'turns:box:443?transport=tcp' })), 'relay-tls');
  assert.equal(pathOf(firefox({ candidateType: 'relay', url: 'turn:box:3478?transport=tcp' })), 'relay-tcp');
});

test('without a chosen pair there is no path', () => {
  assert.equal(pathOf(report([])), null);
  assert.equal(pathOf(report([{ id: 'P', type: 'candidate-pair', state: 'in-progress', nominated: false }])), null);
  assert.equal(pathOf(report([{ id: 'T', type: 'transport', selectedCandidatePairId: 'gone' }])), null);
});

test('rates are what came between two readings', () => {
  const at = (bytes, packets, lost) => report([
    { id: 'I', type: 'inbound-rtp', kind: 'video', bytesReceived: bytes, packetsReceived: packets, packetsLost: lost, frameWidth: 640, frameHeight: 480, framesPerSecond: 29.7 },
    { id: 'O', type: 'outbound-rtp', bytesSent: bytes / 2 },
  ]);
  const first = sampleOf(at(1000, 10, 0), 0);
  const second = sampleOf(at(126_000, 100, 10), 1000, first);
  assert.equal(second.inRate, 1_000_000);
  assert.equal(second.outRate, 500_000);
  assert.equal(second.lossRate, 0.1);
  assert.equal(second.video, '640×480 30 fps');
  const restarted = sampleOf(at(0, 0, 0), 2000, second);
  assert.deepEqual([restarted.inRate, restarted.lossRate], [0, 0]);
});

test('a word for the quality', () => {
  assert.equal(qualityOf({ rtt: 40, lossRate: 0 }), 'good');
  assert.equal(qualityOf({ rtt: 400, lossRate: 0 }), 'fair');
  assert.equal(qualityOf({ rtt: null, lossRate: 0.2 }), 'poor');
});
