import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lobby, lobbyButton, lobbyHint, lobbyTitle } from '../../../public/ui/lobby.js';

const READY = { requesting: false, error: null, hasMic: true, cam: true };
const door = (change = {}) => ({ invited: false, named: false, occupancy: null, inviterName: '', ...change });

test('an invited guest reads who is there', () => {
  const invited = (change) => lobbyTitle(door({ invited: true, named: true, ...change }));
  assert.deepEqual([null, 0, 2].map((occupancy) => invited({ occupancy })), ['invited', 'invited', 'invited']);
  assert.equal(invited({ occupancy: 1 }), 'here');
  assert.equal(invited({ occupancy: 1, inviterName: 'Ann' }), 'waits');
  assert.equal(invited({ occupancy: 2, inviterName: 'Ann' }), 'invited', 'nobody waits in a full room');
  assert.equal(lobbyTitle(door({ named: true, occupancy: 1 })), 'title');
});

test('the button says what it does: start, join or ask, and with which devices', () => {
  const soundOnly = { ...READY, cam: false, error: 'device-not-found' };
  const bare = { ...soundOnly, hasMic: false };
  const labels = (of) => [READY, soundOnly, bare].map((media) => lobbyButton(of, media));
  assert.deepEqual(labels(door()), ['start', 'startSoundOnly', 'startBare']);
  assert.deepEqual(labels(door({ named: true })), ['join', 'joinSoundOnly', 'joinBare']);
  assert.deepEqual(labels(door({ invited: true, named: true, occupancy: 1 })), ['join', 'joinSoundOnly', 'joinBare']);
  assert.equal(lobbyButton(door({ named: true, occupancy: 2 }), READY), 'ask');
});

test('the sentence above the button says what comes next', () => {
  assert.equal(lobbyHint(door()), 'lobby.startHow');
  assert.equal(lobbyHint(door({ named: true })), null);
  assert.equal(lobbyHint(door({ invited: true, named: true, occupancy: 1 })), 'lobby.starts', 'the headline has said who is there');
  assert.deepEqual([0, 1, 2].map((occupancy) => lobbyHint(door({ named: true, occupancy }))), ['lobby.inside.0', 'lobby.inside.1', 'lobby.inside.2']);
});

test('the person who continues a call reads that, and not who is there', () => {
  const here = door({ invited: true, named: true, occupancy: 2 });
  assert.deepEqual([lobbyTitle({ ...here, elsewhere: true }), lobbyButton({ ...here, elsewhere: true }, READY)], ['elsewhere', 'takeOver']);
  assert.deepEqual([lobbyTitle({ ...here, continues: true }), lobbyButton({ ...here, continues: true }, READY)], ['continue', 'join']);
  assert.equal(lobbyTitle({ ...here, continues: true, elsewhere: true }), 'continue', 'the link says what it is for');
  for (const why of ['continues', 'elsewhere']) assert.equal(lobbyHint({ ...here, [why]: true }), null);
});

class FakeElement extends EventTarget {
  value = '';
  hidden = false;
  disabled = false;
  open = false;
  focused = 0;
  dataset = {};
  attributes = new Map();
  setAttribute(name, value) { this.attributes.set(name, value); }
  removeAttribute(name) { this.attributes.delete(name); }
  focus() { this.focused += 1; }
}

function makeLobby() {
  const elements = new Map();
  const element = (id) => elements.get(id) ?? elements.set(id, new FakeElement()).get(id);
  const joined = [];
  const lobby = new Lobby({
    document: { querySelector: element }, translate: (key, values) => `${key} ${Object.values(values ?? {}).join()}`.trim(),
    actions: { join: (...args) => joined.push(args), roomTyped() {} },
  });
  const show = ({ session, ...change } = {}) => lobby.show({
    session: { joining: false, needsKey: false, occupancy: null, ...session }, media: READY, invited: false, error: null, ownName: '', inviterName: '', ...change,
  });
  const type = (id, text) => {
    element(id).value = text;
    element(id).dispatchEvent(new Event('input'));
  };
  const submit = () => element('#door').dispatchEvent(new Event('submit', { cancelable: true }));
  return { lobby, element, joined, show, type, submit };
}

test('a guest by link meets the room as text, the host key only when it is needed', () => {
  const { lobby, element, show } = makeLobby();
  lobby.room = 'den';
  show({ invited: true, inviterName: 'Ann', session: { occupancy: 1 } });
  assert.deepEqual(['#roomField', '#keyField', '#roomName'].map((id) => element(id).hidden), [true, true, false]);
  assert.equal(element('#roomName').textContent, 'lobby.roomName den');
  assert.equal(element('#doorTitle').textContent, 'lobby.waits Ann');
  assert.equal(element('#room').value, 'den', 'the field keeps the room');
  show({ invited: true, session: { needsKey: true } });
  assert.deepEqual([element('#keyField').hidden, element('#key').focused], [false, 1]);
});

test('one press on the start page asks for a private room, and the button stays what it was', () => {
  const { lobby, element, joined, show, type, submit } = makeLobby();
  show();
  assert.equal(element('#joinWord').textContent, 'lobby.start');
  type('#ownName', 'Ann');
  submit();
  assert.deepEqual(joined, [['', '', 'Ann']]);
  // The server asks for a host key: the field has the private room by now.
  lobby.room = 'baba-dodo';
  show({ session: { needsKey: true } });
  assert.equal(element('#joinWord').textContent, 'lobby.start');
  type('#room', 'den');
  show();
  assert.equal(element('#joinWord').textContent, 'lobby.join');
});

test('while joining the button keeps the focus, and another press does nothing', () => {
  const { element, joined, show, submit } = makeLobby();
  element('#btnJoin').disabled = true;
  show({ session: { joining: true } });
  submit();
  assert.deepEqual([joined, element('#btnJoin').disabled, element('#btnJoin').attributes.get('aria-disabled')], [[], false, 'true']);
  show();
  submit();
  assert.deepEqual([joined.length, element('#btnJoin').attributes.get('aria-disabled')], [1, 'false']);
});

test('the remembered name is filled in once and never over a typed one', () => {
  const { element, show, type } = makeLobby();
  show({ ownName: 'Ann' });
  assert.equal(element('#ownName').value, 'Ann');
  type('#ownName', '');
  show({ ownName: 'Ann' });
  assert.equal(element('#ownName').value, '');
});

test('an error about the room opens its field', () => {
  const { element, show } = makeLobby();
  show();
  assert.equal(element('#roomField').open, false);
  show({ error: 'bad-link' });
  assert.equal(element('#roomField').open, true);
  show({ error: 'bad-room' });
  assert.equal(element('#room').attributes.get('aria-invalid'), 'true');
});
