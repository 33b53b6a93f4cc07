import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeCall } from '../../public/call.js';
import { keepingRoles, readCall } from '../../public/negotiation.js';
import { FakeConnection, makeClock, settle } from './stage.js';

/** Two pages and the wire between them; `deliver` carries what has been said, in order. */
function twoPages(names = ['ann', 'bob']) {
  const clock = makeClock();
  const wire = [];
  let ids = 0;
  const pages = Object.fromEntries(names.map((name) => [name, makePage(name)]));

  function makePage(name) {
    const page = { name, connections: [], heard: [], reachable: true };
    page.load = () => {
      page.call = makeCall({
        clock, reachable: () => page.reachable, newId: () => `${name}${(ids += 1)}`, newStream: () => new FakeStream(),
        send: (frame) => wire.push({ ...frame, from: name }),
        tell: (event) => page.heard.push(event),
        connect: (config) => {
          const pc = new FakeConnection(config);
          page.connections.push(pc);
          return pc;
        },
      });
    };
    page.load();
    page.pc = () => page.connections.at(-1);
    page.links = () => page.heard.filter((event) => event.type === 'link').map((event) => event.state);
    return page;
  }

  async function deliver() {
    await settle();
    while (wire.length) {
      const frame = wire.shift();
      await pages[frame.target]?.call.hear(frame);
      await settle();
    }
  }
  /** Media packets arrive at everybody for this long. */
  async function flow(ms) {
    for (let passed = 0; passed < ms; passed += 100) {
      for (const page of Object.values(pages)) page.pc().packets += 5;
      await clock.advance(100);
    }
  }
  const pulses = (page) => page.heard.filter((event) => event.type === 'pulse').map((event) => event.state);
  return { clock, wire, pages, deliver, flow, pulses, ...pages };
}

class FakeStream {
  tracks = [];
  getTracks() { return this.tracks; }
  addTrack(track) { this.tracks.push(track); }
}

async function connected(stage = twoPages()) {
  stage.bob.call.meet('bob', null, true);
  stage.ann.call.meet('ann', 'bob', true);
  stage.bob.call.meet('bob', 'ann', false);
  await stage.deliver();
  stage.ann.pc().becomes('connected');
  stage.bob.pc().becomes('connected');
  return stage;
}

const stable = (pc) => pc.signalingState === 'stable' && pc.remoteDescription !== null;

test('who finds somebody offers, and both settle on one connection each', async () => {
  const { ann, bob } = await connected();
  assert.equal(ann.connections.length, 1);
  assert.equal(bob.connections.length, 1);
  assert.ok(stable(ann.pc()) && stable(bob.pc()));
  assert.equal(bob.pc().localDescription.type, 'answer');
});

test('two offers that meet on a running connection end in one answer', async () => {
  const stage = await connected();
  stage.ann.pc().restartIce();
  stage.bob.pc().restartIce();
  await stage.deliver();
  assert.ok(stable(stage.ann.pc()) && stable(stage.bob.pc()));
  assert.equal(stage.ann.connections.length + stage.bob.connections.length, 2);
  // ann is the lesser id, so she is the polite one and answers.
  assert.equal(stage.ann.pc().currentLocalDescription.type, 'answer');
});

test('two first offers that meet leave the one of the greater id', async () => {
  const stage = twoPages();
  stage.ann.call.meet('ann', 'bob', true);
  stage.bob.call.meet('bob', 'ann', true);
  await stage.deliver();
  assert.equal(stage.bob.connections.length, 1);
  assert.equal(stage.ann.connections.length, 2);
  assert.ok(stage.ann.connections[0].closed);
  assert.ok(stable(stage.ann.pc()) && stable(stage.bob.pc()));
});

test('a reloaded page is given a new connection', async () => {
  const stage = await connected();
  stage.ann.load();
  stage.ann.call.meet('ann', 'bob', true);
  await stage.deliver();
  assert.ok(stage.bob.connections[0].closed);
  assert.equal(stage.bob.connections.length, 2);
  assert.ok(stable(stage.ann.pc()) && stable(stage.bob.pc()));
});

test('a restart meant for the page before a reload does not disturb the new connection', async () => {
  const stage = await connected();
  stage.bob.pc().restartIce();
  await settle();
  stage.ann.load();
  stage.ann.call.meet('ann', 'bob', true);
  await stage.deliver();
  assert.equal(stage.ann.connections.length, 2);
  assert.ok(stable(stage.ann.pc()) && stable(stage.bob.pc()));
  assert.ok(!stage.ann.pc().closed);
});

