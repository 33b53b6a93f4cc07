import assert from 'node:assert/strict';
import { test } from 'node:test';
import { statusOf } from '../../public/app/status.js';
import { stageOf } from './session-stage.js';

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

test('what the other shows is as before until a new connection says more; of somebody else nothing stays', () => {
  const stage = stageOf();
  stage.talks();
  const [first, second] = [{}, {}];
  stage.other({ type: 'remote', stream: first });
  assert.equal(stage.state.remote.stream, first);
  stage.other({ type: 'switches', mic: true, cam: true, screen: true, weak: false, still: false });
  stage.link('new');
  assert.deepEqual(stage.state.remote, { stream: null, mic: true, cam: true, screen: true, weak: false });
  stage.other({ type: 'remote', stream: second });
  // The screen waits on the new one, where nothing of it has come: it is the one that was seen.
  stage.other({ type: 'switches', mic: true, cam: false, screen: false, weak: true, still: true });
  assert.deepEqual([stage.state.remote.screen, stage.state.remote.weak], [true, true]);
  stage.link('none');
  stage.link('new');
  assert.deepEqual(stage.state.remote, { stream: null, mic: true, cam: true, screen: false, weak: false });
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

test('a silence is said three seconds after the last packet, and taken back with the next', async () => {
  const stage = stageOf();
  stage.talks();
  // Known after two.
  stage.other({ type: 'pulse', state: 'silent' });
  assert.equal(stage.status(), 'connected');
  await stage.clock.advance(1000);
  assert.equal(stage.status(), 'reconnecting');
  stage.other({ type: 'pulse', state: 'beating' });
  assert.equal(stage.status(), 'connected');
  stage.other({ type: 'pulse', state: 'silent' });
  stage.other({ type: 'pulse', state: 'beating' });
  await stage.clock.advance(5000);
  assert.equal(stage.status(), 'connected');
});

test('who closes the page is said to have closed it, at once and at the end', () => {
  const stage = stageOf();
  stage.talks();
  stage.room({ type: 'peer-away', id: 'you', closing: true });
  assert.equal(stage.words(), 'status.reconnecting.closed');
  stage.room({ type: 'peer-leave', id: 'you' });
  assert.equal(stage.state.ended.how, 'theyClosed');
});

test('who is said to have closed the page and is still seen and heard is in the call', async () => {
  const stage = stageOf();
  stage.talks();
  stage.room({ type: 'peer-away', id: 'you', closing: true });
  await stage.clock.advance(10_000);
  assert.equal(stage.status(), 'connected');
  stage.room({ type: 'peer-leave', id: 'you' });
  assert.deepEqual([stage.state.screen, stage.state.peer], ['call', 'gone']);
});

test('who closed the page and is silent is not doubted, nor who had switched everything off', async () => {
  for (const quiet of [{ type: 'pulse', state: 'silent' }, { type: 'switches', mic: false, cam: false, screen: false }]) {
    const stage = stageOf();
    stage.talks();
    stage.other(quiet);
    stage.room({ type: 'peer-away', id: 'you', closing: true });
    await stage.clock.advance(14_000);
    assert.equal(stage.words(), 'status.reconnecting.closed');
    stage.room({ type: 'peer-leave', id: 'you' });
    assert.equal(stage.state.ended.how, 'theyClosed');
  }
});

test('who comes back to a page they had closed is in the call again', () => {
  const stage = stageOf();
  stage.talks();
  stage.room({ type: 'peer-away', id: 'you', closing: true });
  stage.room({ type: 'peer-back', id: 'you' });
  assert.equal(stage.status(), 'connected');
  stage.room({ type: 'peer-away', id: 'you' });
  stage.link('disconnected');
  assert.equal(stage.words(), 'status.reconnecting.theirs');
});

test('a browser that makes no connection is told so, and leaves the room to the other', () => {
  const stage = stageOf();
  stage.sits('you');
  stage.other({ type: 'unable' });
  assert.deepEqual(stage.said.at(-1), ['leave']);
  assert.deepEqual([stage.state.screen, stage.trouble().error], ['door', 'no-webrtc']);
});

test('a connection that the browser refuses beside one that runs ends nothing', () => {
  const stage = stageOf();
  stage.talks();
  stage.other({ type: 'unable' });
  assert.ok(!stage.said.some(([what]) => what === 'leave'));
  assert.deepEqual([stage.state.screen, stage.state.error], ['call', null]);
});

test('gathering that yields nothing is told as the browser\'s doing, not the networks\'', async () => {
  const stage = stageOf();
  stage.sits('you');
  stage.link('new');
  stage.other({ type: 'no-candidates' });
  assert.deepEqual(stage.trouble(), { error: 'no-candidates', retry: 'call' });
  await stage.clock.advance(40_000);
  assert.equal(stage.trouble().error, 'no-candidates');
  stage.link('connected');
  assert.equal(stage.trouble().error, null);
});

test('no common format for the picture is said while the call runs', () => {
  const stage = stageOf();
  stage.talks();
  stage.other({ type: 'missing', kind: 'video' });
  assert.equal(stage.words(), 'status.connected.no-video');
  stage.room({ type: 'socket', open: false });
  assert.equal(stage.words(), 'status.connected.alone', 'what may end the call goes first');
  stage.link('new');
  assert.equal(stage.state.missing, null);
});
