import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeSession } from '../../public/session.js';
import { statusKey, statusOf, troubleOf } from '../../public/status.js';
import { makeClock } from './stage.js';

/** A session between a room and a call that we play ourselves. */
function stageOf() {
  const clock = makeClock();
  const said = [];
  const woken = [];
  const reported = [];
  const met = [];
  const repaired = [];
  let linked = false;
  let room;
  let other;
  const session = makeSession({
    clock, now: clock.now, changed() {},
    openReport: () => ({
      begin: () => reported.push(`begin ${clock.now()}`),
      connected: () => reported.push(`connected ${clock.now()}`),
      end: () => reported.push(said.some(([what]) => what === 'leave') ? 'end after leave' : 'end'),
    }),
    openSignaling: (tell) => {
      room = tell;
      return { join: (name, options) => said.push(['join', name, options.key]), look() {}, leave: () => said.push(['leave']),
        send: (frame) => said.push(frame), askIceServers() {}, wake() { woken.push(clock.now()); } };
    },
    openCall: ({ tell }) => {
      other = tell;
      return { meet: (...who) => met.push(who), hear: async () => {}, useIceServers() {}, carry: async () => {}, show() {},
        repairSoon: () => repaired.push(clock.now()), connected: () => linked, hangUp() { link('none'); }, connection: () => (session.state.link === 'none' ? null : {}) };
    },
  });
  function link(state) {
    linked = state === 'connected';
    other({ type: 'link', state });
  }
  return {
    session, clock, said, met, woken, reported, repaired, link, state: session.state,
    room: (frame) => room(frame), other: (event) => other(event),
    status: () => statusOf(session.state, true),
    words: () => statusKey(session.state, statusOf(session.state, true)),
    trouble: (devices = null) => troubleOf(session.state, statusOf(session.state, true), devices),
    sits(peer) {
      session.join('den');
      room({ type: 'socket', open: true });
      room({ type: 'resp-join', id: 'me', peer, iceServers: [] });
    },
    talks() {
      this.sits('you');
      link('new');
      link('connected');
    },
  };
}

test('at the door it is known who is inside, and forgotten with the join', () => {
  const stage = stageOf();
  stage.room({ type: 'room', room: 'den', seats: 1 });
  assert.equal(stage.state.inside, 1);
  stage.sits(null);
  assert.equal(stage.state.inside, null);
});

test('a path that is lost puts the socket in doubt at once', () => {
  const stage = stageOf();
  stage.talks();
  assert.deepEqual(stage.woken, []);
  stage.link('disconnected');
  assert.deepEqual(stage.woken, [stage.clock.now()]);
});

test('from the door through waiting into the call', () => {
  const stage = stageOf();
  assert.equal(statusOf(stage.state, false), 'idle');
  assert.equal(stage.status(), 'preview');
  stage.session.join('den');
  assert.equal(stage.status(), 'joining');
  stage.room({ type: 'socket', open: true });
  stage.room({ type: 'resp-join', id: 'me', peer: null, iceServers: [] });
  assert.equal(stage.status(), 'waiting');
  stage.room({ type: 'new-peer', id: 'you' });
  assert.deepEqual(stage.met.at(-1), ['me', 'you', false]);
  assert.equal(stage.status(), 'connecting');
  stage.link('connected');
  assert.equal(stage.status(), 'connected');
});

test('leaving ends with the length of the call', async () => {
  const stage = stageOf();
  stage.talks();
  await stage.clock.advance(763_000);
  stage.session.leave();
  assert.deepEqual(stage.state.ended, { how: 'youLeft', seconds: 763 });
  assert.equal(stage.status(), 'idle');
  assert.deepEqual(stage.said.at(-1), ['leave']);
});

test('leaving an empty room goes back to the door', () => {
  const stage = stageOf();
  stage.sits(null);
  stage.session.leave();
  assert.equal(stage.status(), 'preview');
});

test('who leaves has left, and it is said', () => {
  const stage = stageOf();
  stage.talks();
  stage.room({ type: 'peer-leave', id: 'you' });
  assert.equal(stage.state.ended.how, 'theyLeft');
});