test('candidates and answers of another connection are dropped', async () => {
  const { bob } = await connected();
  await bob.call.hear({ type: 'candidate', from: 'ann', call: 'elsewhere/0', candidate: { candidate: 'x' } });
  await bob.call.hear({ type: 'answer', from: 'ann', call: 'elsewhere/0', sdp: { type: 'answer', sdp: 'x' } });
  assert.deepEqual(bob.pc().candidates, []);
});

test('frames of somebody else are dropped', async () => {
  const { bob } = await connected();
  await bob.call.hear({ type: 'offer', from: 'eve', call: 'new/0', sdp: { type: 'offer', sdp: 'x' } });
  assert.equal(bob.connections.length, 1);
});

test('candidates that come before the description wait for it, the last one too', async () => {
  const stage = twoPages();
  stage.ann.call.meet('ann', 'bob', true);
  await settle();
  const call = stage.wire[0].call;
  await stage.ann.call.hear({ type: 'candidate', from: 'bob', call, candidate: { candidate: 'early' } });
  await stage.ann.call.hear({ type: 'candidate', from: 'bob', call, candidate: null });
  assert.deepEqual(stage.ann.pc().candidates, []);
  await stage.ann.call.hear({ type: 'answer', from: 'bob', call, sdp: { type: 'answer', sdp: 'ok' } });
  assert.deepEqual(stage.ann.pc().candidates, [{ candidate: 'early' }, null]);
});

test('our own last candidate goes out as null', async () => {
  const stage = await connected();
  stage.ann.pc().onicecandidate({ candidate: null });
  assert.equal(stage.wire[0].candidate, null);
  assert.equal(stage.wire[0].target, 'bob');
});

for (const [what, frame] of Object.entries({
  'an offer without a description': { type: 'offer' },
  'an offer that is a string': { type: 'offer', sdp: 'v=0' },
  'an offer that calls itself an answer': { type: 'offer', sdp: { type: 'answer', sdp: '' } },
  'an offer no browser can read': { type: 'offer', sdp: { type: 'offer', sdp: 'broken' } },
  'an answer nobody asked for': { type: 'answer', sdp: { type: 'answer', sdp: 'x' } },
  'a candidate that is a number': { type: 'candidate', candidate: 7 },
})) {
  test(`${what} leaves the connection as it is`, async () => {
    const stage = await connected();
    const { id } = readCall(stage.bob.pc() && 'ann1/0');
    await stage.bob.call.hear({ ...frame, from: 'ann', call: `${id}/1` });
    assert.ok(stable(stage.bob.pc()) && !stage.bob.pc().closed);
    stage.ann.pc().restartIce();
    await stage.deliver();
    assert.ok(stable(stage.ann.pc()) && stable(stage.bob.pc()));
  });
}

test('an answer to an offer that has been withdrawn is not taken', async () => {
  const stage = twoPages();
  stage.ann.call.meet('ann', 'bob', true);
  await settle();
  const { id } = readCall(stage.wire[0].call);
  await stage.ann.call.hear({ type: 'answer', from: 'bob', call: `${id}/5`, sdp: { type: 'answer', sdp: 'x' } });
  assert.equal(stage.ann.pc().signalingState, 'have-local-offer');
});

test('a lost path is mended by a restart, the polite side last', async () => {
  const stage = await connected();
  stage.ann.pc().becomes('disconnected');
  stage.bob.pc().becomes('disconnected');
  await stage.clock.advance(0);
  assert.deepEqual([stage.ann.pc().restarts, stage.bob.pc().restarts], [0, 1]);
  await stage.deliver();
  stage.ann.pc().becomes('connected');
  stage.bob.pc().becomes('connected');
  await stage.clock.advance(60_000);
  assert.deepEqual([stage.ann.pc().restarts, stage.bob.pc().restarts], [0, 1]);
});

test('two seconds without packets are mended by a restart, whatever the browser says of the path', async () => {
  const stage = await connected();
  await stage.flow(1000);
  await stage.clock.advance(1900);
  assert.equal(stage.bob.pc().restarts, 0);
  await stage.clock.advance(600);
  assert.equal(stage.bob.pc().restarts, 1);
  await stage.deliver();
  await stage.clock.advance(5000);
  assert.deepEqual(stage.pulses(stage.bob), ['faint', 'silent']);
  await stage.flow(60_000);
  assert.deepEqual([stage.ann.pc().restarts, stage.bob.pc().restarts], [0, 1]);
  assert.deepEqual(stage.pulses(stage.bob), ['faint', 'silent', 'beating']);
});

