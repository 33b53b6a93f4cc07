import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pathOf, qualityOf, qualityReason, sampleOf, isUdpBlocked } from '../../../public/call/selected-path.js';

const report = (entries) => new Map(entries.map((entry) => [entry.id, entry]));

/** As Chromium reports it: the transport names the pair. */
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

/** As older Firefox reports it: no transport, the pair is marked. */
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

test('a peer-reflexive address of the peer\'s relay is not direct', () => {
  const prflx = { candidateType: 'prflx', address: '203.0.113.5', port: 50_000 };
  const seen = (...more) => {
    const known = firefox({ candidateType: 'host' }, prflx);
    for (const [i, each] of more.entries()) known.set(`M${i}`, { id: `M${i}`, ...each });
    return pathOf(known);
  };
  const signaled = (candidateType, port) => ({ type: 'remote-candidate', candidateType, address: '203.0.113.5', port });
  const ourRelay = { type: 'local-candidate', candidateType: 'relay', address: '203.0.113.5', port: 50_001 };
  assert.equal(seen(), 'direct');
  assert.equal(seen(ourRelay), 'relay-udp', 'before it is signaled');
  assert.equal(seen(signaled('relay', 50_000)), 'relay-udp', 'after it is signaled');
  assert.equal(seen(ourRelay, signaled('host', 50_000)), 'direct', 'on the relay\'s machine, signaled');
  assert.equal(seen(ourRelay, { ...ourRelay, candidateType: 'host' }), 'direct', 'on the relay\'s machine');
  assert.equal(seen(ourRelay, signaled('relay', 50_002)), 'direct', 'the peer\'s relay has another port');
  assert.equal(seen(signaled('relay', 50_002)), 'direct', 'another port of a relay that is not ours');
  assert.equal(pathOf(firefox({ candidateType: 'host' }, { candidateType: 'prflx', address: '' })), 'direct');
});

test('the URL shows the protocol where the browser does not', () => {
  assert.equal(pathOf(firefox({ candidateType: 'relay', url: 'turns:box:443?transport=tcp' })), 'relay-tls');
  assert.equal(pathOf(firefox({ candidateType: 'relay', url: 'turn:box:3478?transport=tcp' })), 'relay-tcp');
});

test('without a selected pair there is no path', () => {
  assert.equal(pathOf(report([])), null);
  assert.equal(pathOf(report([{ id: 'P', type: 'candidate-pair', state: 'in-progress', nominated: false }])), null);
  assert.equal(pathOf(report([{ id: 'T', type: 'transport', selectedCandidatePairId: 'gone' }])), null);
});

test('UDP is blocked only where a relay was reached and nothing over UDP', () => {
  const ours = (...candidates) => isUdpBlocked(report(candidates.map((one, i) => ({ id: `L${i}`, type: 'local-candidate', ...one }))));
  const host = { candidateType: 'host', protocol: 'udp' };
  const [udp, tcp, tls] = ['udp', 'tcp', 'tls'].map((relayProtocol) => ({ candidateType: 'relay', protocol: 'udp', relayProtocol }));
  assert.equal(ours(host, tcp, tls), true);
  assert.equal(ours(host, { candidateType: 'relay', protocol: 'udp', url: 'turns:box:443?transport=tcp' }), true);
  // As in Firefox, which selected the pair over TCP all the same.
  assert.equal(ours(host, tcp, udp), false);
  assert.equal(ours(host, tcp, { candidateType: 'srflx', protocol: 'udp' }), false);
  assert.equal(ours(host, tls, { candidateType: 'srflx', protocol: 'tcp' }), true);
  assert.equal(ours(host), false, 'without a relay nothing is known');
});

test('rates are measured between two reports', () => {
  const at = (bytes, packets, lost) => report([
    { id: 'I', type: 'inbound-rtp', kind: 'video', bytesReceived: bytes, packetsReceived: packets, packetsLost: lost, frameWidth: 640, frameHeight: 480, framesPerSecond: 29.7, codecId: 'C' },
    { id: 'A', type: 'inbound-rtp', kind: 'audio', codecId: 'D' },
    { id: 'C', type: 'codec', mimeType: 'video/VP8' },
    { id: 'D', type: 'codec', mimeType: 'audio/opus' },
    { id: 'O', type: 'outbound-rtp', bytesSent: bytes / 2 },
  ]);
  const first = sampleOf(at(1000, 10, 0), 0);
  const second = sampleOf(at(126_000, 100, 10), 1000, first);
  assert.equal(second.inRate, 1_000_000);
  assert.equal(second.outRate, 500_000);
  assert.equal(second.lossRate, 0.1);
  assert.deepEqual([second.video, second.fps, second.audio], ['640×480 · VP8', 29.7, 'opus']);
  const restarted = sampleOf(at(0, 0, 0), 2000, second);
  assert.deepEqual([restarted.inRate, restarted.lossRate], [0, 0]);
});

test('a stream that restarts does not reduce the sent bytes', () => {
  let sample;
  const sent = [[1000, 100], [2000, 200], [0, 300], [500, 400], [0, 500]].map(([video, audio], second) => {
    sample = sampleOf(report([{ id: 'V', type: 'outbound-rtp', bytesSent: video }, { id: 'A', type: 'outbound-rtp', bytesSent: audio }]), second * 1000, sample);
    return sample.outBytes;
  });
  assert.deepEqual(sent, [1100, 2200, 2200, 2800, 2800]);
});

test('quality has three levels', () => {
  assert.equal(qualityOf({ rtt: 40, lossRate: 0 }), 'good');
  assert.equal(qualityOf({ rtt: 400, lossRate: 0 }), 'fair');
  assert.equal(qualityOf({ rtt: null, lossRate: 0.2 }), 'poor');
});

test('the frame rate is computed if the browser omits it, absent without video', () => {
  const at = (frames) => report([{ id: 'I', type: 'inbound-rtp', kind: 'video', frameWidth: 640, frameHeight: 480, framesDecoded: frames }]);
  assert.equal(sampleOf(at(75), 3000, sampleOf(at(15), 1000)).fps, 30);
  assert.equal(sampleOf(report([]), 0).fps, null);
});

test('the reason is loss before delay, and none on a good network', () => {
  assert.equal(qualityReason({ rtt: 400, lossRate: 0.1 }), 'loss');
  assert.equal(qualityReason({ rtt: 400, lossRate: 0 }), 'delay');
  assert.equal(qualityReason({ rtt: null, lossRate: 0.01 }), null);
});