test('a goodbye needs no server', () => {
  const stage = stageOf();
  stage.talks();
  stage.other({ type: 'bye' });
  assert.equal(stage.state.ended.how, 'theyLeft');
});

test('media goes on when only a socket is lost, theirs or ours', () => {
  const stage = stageOf();
  stage.talks();
  stage.room({ type: 'peer-away', id: 'you' });
  stage.room({ type: 'socket', open: false });
  assert.equal(stage.status(), 'connected');
});

test('a grace that ran out does not cut a call that runs, until it fails', async () => {
  const stage = stageOf();
  stage.talks();
  stage.room({ type: 'peer-away', id: 'you' });
  stage.room({ type: 'peer-leave', id: 'you' });
  assert.equal(stage.status(), 'connected');
  stage.link('disconnected');
  assert.equal(stage.status(), 'reconnecting');
  await stage.clock.advance(8000);
  assert.equal(stage.state.ended.how, 'theyDropped');
});

test('who was only unheard for a moment is not given up', async () => {
  const stage = stageOf();
  stage.talks();
  stage.room({ type: 'peer-away', id: 'you' });
  stage.room({ type: 'peer-leave', id: 'you' });
  stage.link('disconnected');
  await stage.clock.advance(3000);
  stage.link('connected');
  await stage.clock.advance(60_000);
  assert.equal(stage.status(), 'connected');
});

test('a dropped other is waited for with its own sentence', () => {
  const stage = stageOf();
  stage.talks();
  stage.link('disconnected');
  assert.equal(statusKey(stage.state, stage.status()), 'status.reconnecting');
  stage.room({ type: 'peer-away', id: 'you' });
  assert.equal(statusKey(stage.state, stage.status()), 'status.reconnecting.theirs');
  stage.room({ type: 'socket', open: false });
  assert.equal(statusKey(stage.state, stage.status()), 'status.reconnecting.ours');
});

test('no way in half a minute is said, and forgotten when there is one', async () => {
  const stage = stageOf();
  stage.sits('you');
  stage.link('new');
  await stage.clock.advance(30_000);
  assert.equal(stage.status(), 'failed');
  stage.link('connected');
  assert.equal(stage.status(), 'connected');
});

test('their network that is gone is not taken for networks without a way between them', async () => {
  const stage = stageOf();
  stage.talks();
  await stage.clock.advance(5000);
  stage.link('disconnected');
  await stage.clock.advance(40_000);
  assert.equal(stage.words(), 'status.reconnecting', 'the server needs 45 seconds to notice');
  stage.room({ type: 'peer-away', id: 'you' });
  await stage.clock.advance(60_000);
  assert.equal(stage.words(), 'status.reconnecting.theirs');
  assert.equal(stage.trouble().error, null);
  stage.room({ type: 'peer-back', id: 'you' });
  assert.equal(stage.words(), 'status.reconnecting', 'there is hope again');
  await stage.clock.advance(60_000);
  assert.equal(stage.status(), 'failed');
});

test('who is without a network for long is told so, and nothing of ways between networks', async () => {
  const stage = stageOf();
  stage.talks();
  stage.link('disconnected');
  stage.room({ type: 'socket', open: false });
  await stage.clock.advance(120_000);
  assert.equal(stage.words(), 'status.reconnecting.ours');
  assert.equal(stage.trouble().error, null);
});

test('another try after no way was found is one for the call, whatever the devices are', async () => {
  const stage = stageOf();
  stage.sits('you');
  stage.link('new');
  await stage.clock.advance(30_000);
  assert.deepEqual(stage.trouble('device-not-found'), { error: 'no-path', retry: 'call' });
  stage.session.tryAgain();
  assert.deepEqual([stage.repaired, stage.woken], [[30_000], [30_000]]);
  assert.equal(stage.status(), 'connecting');
  await stage.clock.advance(30_000);
  assert.equal(stage.status(), 'failed');
});

