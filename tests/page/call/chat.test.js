import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_LENGTH, Chat, splitLinks } from '../../../public/call/chat.js';

/** Two ends of a channel that delivers messages synchronously while it is open. */
function makeChannel() {
  const ends = [0, 1].map((which) => ({
    readyState: 'connecting',
    sent: [],
    send(data) {
      if (this.readyState !== 'open') throw new Error('not open');
      this.sent.push(data);
      if (ends[1 - which].readyState === 'open') ends[1 - which].onmessage?.({ data });
    },
  }));
  return {
    ends,
    opens() {
      for (const end of ends) end.readyState = 'open';
      for (const end of ends) end.onopen?.();
    },
    breaks() {
      for (const end of ends) end.readyState = 'closed';
    },
  };
}

function makeParticipant(name) {
  const participant = { time: 0, set: 0, changes: 0 };
  participant.chat = new Chat({ changed: () => { participant.changes += 1; }, now: () => participant.time + participant.set, elapsed: () => participant.time, newId: () => name });
  participant.texts = () => participant.chat.messages.map(({ mine, text }) => `${mine ? 'me' : 'they'}: ${text}`);
  participant.states = () => participant.chat.messages.map(({ state }) => state);
  return participant;
}

function makePair() {
  const [ann, bob] = [makeParticipant('ann'), makeParticipant('bob')];
  return { ann, bob, channel: connect(ann, bob) };
}

function connect(ann, bob, { ofAnn = 'a', ofBob = 'b' } = {}) {
  const channel = makeChannel();
  ann.chat.setChannel(channel.ends[0], ofBob);
  bob.chat.setChannel(channel.ends[1], ofAnn);
  return channel;
}

test('a message arrives, and both sides know it', () => {
  const { ann, bob, channel } = makePair();
  channel.opens();
  ann.chat.send('hello');
  bob.chat.send('hello yourself');
  assert.deepEqual(ann.texts(), ['me: hello', 'they: hello yourself']);
  assert.deepEqual(bob.texts(), ['they: hello', 'me: hello yourself']);
  assert.deepEqual([...ann.states(), ...bob.states()], ['sent', 'sent', 'sent', 'sent']);
});

test('a peer without a chat has none until the call ends or another channel comes', () => {
  const { ann, channel } = makePair();
  channel.opens();
  ann.chat.setChannel(null, 'b');
  assert.equal(ann.chat.isAvailable, false);
  ann.chat.setChannel(makeChannel().ends[0], 'b');
  assert.equal(ann.chat.isAvailable, true);
  ann.chat.setChannel(null, 'b');
  ann.chat.clear();
  assert.equal(ann.chat.isAvailable, true);
});

test('messages written while disconnected are sent on reconnection', () => {
  const { ann, bob, channel } = makePair();
  ann.chat.send('too early');
  assert.deepEqual(ann.states(), ['waiting']);
  channel.opens();
  assert.deepEqual([ann.states(), bob.texts()], [['sent'], ['they: too early']]);
});

test('on a new connection unacknowledged messages are sent without duplicates', () => {
  const { ann, bob, channel } = makePair();
  channel.opens();
  ann.chat.send('one');
  // Bob receives it, but the acknowledgement is lost.
  channel.ends[0].readyState = 'open';
  channel.ends[1].send = () => {};
  ann.chat.send('two');
  channel.breaks();
  ann.chat.send('three');
  assert.deepEqual(ann.states(), ['sent', 'waiting', 'waiting']);
  connect(ann, bob).opens();
  assert.deepEqual(bob.texts(), ['they: one', 'they: two', 'they: three']);
  assert.deepEqual(ann.states(), ['sent', 'sent', 'sent']);
});

test('a reloaded page counts from one and is still received', () => {
  const { ann, bob, channel } = makePair();
  channel.opens();
  bob.chat.send('before');
  const again = makeParticipant('bob after the reload');
  connect(ann, again).opens();
  again.chat.send('after');
  assert.deepEqual(ann.texts(), ['they: before', 'they: after']);
  ann.chat.send('welcome back');
  assert.deepEqual(again.texts(), ['me: after', 'they: welcome back']);
});

test('messages for one participant are not sent to another', () => {
  const { ann, channel } = makePair();
  ann.chat.send('between us');
  channel.breaks();
  const eve = makeParticipant('eve');
  connect(ann, eve, { ofBob: 'e' }).opens();
  assert.deepEqual([ann.states(), eve.texts()], [['lost'], []]);
});

test('messages on an old channel are ignored', () => {
  const { ann, bob, channel } = makePair();
  channel.opens();
  connect(ann, bob).opens();
  channel.ends[0].onmessage({ data: '{"from":"bob","n":9,"text":"late"}' });
  assert.deepEqual(ann.texts(), []);
});

test('unread counts the peer\'s messages since the last read', () => {
  const { ann, bob, channel } = makePair();
  channel.opens();
  bob.chat.send('one');
  bob.chat.send('two');
  ann.chat.send('mine');
  assert.equal(ann.chat.unread(), 2);
  ann.chat.markRead();
  assert.equal(ann.chat.unread(), 0);
  ann.chat.clear();
  assert.deepEqual(ann.chat.messages, []);
});

