import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CallMediaSession } from '../../../public/media/media-session.js';

/** A media session that knows these actions. */
function makeSession(known) {
  const handlers = new Map();
  return {
    handlers, calls: [], metadata: null, playbackState: 'none',
    setActionHandler(name, handler) {
      if (!known.includes(name)) throw new TypeError(`unknown action ${name}`);
      if (handler) handlers.set(name, handler);
      else handlers.delete(name);
    },
    setMicrophoneActive(on) { this.calls.push(`mic ${on}`); },
    setCameraActive(on) { this.calls.push(`cam ${on}`); },
  };
}

function make(session, actions = {}) {
  const done = [];
  const act = (name) => () => done.push(name);
  const media = new CallMediaSession({
    session, newMetadata: (init) => ({ ...init }),
    actions: { toggleMic: act('mic'), toggleCam: act('cam'), hangUp: act('hang up'), enterPictureInPicture: act('window'), ...actions },
  });
  return { media, done };
}

const ALL = ['togglemicrophone', 'togglecamera', 'hangup', 'enterpictureinpicture', 'play', 'pause'];
const CALL = { title: 'Ada', mic: true, cam: false };

test('media keys act on the call while there is one', () => {
  const session = makeSession(ALL);
  const { media, done } = make(session);
  media.show(null);
  assert.equal(session.handlers.size, 0);
  media.show(CALL);
  assert.deepEqual([session.metadata.title, session.playbackState, session.calls], ['Ada', 'playing', ['mic true', 'cam false']]);
  for (const name of ALL) session.handlers.get(name)();
  assert.deepEqual(done, ['mic', 'cam', 'hang up', 'window'], 'play and pause do nothing');
  media.show(null);
  assert.deepEqual([session.handlers.size, session.metadata, session.playbackState], [0, null, 'none']);
});

test('only changes are passed on, and all of it again in the next call', () => {
  const session = makeSession(ALL);
  const { media } = make(session);
  media.show(CALL);
  media.show({ ...CALL });
  media.show({ ...CALL, mic: false });
  assert.deepEqual(session.calls, ['mic true', 'cam false', 'mic false']);
  media.show(null);
  media.show(CALL);
  assert.deepEqual(session.calls.slice(3), ['mic true', 'cam false']);
});

test('a browser that knows few actions, or none, keeps the others', () => {
  const session = makeSession(['play', 'pause', 'hangup']);
  delete session.setMicrophoneActive;
  session.setCameraActive = () => { throw new Error('not allowed'); };
  const { media, done } = make(session);
  media.show(CALL);
  assert.deepEqual([...session.handlers.keys()].sort(), ['hangup', 'pause', 'play']);
  session.handlers.get('hangup')();
  assert.deepEqual(done, ['hang up']);
  make(undefined).media.show(CALL);
});

test('an action that fails does not reach the browser', () => {
  const session = makeSession(ALL);
  make(session, { hangUp: () => { throw new Error('left already'); } }).media.show(CALL);
  session.handlers.get('hangup')();
});