test('another try is offered where it helps, and for what it helps', () => {
  const stage = stageOf();
  assert.deepEqual(stage.trouble('device-busy'), { error: 'device-busy', retry: 'devices' });
  assert.deepEqual(stage.trouble('mic-lost'), { error: 'mic-lost', retry: null });
  assert.deepEqual(stage.trouble(), { error: null, retry: null });
  stage.session.complain('bad-room');
  assert.deepEqual(stage.trouble('device-busy'), { error: 'bad-room', retry: null });
  stage.session.join('den');
  stage.room({ type: 'socket', open: false });
  assert.deepEqual(stage.trouble('device-busy'), { error: 'unreachable', retry: 'call' });
  stage.talks();
  stage.session.leave();
  assert.deepEqual(stage.trouble('device-busy'), { error: null, retry: null });
});

for (const code of ['key-required', 'room-full']) {
  test(`a call that may not come back (${code}) goes on as long as it goes, which is said, and then ends`, async () => {
    const stage = stageOf();
    stage.talks();
    stage.room({ type: 'socket', open: false });
    stage.room({ type: 'refused', code });
    assert.equal(stage.words(), 'status.connected.outside');
    assert.deepEqual(stage.trouble(), { error: null, retry: null });
    stage.link('disconnected');
    await stage.clock.advance(4000);
    stage.link('connected');
    assert.equal(stage.words(), 'status.connected.outside');
    stage.link('failed');
    await stage.clock.advance(8000);
    assert.deepEqual([stage.state.screen, stage.state.ended.how], ['after', 'weDropped']);
    stage.session.join('den');
    assert.equal(stage.state.outside, false);
  });
}

test('a door that was shut opens as soon as a seat is free', () => {
  const stage = stageOf();
  stage.session.join('den');
  stage.room({ type: 'refused', code: 'room-full' });
  stage.room({ type: 'room', room: 'den', seats: null });
  stage.room({ type: 'room', room: 'den', seats: 2 });
  assert.equal(stage.state.error, 'room-full');
  stage.room({ type: 'room', room: 'den', seats: 1 });
  assert.equal(stage.state.error, null);
});

test('who goes before the first picture leaves us waiting', () => {
  const stage = stageOf();
  stage.sits('you');
  stage.room({ type: 'peer-leave', id: 'you' });
  assert.equal(stage.status(), 'waiting');
});

test('a full room leaves us at the door with the reason', () => {
  const stage = stageOf();
  stage.session.join('den');
  stage.room({ type: 'refused', code: 'room-full' });
  assert.equal(stage.status(), 'preview');
  assert.equal(stage.state.error, 'room-full');
});

test('a key that is asked for can be given', () => {
  const stage = stageOf();
  stage.session.join('den');
  stage.room({ type: 'refused', code: 'key-required' });
  assert.ok(stage.state.needsKey);
  stage.session.join('den', 'sesame');
  assert.deepEqual(stage.said.at(-1), ['join', 'den', 'sesame']);
});

test('a restarted server that has forgotten everybody does not end a call', () => {
  const stage = stageOf();
  stage.talks();
  stage.room({ type: 'socket', open: false });
  stage.room({ type: 'socket', open: true });
  stage.room({ type: 'resp-join', id: 'me', peer: null, iceServers: [] });
  assert.equal(stage.status(), 'connected');
  stage.room({ type: 'new-peer', id: 'you' });
  assert.equal(stage.state.peer, 'here');
  assert.equal(stage.status(), 'connected');
});

test('a restarted server finds a broken call waiting for the other, and then for anybody', async () => {
  const stage = stageOf();
  stage.talks();
  stage.room({ type: 'socket', open: false });
  stage.link('disconnected');
  stage.room({ type: 'socket', open: true });
  stage.room({ type: 'resp-join', id: 'me', peer: null, iceServers: [] });
  assert.equal(stage.status(), 'reconnecting');
  assert.equal(stage.state.link, 'disconnected');
  await stage.clock.advance(8000);
  assert.equal(stage.status(), 'waiting');
  assert.equal(stage.state.ended, null);
  stage.room({ type: 'new-peer', id: 'you' });
  assert.equal(stage.status(), 'connecting');
});

