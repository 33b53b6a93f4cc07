// Text messages in real browsers: across an ICE restart and a reload, with input methods, hostile content, and an on-screen
// keyboard.

import assert from 'node:assert/strict';
import { createHarness } from './lib/harness.mjs';
import { waitFor } from './lib/wait.mjs';

const harness = await createHarness('messages');

const send = (participant, text) => participant.evaluate(`() => {
  document.getElementById('chatLine').value = ${JSON.stringify(text)};
  document.getElementById('chatForm').requestSubmit();
}`);
const messages = (participant) => participant.evaluate(`() => [...document.querySelectorAll('#chatLog [data-state]')].map((message) => message.querySelector('p').textContent)`);
const waitForMessages = (participant, ...expected) => waitFor(`the messages ${expected}`, async () => {
  const shown = await messages(participant);
  return JSON.stringify(shown) === JSON.stringify(expected) ? true : Promise.reject(new Error(shown.join(' / ')));
});

harness.scenario('equal messages are announced one by one', async () => {
  const [first, second] = await harness.joinPair(['chromium', 'chromium'], harness.roomUrl());
  await harness.expectMedia([first, second]);
  for (const text of ['yes', 'yes', 'no']) await send(second, text);
  await waitForMessages(first, 'yes', 'yes', 'no');
  assert.deepEqual(await first.evaluate(`() => [...document.getElementById('chatHeard').children].map((each) => each.textContent)`),
    ['New message: yes', 'New message: yes', 'New message: no']);
});

/** Events of an Enter that ends a composition, by engine: name and properties of each. */
const COMPOSITION_EVENTS = {
  'Chromium and Firefox': [['compositionstart'], ['keydown', { isComposing: true, keyCode: 229 }], ['compositionend'], ['keyup']],
  Safari: [['compositionstart'], ['compositionend'], ['keydown', { keyCode: 229 }], ['keyup']],
  'no engine, keydown before the end': [['compositionstart'], ['keydown', { keyCode: 13 }], ['compositionend'], ['keyup']],
  'no engine, keydown after the end': [['compositionstart'], ['compositionend'], ['keydown', { keyCode: 13 }], ['keyup']],
};

for (const kind of ['chromium', 'firefox']) {
  harness.scenario(`an Enter that ends a composition sends nothing in ${kind}`, async () => {
    const [first, second] = await harness.joinPair([kind, 'chromium'], harness.roomUrl());
    await harness.expectMedia([first, second]);
    await first.click('[data-act=chat]');
    for (const [engine, events] of Object.entries(COMPOSITION_EVENTS)) {
      await first.evaluate(`() => {
        const input = document.getElementById('chatLine');
        input.focus();
        input.value = 'half a word';
        for (const [name, properties] of ${JSON.stringify(events)}) {
          const options = { bubbles: true, cancelable: true, key: 'Enter', code: 'Enter', ...properties };
          input.dispatchEvent(name.startsWith('key') ? new KeyboardEvent(name, options) : new CompositionEvent(name, options));
        }
      }`);
      assert.equal(await first.evaluate(`() => document.getElementById('chatLine').value`), 'half a word', engine);
    }
    // The next Enter sends.
    await waitFor('the message', async () => {
      await first.press('Enter');
      return (await messages(first)).length > 0;
    });
    assert.deepEqual(await messages(first), ['half a word']);
  });
}