test('too long and too many are refused, and empty text is ignored', () => {
  const { ann } = makePair();
  assert.equal(ann.chat.send('x'.repeat(MAX_LENGTH + 1)), 'too-long');
  assert.equal(ann.chat.send(' \n '), null);
  assert.deepEqual(ann.chat.messages, []);
  assert.equal(ann.chat.send('x'.repeat(MAX_LENGTH)), null);
  while (ann.chat.send('again') === null);
  assert.equal(ann.chat.messages.length, 20);
  assert.equal(ann.chat.send('once more'), 'too-many');
});

test('the maximum number of waiting messages arrives, in any script', () => {
  const { ann, bob, channel } = makePair();
  ann.chat.send('\t"\\'.repeat(1000));
  ann.chat.send('好'.repeat(MAX_LENGTH));
  while (ann.chat.send('again') === null);
  while (bob.chat.send('and again') === null);
  channel.opens();
  assert.deepEqual([ann.states(), bob.states()], [Array(40).fill('sent'), Array(40).fill('sent')]);
});

test('malformed messages are dropped', () => {
  const { ann, channel } = makePair();
  channel.opens();
  const [end] = channel.ends;
  const frames = ['', 'null', '7', '[]', '{', '"x"', '{"text":"no number"}', '{"from":"b","n":1.5,"text":"x"}', '{"from":"b","n":1}',
    '{"from":1,"n":1,"text":"x"}', '{"from":"b","n":1,"text":{}}', '{"from":"b","n":1,"text":"  "}', '{"got":"all"}', '{"got":null}',
    `{"from":"${'b'.repeat(50)}","n":1,"text":"x"}`, `{"from":"b","n":1,"text":"${'x'.repeat(MAX_LENGTH + 1)}"}`,
    `{"from":"b","n":1,"text":"x"}${' '.repeat(100_000)}`, new ArrayBuffer(8), { toString: () => '{"from":"b","n":1,"text":"x"}' }];
  for (const data of frames) {
    ann.time += 1000;
    end.onmessage({ data });
  }
  assert.deepEqual(ann.texts(), []);
  assert.deepEqual(end.sent, []);
  // A well-formed message still arrives afterwards.
  end.onmessage({ data: '{"from":"b","n":1,"text":"honest","__proto__":{"x":1}}' });
  assert.deepEqual(ann.texts(), ['they: honest']);
});

test('a flood is limited in kept messages and redraws', () => {
  const { ann, channel } = makePair();
  channel.opens();
  for (let n = 1; n <= 100_000; n += 1) {
    ann.time += 1;
    channel.ends[0].onmessage({ data: JSON.stringify({ from: `${n % 7}`, n, text: `flood ${n}` }) });
  }
  assert.equal(ann.chat.messages.length, 400);
  // A hundred seconds at four per second, plus the burst.
  assert.ok(ann.changes >= 400 && ann.changes <= 441, `${ann.changes} changes`);
  assert.ok(channel.ends[0].sent.length <= 441);
});

test('bidirectional marks and control characters are removed', () => {
  const { ann, bob, channel } = makePair();
  channel.opens();
  channel.ends[1].onmessage({ data: JSON.stringify({ from: 'ann', n: 1, text: '\u202Egpj.exe\u2066 a\u0000b\u001b[2J\r\nc\n\n\n\n\nd' }) });
  ann.chat.send('\u202Ex');
  assert.deepEqual(bob.texts(), ['they: gpj.exe ab[2J\nc\n\nd']);
  assert.deepEqual(ann.texts(), ['me: x']);
});

test('links are http or https only, end with the sentence and hide nothing', () => {
  const links = (text) => splitLinks(text).filter(({ href }) => href).map(({ href, text: shown }) => (shown === href ? href : [shown, href]));
  assert.deepEqual(links('see https://a.example/x, and (http://b.example/y_(z)).'), ['https://a.example/x', 'http://b.example/y_(z)']);
  assert.deepEqual(links('看https://a.example/页，好'), [['https://a.example/页', 'https://a.example/%E9%A1%B5']]);
  assert.deepEqual(links('HTTPS://A.example'), [['HTTPS://A.example', 'https://a.example/']]);
  for (const text of ['javascript:alert(1)', 'data:text/html,x', 'ftp://a.example/', 'xhttps://a.example', 'https://', 'http://[',
    'https://bank.example@evil.example/', 'https://:p@evil.example/', 'www.a.example', '<b>', 'file:///etc/passwd']) {
    assert.deepEqual(links(text), [], text);
  }
  for (const text of ['', 'plain', 'a https://a.example/ b https://b.example/. c', 'https://u@v.example/ then https://w.example/']) {
    assert.equal(splitLinks(text).map((piece) => piece.text).join(''), text);
  }
});

test('a link of punctuation alone is parsed in no time', () => {
  const text = `https://a${')'.repeat(3900)}`;
  const before = performance.now();
  assert.equal(splitLinks(text).map((piece) => piece.text).join(''), text);
  assert.ok(performance.now() - before < 500);
});

test('setting the clock back an hour loses no message', () => {
  const { ann, bob, channel } = makePair();
  channel.opens();
  bob.chat.send('before');
  ann.set = -3_600_000;
  for (let n = 0; n < 60; n += 1) {
    ann.time += 1000;
    bob.time += 1000;
    bob.chat.send(`after ${n}`);
  }
  assert.equal(ann.chat.messages.length, 61);
});