test('a connection that stands and brings nothing is not left at that: it is mended again, and replaced in the end', async () => {
  const stage = await connected();
  await stage.flow(1000);
  const first = stage.bob.pc();
  for (let second = 0; second < 60; second += 1) {
    stage.ann.pc().packets += 50;
    await stage.clock.advance(1000);
    await stage.deliver();
    if (second === 8) assert.equal(first.restarts, 1, 'the silence may be theirs to end');
  }
  assert.equal(first.restarts, 3);
  assert.deepEqual([stage.bob.connections.length, stage.ann.connections.length, first.closed], [2, 2, true]);
  assert.ok(stable(stage.ann.pc()) && stable(stage.bob.pc()));
});

test('the polite side, too, does not stay with a connection that brings nothing to it alone', async () => {
  const stage = await connected();
  await stage.flow(1000);
  for (let second = 0; second < 90; second += 1) {
    stage.bob.pc().packets += 50;
    await stage.clock.advance(1000);
    await stage.deliver();
  }
  assert.deepEqual([stage.ann.connections.length, stage.ann.connections[0].restarts], [2, 5]);
});

test('a path that is back is not taken for mended before packets come over it', async () => {
  const stage = await connected();
  await stage.flow(1000);
  await stage.clock.advance(2500);
  stage.bob.pc().becomes('disconnected');
  await stage.deliver();
  stage.bob.pc().becomes('connected');
  assert.equal(stage.bob.pc().restarts, 1);
  await stage.clock.advance(9000);
  assert.equal(stage.bob.pc().restarts, 2);
  await stage.deliver();
  await stage.flow(60_000);
  assert.equal(stage.bob.pc().restarts, 2);
});

test('a first offer is given time, a restart that was heard is not repeated', async () => {
  const stage = twoPages();
  stage.bob.call.meet('bob', 'ann', false);
  stage.ann.call.meet('ann', 'bob', true);
  await stage.deliver();
  await stage.clock.advance(20_000);
  assert.deepEqual([stage.ann.pc().restarts, stage.bob.pc().restarts], [0, 0]);
  stage.ann.pc().becomes('disconnected');
  stage.bob.pc().becomes('disconnected');
  await stage.clock.advance(0);
  await stage.deliver();
  await stage.clock.advance(4000);
  assert.deepEqual([stage.ann.pc().restarts, stage.bob.pc().restarts], [0, 1]);
});

test('an offer lost in a dead socket is said again when theirs comes instead of an answer', async () => {
  const stage = await connected();
  await stage.flow(1000);
  stage.bob.pc().restartIce();
  await settle();
  stage.wire.length = 0;
  stage.ann.pc().restartIce();
  await stage.deliver();
  assert.ok(stable(stage.ann.pc()) && stable(stage.bob.pc()));
  assert.equal(stage.ann.pc().currentLocalDescription.type, 'answer');
});

test('a restart under way is not undone when the browser notices the loss as well', async () => {
  const stage = await connected();
  await stage.flow(1000);
  await stage.clock.advance(2500);
  await stage.deliver();
  stage.bob.pc().becomes('disconnected');
  stage.ann.pc().becomes('disconnected');
  await stage.clock.advance(2000);
  assert.deepEqual([stage.ann.pc().restarts, stage.bob.pc().restarts], [0, 1]);
  await stage.clock.advance(2000);
  assert.equal(stage.bob.pc().restarts, 2);
});

test('the polite side mends a silence that the other does not', async () => {
  const stage = await connected();
  await stage.flow(1000);
  stage.bob.reachable = false;
  await stage.clock.advance(4000);
  assert.deepEqual([stage.ann.pc().restarts, stage.bob.pc().restarts], [1, 0]);
});

test('nothing is missed of somebody who has nothing to send', async () => {
  const stage = await connected();
  await stage.flow(1000);
  stage.ann.pc().channel.onmessage({ data: '{"mic":false,"cam":false,"screen":false}' });
  await stage.clock.advance(60_000);
  assert.deepEqual([stage.ann.pc().restarts, stage.pulses(stage.ann)], [0, []]);
});

/** Ann's picture meets a path that is full, after some seconds on a good one. */
async function weakened(stage, hint = 'motion') {
  const said = [];
  stage.ann.pc().channel.readyState = 'open';
  stage.ann.pc().channel.send = (text) => said.push(JSON.parse(text));
  stage.ann.call.show({ mic: true, cam: true, screen: hint === 'text' });
  await stage.ann.call.carry({ audio: null, video: { kind: 'video', contentHint: hint } });
  for (let second = 1; second <= 6; second += 1) {
    stage.ann.pc().reported = [100 * second, 0, 0, 0.02];
    await stage.flow(1000);
  }
  stage.ann.pc().reported = [800, 150, 0.8, 0.6];
  await stage.flow(500);
  return said;
}