for (const kinds of [['chromium', 'firefox'], ['firefox', 'chromium']]) {
  harness.scenario(`${kinds.join(' and ')} exchange messages after an ICE restart and a reload`, async () => {
    const pair = await harness.joinPair(kinds, harness.roomUrl());
    const [first, second] = pair;
    await harness.expectMedia(pair);
    await send(first, 'one');
    await waitForMessages(second, 'one');
    assert.equal(await second.evaluate('() => document.body.dataset.unread'), '1');
    assert.equal(await second.evaluate(`() => document.getElementById('chatHeard').textContent`), 'New message: one');

    const iceUfrag = '() => /a=ice-ufrag:(.*)/.exec(webrtcBox.call.connection().currentLocalDescription.sdp)[1]';
    const before = await first.evaluate(iceUfrag);
    await first.evaluate('() => webrtcBox.call.connection().restartIce()');
    await waitFor('the ICE restart', async () => (await first.evaluate(iceUfrag)) !== before);
    await send(second, 'two');
    await waitForMessages(first, 'one', 'two');

    // A message written while the other page reloads is sent when that page is back, with an empty log.
    const reloaded = second.reload();
    await send(first, 'three');
    await reloaded;
    await harness.expectMedia(pair);
    await send(second, 'four');
    await waitFor('the fourth message', async () => (await messages(first)).at(-1) === 'four');
    assert.deepEqual(await messages(first), ['one', 'two', 'three', 'four']);
    assert.equal((await messages(second)).at(-1), 'four');
    await first.waitForCondition('no unsent message', `!document.querySelector('#chatLog [data-state=waiting]')`);
  });
}

harness.scenario('hostile messages show as text and safe links; a flood does no harm', async () => {
  const [first, second] = await harness.joinPair(['chromium', 'chromium'], harness.roomUrl());
  await harness.expectMedia([first, second]);
  await send(second, '<img src=x onerror=alert(1)> javascript:alert(1) https://example.org/a?b=1&c. \u202Egpj');
  await waitFor('the message', async () => (await messages(first)).length === 1);
  assert.deepEqual(await first.evaluate(`() => [...document.querySelectorAll('#chatLog a')].map((a) => [a.href, a.textContent, a.target, a.rel])`),
    [['https://example.org/a?b=1&c', 'https://example.org/a?b=1&c', '_blank', 'noopener noreferrer']]);
  assert.equal(await first.evaluate(`() => document.querySelectorAll('#chatLog img').length`), 0);
  assert.doesNotMatch((await messages(first))[0], /\u202E/);

  await second.evaluate(`() => {
    const { send } = RTCDataChannel.prototype;
    let n = 0;
    RTCDataChannel.prototype.send = function (text) {
      if (this.label !== 'chat' || n) return send.call(this, text);
      for (n = 1; n <= 5000; n += 1) send.call(this, n % 3 ? JSON.stringify({ from: 'flood' + n, n, text: 'flood '.repeat(100) }) : '{'.repeat(1000));
    };
  }`);
  await send(second, 'begin');
  await waitFor('messages of the flood', async () => (await messages(first)).length > 5);
  await first.expectMedia();
  assert.ok((await messages(first)).length <= 400);
  await first.click('[data-act=chat]');
  assert.ok(await first.evaluate(`() => document.getElementById('chatLog').scrollWidth <= document.getElementById('chatLog').clientWidth`));
  const tooLong = 'x'.repeat(4001);
  await send(first, tooLong);
  assert.match(await first.evaluate(`() => document.getElementById('chatNote').textContent`), /4000.*4001/);
  assert.equal(await first.evaluate(`() => document.getElementById('chatLine').value.length`), 4001);
});

harness.scenario('the chat panel stays above an on-screen keyboard, as in Safari', async () => {
  const url = harness.roomUrl();
  const second = await harness.participant('chromium');
  await second.open(url);
  await second.join();
  const first = await harness.participant('chromium', { size: { width: 390, height: 844 } });
  await first.addInitScript(`() => {
    const viewport = Object.assign(new EventTarget(), { height: 844, offsetTop: 0, scale: 1 });
    Object.defineProperty(globalThis, 'visualViewport', { value: viewport });
  }`);
  await first.open(url);
  await first.join();
  await first.expectMedia();
  await first.click('[data-act=chat]');
  const bottoms = `() => ['chat', 'stage'].map((id) => Math.round(document.getElementById(id).getBoundingClientRect().bottom))`;
  const [initialBottom] = await first.evaluate(bottoms);
  assert.equal(initialBottom, 844);
  await first.evaluate(`() => { visualViewport.height = 500; visualViewport.dispatchEvent(new Event('resize')); }`);
  const [chatBottom, videoBottom] = await first.evaluate(bottoms);
  assert.equal(chatBottom, 500);
  assert.ok(videoBottom > 200 && videoBottom < 300, `the video ends at ${videoBottom}`);
});