test('a call goes on as the same one when the other follows to a restarted server', async () => {
  const stage = stageOf();
  stage.talks();
  stage.link('disconnected');
  stage.room({ type: 'resp-join', id: 'me', peer: null, iceServers: [] });
  stage.room({ type: 'new-peer', id: 'you' });
  stage.link('connected');
  await stage.clock.advance(60_000);
  assert.equal(stage.status(), 'connected');
  assert.equal(stage.state.since, 0);
});

test('where packets stop the socket is looked at', () => {
  const stage = stageOf();
  stage.talks();
  stage.other({ type: 'pulse', state: 'faint' });
  stage.other({ type: 'pulse', state: 'silent' });
  assert.equal(stage.woken.length, 1);
});

test('a call without its server says so, and no more', () => {
  const stage = stageOf();
  stage.talks();
  stage.room({ type: 'socket', open: false });
  assert.equal(statusKey(stage.state, stage.status()), 'status.connected.alone');
  stage.room({ type: 'socket', open: true });
  assert.equal(statusKey(stage.state, stage.status()), 'status.connected');
});

test('a picture that waits for a better network is said in one line, one that is smaller is not', () => {
  const stage = stageOf();
  stage.talks();
  stage.other({ type: 'picture', picture: 'paused' });
  assert.equal(statusKey(stage.state, stage.status()), 'status.connected.weak');
  stage.other({ type: 'picture', picture: 'reduced' });
  assert.equal(statusKey(stage.state, stage.status()), 'status.connected');
});

test('a screen that has been seen stays one while the next of it waits, and one that has not does not', () => {
  const stage = stageOf();
  stage.talks();
  const says = (cam, screen, rest) => {
    stage.other({ type: 'switches', mic: true, cam, screen, weak: false, still: false, ...rest });
    return [stage.state.remote.cam, stage.state.remote.screen, stage.state.remote.weak];
  };
  const waits = [false, false, { weak: true, still: true }];
  assert.deepEqual(says(...waits), [false, false, true]);
  assert.deepEqual(says(true, true), [true, true, false]);
  assert.deepEqual(says(...waits), [false, true, true]);
  assert.deepEqual(says(true, true, { weak: true }), [true, true, true]);
  assert.deepEqual(says(...waits), [false, true, true]);
  assert.deepEqual(says(false, false, { weak: true }), [false, false, true], 'their camera waits instead');
  assert.deepEqual(says(...waits), [false, false, true]);
});

test('another tab with this seat ends it here, quietly', () => {
  const stage = stageOf();
  stage.talks();
  stage.room({ type: 'replaced' });
  assert.equal(stage.state.ended.how, 'replaced');
  assert.ok(!stage.said.some((said) => said[0] === 'leave'));
});

test('frames nobody knows change nothing', () => {
  const stage = stageOf();
  stage.talks();
  for (const type of ['constructor', '__proto__', 'toString', 'peer-leave', 'surprise']) stage.room({ type, id: 'stranger' });
  assert.equal(stage.status(), 'connected');
});

test('a call is reported from the join of who comes second, or from their coming, and before the seat is given up', async () => {
  const stage = stageOf();
  stage.session.join('den');
  stage.room({ type: 'resp-join', id: 'me', peer: null, iceServers: [] });
  await stage.clock.advance(9000);
  stage.room({ type: 'new-peer', id: 'you' });
  await stage.clock.advance(400);
  stage.link('new');
  stage.link('connected');
  assert.deepEqual(stage.reported.slice(-2), ['begin 9000', 'connected 9400']);
  stage.link('disconnected');
  stage.room({ type: 'new-peer', id: 'you' });
  stage.link('connected');
  assert.ok(!stage.reported.includes('begin 9400'), 'what is mended was there before');
  stage.session.leave();
  // The first is of the time alone in the room.
  assert.deepEqual(stage.reported.filter((what) => what.startsWith('end')), ['end', 'end', 'end after leave']);
});