test('a picture that waits for a better network is told as none, with the reason, and comes back', async () => {
  const stage = await connected();
  const said = await weakened(stage);
  assert.deepEqual(said.at(-1), { mic: true, cam: false, screen: false, weak: true });
  stage.ann.call.show({ mic: false, cam: true, screen: false });
  assert.deepEqual(said.at(-1), { mic: false, cam: false, screen: false, weak: true });
  await stage.flow(8000);
  assert.deepEqual(said.at(-1), { mic: false, cam: true, screen: false });
  const pictures = stage.ann.heard.filter(({ type }) => type === 'picture').map(({ picture }) => picture);
  assert.deepEqual(pictures.filter((each, which) => each !== pictures[which - 1]), ['full', 'paused', 'reduced']);
});

test('a screen that waits is told apart, and its trials are no news to us or to them until one has lasted', async () => {
  const stage = await connected();
  const said = await weakened(stage, 'text');
  const news = () => stage.ann.heard.filter(({ type }) => type === 'picture').map(({ picture }) => picture);
  assert.deepEqual(said.at(-1), { mic: true, cam: false, screen: false, still: true, weak: true });
  await stage.flow(8000);
  assert.deepEqual(said.at(-1), { mic: true, cam: true, screen: true, weak: true });
  assert.equal(news().at(-1), 'paused');
  await stage.flow(10_000);
  assert.deepEqual(said.at(-1), { mic: true, cam: true, screen: true });
  assert.deepEqual(news().filter((each, which) => each !== news()[which - 1]).slice(0, 3), ['full', 'paused', 'reduced']);
});

test('a camera switched off is not said to wait, and is not switched on by a better network', async () => {
  const stage = await connected();
  const said = await weakened(stage);
  stage.ann.call.show({ mic: true, cam: false, screen: false });
  await stage.ann.call.carry({ audio: null, video: null });
  assert.deepEqual(said.at(-1), { mic: true, cam: false, screen: false });
  assert.equal(stage.ann.heard.filter(({ type }) => type === 'picture').at(-1).picture, 'full');
  await stage.flow(60_000);
  assert.deepEqual(said.at(-1), { mic: true, cam: false, screen: false });
  assert.equal(stage.ann.pc().transceivers[1].sender.track, null);
});

test('whose picture waits is not missed, and a page says why it does not see them', async () => {
  const stage = await connected();
  await stage.flow(1000);
  stage.ann.pc().channel.onmessage({ data: '{"mic":false,"cam":false,"screen":false,"weak":true}' });
  await stage.clock.advance(60_000);
  assert.deepEqual([stage.ann.pc().restarts, stage.pulses(stage.ann)], [0, []]);
  assert.equal(stage.ann.heard.filter(({ type }) => type === 'switches').at(-1).weak, true);
  stage.ann.pc().channel.onmessage({ data: '{"mic":true,"cam":true,"screen":false}' });
  assert.equal(stage.ann.heard.filter(({ type }) => type === 'switches').at(-1).weak, false);
});

test('what was lost on a path that broke does not take the picture from the next', async () => {
  const stage = await connected();
  stage.ann.pc().reported = [100, 0, 0, 0.02];
  await stage.flow(6000);
  await stage.clock.advance(3000);
  await stage.flow(500);
  stage.ann.pc().reported = [800, 700, 0.9, 0.6];
  await stage.flow(1000);
  assert.deepEqual(stage.ann.heard.filter(({ type }) => type === 'picture'), []);
});

test('a gap in what arrives does not hide what is lost of ours, since who listens in silence sends little', async () => {
  const stage = await connected();
  await stage.ann.call.carry({ audio: null, video: { kind: 'video' } });
  for (let second = 1; second <= 6; second += 1) {
    stage.ann.pc().reported = [100 * second, 0, 0, 0.02];
    await stage.flow(1000);
  }
  await stage.clock.advance(1300);
  assert.deepEqual(stage.pulses(stage.ann), ['faint']);
  stage.ann.pc().reported = [800, 150, 0.8, 0.6];
  await stage.flow(1000);
  assert.deepEqual(stage.pulses(stage.ann), ['faint', 'beating']);
  assert.equal(stage.ann.heard.filter(({ type }) => type === 'picture').at(-1).picture, 'paused');
});

