import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Attention } from '../../../public/ui/attention.js';
import { words as first } from '../../../public/locales/en.js';
import { words as details } from '../../../public/locales/en-details.js';
import { makeTranslate } from '../../../public/locales/index.js';
import { makeClock, settle } from '../harness/fakes.js';

const words = { ...first, ...details };

/** What attention uses of an element. */
class FakeElement extends EventTarget {
  attributes = new Map();
  children = [];
  dataset = {};
  hidden = false;
  textContent = '';
  append(...children) { this.children.push(...children); }
  getAttribute(name) { return this.attributes.get(name) ?? null; }
  setAttribute(name, value) { this.attributes.set(name, value); }
}

/** @param {'default' | 'granted' | 'denied' | 'missing'} permission and the `answer` of the person to the question */
function makePage({ permission = 'granted', answer = 'granted', stored = [], illegal = false } = {}) {
  const page = { notifications: [], asked: 0, played: [], focused: 0, stored: new Map(stored), clock: makeClock() };
  const elements = { '#notice': new FakeElement(), '#notifyPlace': new FakeElement(), 'link[rel=icon]': new FakeElement() };
  class FakeNotification {
    static permission = permission;
    static async requestPermission() {
      page.asked += 1;
      FakeNotification.permission = answer;
    }
    constructor(title, options) {
      if (illegal) throw new TypeError('Illegal constructor');
      Object.assign(this, { title, ...options, closed: false });
      page.notifications.push(this);
    }
    close() { this.closed = true; }
  }
  const document = Object.assign(new FakeElement(), {
    title: words.title, querySelector: (name) => elements[name] ?? null, createElement: () => new FakeElement(),
    defaultView: Object.assign(new EventTarget(), { focus: () => { page.focused += 1; } }),
  });
  const attention = new Attention({
    document, translate: makeTranslate(words), clock: page.clock, notifications: permission === 'missing' ? undefined : FakeNotification,
    storage: { getItem: (key) => page.stored.get(key) ?? null, setItem: (key, value) => page.stored.set(key, value) },
    chime: { async play(...args) { page.played.push(args); return true; } },
  });
  const setHidden = (hidden) => {
    document.hidden = hidden;
    document.dispatchEvent(new Event('visibilitychange'));
  };
  const show = (session, { unread = 0, devices = [], audiooutput = '' } = {}) => attention.show({
    session: { peerName: '', ended: null, knocks: [], ...session }, chat: { unread: () => unread }, media: { devices, selected: { audiooutput } },
  });
  /** Every check box in this element. */
  const boxes = (element) => element.children.flatMap((child) => (child.type === 'checkbox' ? [child] : boxes(child)));
  const press = (box, checked) => {
    box.checked = checked;
    box.dispatchEvent(new Event('change'));
    return settle();
  };
  elements['link[rel=icon]'].setAttribute('href', '/v/icon.svg');
  const icon = () => elements['link[rel=icon]'].getAttribute('href');
  return { ...page, page, attention, document, show, setHidden, boxes, press, icon, notice: elements['#notice'], waiting: elements['#notifyPlace'] };
}

const NOTIFIES = [['webrtc-box.notify', 'on']];

test('somebody joins: a sound, and a message for some seconds', async () => {
  const { show, notice, played, clock, document } = makePage();
  show({ screen: 'waiting' });
  show({ screen: 'call', peerName: 'Ann' });
  show({ screen: 'call', peerName: 'Ann' });
  assert.deepEqual([notice.textContent, played], ['Ann joined', [['joined', '']]]);
  assert.equal(document.title, words.title, 'the page is visible');
  await clock.advance(3900);
  assert.equal(notice.textContent, 'Ann joined');
  await clock.advance(200);
  assert.equal(notice.textContent, '');
});

test('who was there before us has not joined, and a new tab tells nothing', () => {
  const { show, notice, played } = makePage();
  show({ screen: 'lobby' });
  show({ screen: 'call', peerName: 'Ann' });
  assert.deepEqual([notice.textContent, played], ['', []]);
});

test('each knock is told once, with the name where there is one', () => {
  const { show, setHidden, played, document } = makePage();
  const [ann, nameless] = [{ id: '1', name: 'Ann', answered: false }, { id: '2', name: '', answered: false }];
  show({ screen: 'waiting' });
  setHidden(true);
  show({ screen: 'waiting', knocks: [ann] });
  assert.equal(document.title, '● Ann wants to join — Video call');
  show({ screen: 'waiting', knocks: [{ ...ann, answered: true }, nameless] });
  assert.equal(document.title, '● Somebody wants to join — Video call');
  show({ screen: 'waiting', knocks: [nameless] });
  show({ screen: 'waiting' });
  show({ screen: 'waiting', knocks: [nameless] });
  assert.deepEqual(played.map(([kind]) => kind), ['knock', 'knock'], 'the server names them again after a reconnection');
});

test('the person who is let in is told so', () => {
  const { show, notice, played } = makePage();
  show({ screen: 'knocking' });
  show({ screen: 'call', peerName: 'Ann' });
  assert.deepEqual([notice.textContent, played.length], ['You were let in', 1]);
});

test('a host who opened the room with the key was let in by nobody', () => {
  const { show, notice, played } = makePage();
  show({ screen: 'knocking' });
  show({ screen: 'waiting', triedKey: true });
  assert.deepEqual([notice.textContent, played], ['', []]);
});

