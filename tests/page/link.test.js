import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeCall } from '../../public/call/call.js';
import { connected, stable, twoPages } from './call-stage.js';
import { FakeConnection, makeClock, settle } from './stage.js';

test('a lost path is mended by one restart, of the impolite side', async () => {
  const stage = await connected();
  stage.ann.pc().becomes('disconnected');
  stage.bob.pc().becomes('disconnected');
  await stage.clock.advance(0);
  await stage.deliver();
  stage.ann.pc().becomes('connected');
  stage.bob.pc().becomes('connected');
  await stage.clock.advance(60_000);
  assert.deepEqual([stage.ann.pc().restarts, stage.bob.pc().restarts], [0, 1]);
});

for (const [who, makers] of [['polite', { ann: 'mozilla' }], ['impolite', { bob: 'mozilla' }]]) {
  test(`of two unlike browsers Firefox makes the restarts, as the ${who} side too`, async () => {
    const stage = await connected(twoPages(['ann', 'bob'], makers));
    const [firefox, other] = who === 'polite' ? [stage.ann, stage.bob] : [stage.bob, stage.ann];
    await stage.flow(1000);
    await stage.clock.advance(2500);
    await stage.deliver();
    await stage.flow(60_000);
    assert.deepEqual([firefox.pc().restarts, other.pc().restarts], [1, 0]);
  });
}

test('who notices alone asks the other for a restart, and has it at once', async () => {
  const stage = await connected();
  await stage.flow(1000);
  stage.ann.pc().becomes('disconnected');
  await stage.clock.advance(0);
  await stage.deliver();
  assert.deepEqual([stage.ann.pc().restarts, stage.bob.pc().restarts], [0, 1]);
  assert.equal(stage.ann.pc().currentLocalDescription.type, 'answer');
  // Asked again while it is under way, the other does not undo it.
  stage.ann.call.repairSoon();
  await stage.clock.advance(0);
  await stage.deliver();
  assert.equal(stage.bob.pc().restarts, 1);
});

test('on another network the side that makes no restarts asks for one, though nothing is broken yet', async () => {
  const stage = await connected();
  stage.ann.call.repairSoon(true);
  await stage.deliver();
  assert.deepEqual([stage.ann.pc().restarts, stage.bob.pc().restarts], [0, 1]);
});

test('who is asked and does not answer is not waited for', async () => {
  const stage = await connected();
  stage.ann.pc().becomes('disconnected');
  await stage.clock.advance(1900);
  assert.equal(stage.ann.pc().restarts, 0);
  await stage.clock.advance(200);
  assert.equal(stage.ann.pc().restarts, 1);
});