test('both encoders are asked for repair and silence, and nothing we say is changed', async () => {
  const stage = twoPages();
  const opus = 'm=audio 9 X 111\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10\r\n';
  stage.ann.call.meet('ann', 'bob', true);
  await settle();
  const offer = stage.wire.find(({ type }) => type === 'offer');
  assert.doesNotMatch(offer.sdp.sdp, /usedtx/);
  offer.sdp.sdp += opus;
  stage.bob.call.meet('bob', 'ann', false);
  await stage.deliver();
  assert.match(stage.bob.pc().remoteDescription.sdp, /minptime=10;useinbandfec=1;usedtx=1/);
});

test('a new network is not waited for: the path is looked for again at once', async () => {
  const stage = await connected();
  stage.bob.call.repairSoon();
  assert.equal(stage.bob.pc().restarts, 0);
  stage.bob.call.repairSoon(true);
  assert.equal(stage.bob.pc().restarts, 1);
});

test('nothing is mended while nobody can hear it', async () => {
  const stage = await connected();
  stage.bob.reachable = false;
  stage.bob.pc().becomes('failed');
  await stage.clock.advance(60_000);
  assert.equal(stage.bob.pc().restarts, 0);
  stage.bob.reachable = true;
  stage.bob.call.repairSoon();
  await stage.clock.advance(0);
  assert.equal(stage.bob.pc().restarts, 1);
});

test('restarts in vain end in a new connection', async () => {
  const stage = await connected();
  stage.bob.pc().becomes('failed');
  for (let i = 0; i < 4; i += 1) {
    await stage.clock.advance(5000);
    await stage.deliver();
  }
  assert.equal(stage.bob.connections.length, 2);
  assert.ok(stage.bob.connections[0].closed);
});

test('an offer that found nobody is said again when they are back', async () => {
  const stage = twoPages();
  stage.ann.call.meet('ann', 'bob', true);
  await settle();
  stage.wire.length = 0;
  stage.ann.call.repairSoon();
  await stage.clock.advance(0);
  assert.equal(stage.wire.filter((frame) => frame.type === 'offer').length, 1);
});

test('a server that has forgotten the other does not end a call that runs', async () => {
  const stage = await connected();
  stage.ann.call.meet('ann', null, true);
  assert.ok(!stage.ann.pc().closed);
  stage.ann.call.meet('ann', 'bob', false);
  assert.equal(stage.ann.connections.length, 1);
});

test('another person gets another connection', async () => {
  const stage = await connected(twoPages(['ann', 'bob', 'cat']));
  stage.bob.call.meet('bob', 'cat', false);
  stage.cat.call.meet('cat', 'bob', true);
  await stage.deliver();
  assert.ok(stage.bob.connections[0].closed);
  assert.ok(stable(stage.bob.pc()) && stable(stage.cat.pc()));
});

test('fresh relay credentials reach the running connection', async () => {
  const { ann } = await connected();
  ann.call.useIceServers([{ urls: ['stun:box:3478'] }]);
  assert.deepEqual(ann.pc().config.iceServers, [{ urls: ['stun:box:3478'] }]);
  ann.call.useIceServers('nonsense');
  assert.deepEqual(ann.pc().config.iceServers, [{ urls: ['stun:box:3478'] }]);
});

test('relay=1 keeps every connection to the relay', () => {
  let config;
  const call = makeCall({ clock: makeClock(), send() {}, tell() {}, relayOnly: true, newStream: () => new FakeStream(),
    connect: (given) => new FakeConnection((config = given)) });
  call.meet('ann', 'bob', true);
  assert.equal(config.iceTransportPolicy, 'relay');
});

test('tracks are exchanged without another offer', async () => {
  const stage = await connected();
  const screen = { kind: 'video' };
  await stage.ann.call.carry({ audio: null, video: screen });
  assert.equal(stage.ann.pc().transceivers[1].sender.track, screen);
  await settle();
  assert.deepEqual(stage.wire, []);
});

test('a later offer is read as keeping the role each side has', () => {
  const offer = { type: 'offer', sdp: 'a=setup:actpass\r\n' };
  const answer = { type: 'answer', sdp: 'a=setup:active\r\n' };
  const read = (local, remote) => keepingRoles(offer, { currentLocalDescription: local, currentRemoteDescription: remote }).sdp;
  assert.equal(read(offer, answer), 'a=setup:active\r\n');
  assert.equal(read(answer, offer), 'a=setup:passive\r\n');
  assert.equal(read(null, null), offer.sdp);
});

test('a call id is read whatever it is', () => {
  assert.deepEqual(readCall('abc/3'), { id: 'abc', round: 3 });
  assert.deepEqual(readCall('abc'), { id: 'abc', round: 0 });
  for (const junk of [undefined, null, 7, {}, '']) assert.deepEqual(readCall(junk), { id: '', round: 0 });
});