test('leaving is told once, with the name from before', () => {
  for (const [after, sound, text] of [
    [{ screen: 'waiting' }, 'left', 'Ann left'],
    [{ screen: 'ended', ended: { reason: 'theyLeft' } }, 'left', ''],
    [{ screen: 'ended', ended: { reason: 'theyClosed' } }, 'left', ''],
    [{ screen: 'ended', ended: { reason: 'theyDropped' } }, 'left', ''],
    [{ screen: 'ended', ended: { reason: 'youLeft' } }, undefined, ''],
    [{ screen: 'ended', ended: { reason: 'weDropped' } }, undefined, ''],
    [{ screen: 'lobby' }, undefined, ''],
  ]) {
    const { show, notice, played } = makePage();
    show({ screen: 'call', peerName: 'Ann' });
    show(after);
    show(after);
    assert.deepEqual([played.map(([kind]) => kind), notice.textContent], [sound ? [sound] : [], text], JSON.stringify(after));
  }
});

test('in the background the title and the icon change until the page is visible', () => {
  const { show, setHidden, document, icon } = makePage();
  show({ screen: 'waiting' });
  setHidden(true);
  show({ screen: 'call' });
  assert.equal(document.title, '● The other person joined — Video call');
  assert.equal(icon(), '/v/icon-dot.svg');
  show({ screen: 'call' }, { unread: 1 });
  show({ screen: 'call' }, { unread: 3 });
  assert.equal(document.title, '● New messages: 3 — Video call');
  show({ screen: 'ended', ended: { reason: 'theyDropped' } });
  assert.match(document.title, /lost the connection/);
  setHidden(false);
  assert.deepEqual([document.title, icon()], ['Video call', '/v/icon.svg']);
});

test('a notification is shown only in the background, one at a time, and closed when the page is visible', () => {
  const { show, setHidden, attention, page } = makePage({ stored: NOTIFIES });
  show({ screen: 'waiting' });
  show({ screen: 'call', peerName: 'Ann' });
  assert.equal(page.notifications.length, 0);
  setHidden(true);
  attention.raise('knock', 'Bob wants to join');
  show({ screen: 'call', peerName: 'Ann' }, { unread: 1 });
  const [knock, message] = page.notifications;
  assert.deepEqual([knock.title, knock.closed, message.title, message.closed, message.silent], ['Bob wants to join', true, 'New messages: 1', false, true]);
  message.onclick();
  assert.deepEqual([page.focused, message.closed], [1, true]);
  attention.raise('knock', 'Eve wants to join');
  setHidden(false);
  assert.equal(page.notifications.at(-1).closed, true);
});

test('permission is asked for only when the switch is pressed', async () => {
  const { show, setHidden, page, waiting, boxes, press, attention } = makePage({ permission: 'default' });
  show({ screen: 'waiting' });
  setHidden(true);
  show({ screen: 'call' });
  assert.deepEqual([page.asked, page.notifications.length], [0, 0]);
  const [box] = boxes(waiting);
  const inDialog = boxes({ children: attention.createSwitches() })[1];
  assert.deepEqual([box.checked, inDialog.checked], [false, false]);
  await press(box, true);
  assert.deepEqual([page.asked, box.checked, inDialog.checked, page.stored.get('webrtc-box.notify')], [1, true, true, 'on']);
  attention.raise('knock', 'Bob wants to join');
  assert.equal(page.notifications.length, 1);
  await press(inDialog, false);
  attention.raise('knock', 'Bob wants to join');
  assert.deepEqual([page.notifications.length, box.checked], [1, false]);
});

test('a switch that was refused is off and explains it', async () => {
  const { waiting, boxes, press } = makePage({ permission: 'default', answer: 'denied' });
  const [box] = boxes(waiting);
  const [, blocked] = waiting.children[0].children;
  assert.equal(blocked.hidden, true);
  await press(box, true);
  assert.deepEqual([box.checked, box.disabled, blocked.hidden], [false, true, false]);
});

test('where notifications were blocked before, only the settings say so', () => {
  const { attention, waiting, boxes } = makePage({ permission: 'denied', stored: NOTIFIES });
  assert.equal(waiting.children.length, 0);
  const [, row] = attention.createSwitches();
  assert.deepEqual([boxes(row)[0].disabled, boxes(row)[0].checked, row.children[1].hidden], [true, false, false]);
});

test('without notifications there is no switch, and a browser that refuses to show one loses it', () => {
  const missing = makePage({ permission: 'missing', stored: NOTIFIES });
  assert.equal(missing.waiting.children.length, 0);
  assert.equal(missing.boxes({ children: missing.attention.createSwitches() }).length, 1);
  missing.setHidden(true);
  missing.attention.raise('knock', 'Bob wants to join');
  const illegal = makePage({ illegal: true, stored: NOTIFIES });
  illegal.setHidden(true);
  illegal.attention.raise('knock', 'Bob wants to join');
  assert.equal(illegal.waiting.children[0].hidden, true);
  assert.match(illegal.document.title, /Bob wants to join/);
});

test('sounds can be switched off, and the next visit remembers it', async () => {
  const { attention, boxes, press, played, page } = makePage();
  const [box] = boxes({ children: attention.createSwitches() });
  assert.equal(box.checked, true);
  attention.raise('knock', '');
  attention.raise('message', '');
  await press(box, false);
  attention.raise('knock', '');
  assert.deepEqual(played, [['knock', '']], 'a message has no sound');
  const next = makePage({ stored: [...page.stored] });
  next.attention.raise('joined', '');
  assert.deepEqual([next.played, next.boxes({ children: next.attention.createSwitches() })[0].checked], [[], false]);
});

test('sounds play through the selected speaker while it is there', () => {
  const { show, attention, played } = makePage();
  const headset = { kind: 'audiooutput', deviceId: 'headset' };
  show({ screen: 'waiting' }, { devices: [headset], audiooutput: 'headset' });
  attention.raise('knock', '');
  show({ screen: 'waiting' }, { devices: [], audiooutput: 'headset' });
  attention.raise('knock', '');
  assert.deepEqual(played, [['knock', 'headset'], ['knock', '']]);
});