test('asked about a connection that is no more, another is offered', async () => {
  const stage = await connected();
  stage.bob.load();
  stage.bob.call.meet('bob', 'ann', false);
  stage.ann.pc().becomes('disconnected');
  await stage.clock.advance(0);
  await stage.deliver();
  assert.deepEqual([stage.ann.connections.length, stage.ann.connections[0].closed], [2, true]);
  assert.ok(stable(stage.ann.pc()) && stable(stage.bob.pc()));
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
  const [first] = stage.bob.connections;
  assert.deepEqual([stage.ann.connections.length, stage.ann.connections[0].restarts, first.restarts], [2, 0, 5]);
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

/** Two pages in a call, whose connection `gone` has given up with its keys. */
async function keysGoneAt(gone) {
  const stage = await connected();
  await stage.flow(1000);
  stage[gone].pc().sctp = { transport: { state: 'failed' } };
  return stage;
}

for (const [who, whose] of [['ann', 'the polite'], ['bob', 'the impolite']]) {
  test(`a connection whose keys are gone on ${whose} side is replaced at once: no restart brings them back`, async () => {
    const stage = await keysGoneAt(who);
    const before = [stage.ann.pc(), stage.bob.pc()];
    stage[who].pc().becomes('failed');
    await stage.clock.advance(0);
    await stage.deliver();
    assert.deepEqual([stage.ann.connections.length, stage.bob.connections.length], [2, 2]);
    assert.deepEqual(before.map((pc) => pc.restarts), [0, 0]);
    assert.ok(stable(stage.ann.pc()) && stable(stage.bob.pc()));
    assert.equal(stage[who].pc().localDescription.type, 'offer');
  });
}

test('asked for a restart of a connection whose keys are gone, one offers another connection', async () => {
  const stage = await keysGoneAt('bob');
  stage.ann.call.repairSoon(true);
  await stage.deliver();
  await stage.clock.advance(0);
  await stage.deliver();
  assert.deepEqual([stage.ann.connections.length, stage.bob.connections.length], [2, 2]);
});

test('what is asked of a connection that is replaced meanwhile is not waited for', async () => {
  const stage = await keysGoneAt('ann');
  let ready;
  stage.ann.pc().busy = new Promise((done) => { ready = done; });
  stage.bob.pc().becomes('disconnected');
  await stage.clock.advance(0);
  const delivered = stage.deliver();
  await settle();
  // Their offer is still being taken when the connection is given up.
  await stage.clock.advance(0);
  ready();
  await delivered;
  await stage.deliver();
  assert.deepEqual([stage.ann.connections.length, stage.bob.connections.length], [2, 2]);
  assert.ok(stable(stage.ann.pc()) && stable(stage.bob.pc()));
});

test('a connection that never stood is not replaced by one after the other, though its keys are gone', async () => {
  const stage = twoPages();
  stage.bob.call.meet('bob', null, true);
  stage.ann.call.meet('ann', 'bob', true);
  stage.bob.call.meet('bob', 'ann', false);
  await stage.deliver();
  for (const page of [stage.ann, stage.bob]) {
    page.pc().sctp = { transport: { state: 'failed' } };
    page.pc().becomes('failed');
  }
  for (let passed = 0; passed < 4000; passed += 100) {
    await stage.clock.advance(100);
    await stage.deliver();
  }
  assert.deepEqual([stage.ann.connections.length, stage.bob.connections.length], [1, 1]);
});

test('keys that were lost once stay lost, whatever the browser says after their restart', async () => {
  const stage = await keysGoneAt('ann');
  stage.ann.reachable = false;
  stage.ann.pc().becomes('failed');
  await stage.clock.advance(0);
  stage.ann.pc().sctp.transport.state = 'connected';
  // Theirs comes first, and seems to have mended it.
  stage.bob.pc().becomes('disconnected');
  await stage.clock.advance(0);
  await stage.deliver();
  stage.ann.reachable = true;
  stage.ann.pc().becomes('connected');
  await stage.clock.advance(0);
  await stage.deliver();
  assert.deepEqual([stage.ann.connections.length, stage.bob.connections.length], [2, 2]);
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

test('an ask that went into a dead socket is made again, and not followed by an offer of our own that meets theirs', async () => {
  const stage = await connected();
  await stage.flow(1000);
  stage.ann.call.repairSoon(true);
  stage.wire.length = 0;
  stage.ann.reachable = stage.bob.reachable = false;
  stage.ann.pc().becomes('disconnected');
  stage.bob.pc().becomes('disconnected');
  await stage.clock.advance(3000);
  stage.ann.reachable = stage.bob.reachable = true;
  stage.ann.call.repairSoon();
  stage.bob.call.repairSoon();
  await stage.clock.advance(0);
  await stage.deliver();
  assert.deepEqual([stage.ann.connections.length, stage.ann.pc().restarts, stage.bob.pc().restarts], [1, 0, 1]);
});

test('what the browser notices besides does not shorten the time of who was asked', async () => {
  const stage = await connected();
  stage.ann.pc().becomes('disconnected');
  await stage.clock.advance(500);
  stage.ann.pc().becomes('failed');
  await stage.clock.advance(1400);
  assert.equal(stage.ann.pc().restarts, 0);
  await stage.clock.advance(200);
  assert.equal(stage.ann.pc().restarts, 1);
});

test('on another network who is asked in vain is not waited for either, and once only', async () => {
  const stage = await connected();
  await stage.flow(1000);
  stage.ann.call.repairSoon(true);
  stage.wire.length = 0;
  await stage.flow(2500);
  assert.equal(stage.ann.pc().restarts, 1);
  await stage.deliver();
  await stage.flow(60_000);
  assert.deepEqual([stage.ann.pc().restarts, stage.bob.pc().restarts], [1, 0]);
  stage.ann.pc().becomes('disconnected');
  await stage.clock.advance(0);
  assert.equal(stage.wire.at(-1).call, 'ann1/again', 'the next break finds nothing left of it');
});

test('an offer for another network that found nobody is said again, though nothing broke', async () => {
  const stage = await connected();
  stage.bob.call.repairSoon(true);
  await settle();
  stage.wire.length = 0;
  stage.bob.call.repairSoon();
  await stage.clock.advance(0);
  assert.deepEqual([stage.wire.filter((frame) => frame.type === 'offer').length, stage.bob.pc().restarts], [1, 1]);
});

test('a picture or a sound that one side refused is told with the connection', async () => {
  for (const [sdp, kinds] of [['m=video 0 UDP', ['video']], ['m=audio 0 UDP', ['audio']], ['m=video 9 UDP', []]]) {
    const stage = twoPages();
    stage.ann.call.meet('ann', 'bob', true);
    await settle();
    await stage.ann.call.hear({ type: 'answer', from: 'bob', sdp: { type: 'answer', sdp: `v=0\r\n${sdp} x\r\n` } });
    stage.ann.pc().becomes('connected');
    assert.deepEqual(stage.ann.heard.filter(({ type }) => type === 'missing').map(({ kind }) => kind), kinds);
  }
});

test('a browser that gathers nothing is told of, but not where only the relay was asked', async () => {
  for (const [iceTransportPolicy, told] of [['all', 1], ['relay', 0]]) {
    const stage = twoPages();
    stage.ann.call.meet('ann', 'bob', true);
    stage.ann.pc().getConfiguration = () => ({ iceTransportPolicy });
    stage.ann.pc().onicecandidate({ candidate: null });
    assert.equal(stage.ann.heard.filter(({ type }) => type === 'no-candidates').length, told);
  }
});

test('a connection that the browser closed with a page put aside is replaced when the page is back', async () => {
  const stage = await connected();
  stage.ann.pc().signalingState = 'closed';
  stage.ann.call.repairSoon(true);
  await stage.deliver();
  assert.deepEqual([stage.ann.connections.length, stage.bob.connections.length], [2, 2]);
});

test('where the browser refuses to make a connection the call says so', () => {
  const heard = [];
  const call = makeCall({ clock: makeClock(), send() {}, tell: ({ type }) => heard.push(type), connect() { throw new Error('forbidden'); }, newStream: () => null });
  call.meet('ann', 'bob', true);
  assert.deepEqual(heard, ['complaint', 'complaint', 'unable']);
});

test('a browser that refuses the servers makes a connection without them', () => {
  const heard = [];
  const call = makeCall({
    clock: makeClock(), send() {}, tell: ({ type }) => heard.push(type), newStream: () => null,
    connect(config) {
      if (config.iceServers.length) throw new Error('bad server');
      return new FakeConnection(config);
    },
  });
  call.useIceServers([{ urls: 'stun:box:3478' }]);
  call.meet('ann', 'bob', true);
  assert.deepEqual([heard[0], heard.includes('link'), heard.includes('unable')], ['complaint', true, false]);
});

test('a picture that never comes does not keep their sound from being played', async () => {
  const stage = await connected();
  const [sound, picture] = [{ kind: 'audio', muted: true }, { kind: 'video', muted: true }];
  for (const track of [sound, picture]) stage.ann.pc().ontrack({ track });
  const { stream } = stage.ann.heard.findLast(({ type }) => type === 'remote');
  assert.deepEqual(stream.getTracks(), [sound]);
  picture.onunmute();
  assert.deepEqual(stream.getTracks(), [sound, picture]);
});
