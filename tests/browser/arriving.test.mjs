// Who is there: names, waiting to be let in, leaving truthfully, and moving the call to another device.

import assert from 'node:assert/strict';
import { createHarness, ENDED_STATES } from './lib/harness.mjs';
import { decodeCode } from './lib/qr-decoder.mjs';

const harness = await createHarness('arriving');

const textOf = (participant, id) => participant.evaluate(`() => document.getElementById('${id}').textContent`);

/** Joins with a name. */
async function joinAs(participant, name, url) {
  await participant.open(url);
  await participant.waitForState('preview');
  await participant.click('#ownName');
  await participant.type(name);
  await participant.join();
}

/** Two named participants in a call. */
async function joinNamedPair(kinds, url) {
  const pair = await Promise.all(kinds.map((kind) => harness.participant(kind)));
  await joinAs(pair[0], 'Ada', url);
  await pair[0].waitForState('waiting');
  await joinAs(pair[1], 'Bo <b>', url);
  await harness.expectMedia(pair);
  return pair;
}

for (const kinds of [['chromium', 'firefox'], ['firefox', 'chromium']]) {
  harness.scenario(`names are shown, and ${kinds[0]} says at once that the other closed the page`, async () => {
    const [first, second] = await joinNamedPair(kinds, harness.roomUrl());
    await first.waitForCondition('the name', `document.getElementById('theirName').textContent === 'Bo <b>'`);
    await second.waitForCondition('the name', `document.getElementById('theirName').textContent === 'Ada'`);
    await second.evaluate(`() => {
      document.getElementById('chatLine').value = 'hello';
      document.getElementById('chatForm').requestSubmit();
    }`);
    await first.waitForCondition('the author', `document.querySelector('#chatLog .author')?.textContent === 'Bo <b>'`);
    await second.replaceTab();
    await first.waitForStatusText('Bo <b> closed the page');
    assert.equal(await first.evaluate(`() => __observed.statusTexts.some(({ text }) => text.includes('connection was lost'))`), false, 'no guess came first');
    assert.deepEqual(await first.evaluate(`() => [document.getElementById('path').hidden, document.getElementById('remoteFrame').classList.contains('dimmed')]`),
      [true, true], 'no good quality beside a picture that stands still');
    // The seat is kept for a while, and the end is the same for both browsers.
    if (kinds[0] === 'chromium') await first.waitForCondition('the end', `document.getElementById('afterWhy').textContent === 'Bo <b> closed the page.'`, 40_000);
  });
}

harness.scenario('going away from a call is asked about, and Back returns to it', async () => {
  const pair = await joinNamedPair(['chromium', 'firefox'], harness.roomUrl());
  for (const each of pair) {
    const questions = async () => (await each.consoleMessages()).filter((message) => message === 'dialog: beforeunload').length;
    assert.equal(await questions(), 0, 'none on the way into the call');
    await each.open('about:blank');
    assert.equal(await questions(), 1);
    await each.goBack();
    await harness.expectMedia(pair);
  }
});

harness.scenario('a third person waits, is declined, and is let in once somebody has left', async () => {
  const url = harness.roomUrl();
  const [first, second] = await joinNamedPair(['chromium', 'firefox'], url);
  const third = await harness.participant('chromium');
  await joinAs(third, 'Cleo', url);
  await third.waitForCondition('the waiting screen', `document.body.dataset.screen === 'knocking'
    && document.getElementById('knockingWhy').textContent.startsWith('Two people are already in this call')`);
  for (const each of [first, second]) {
    await each.waitForCondition('the knock', `document.getElementById('knocks').textContent.includes('Cleo wants to join')`);
    assert.equal(await each.evaluate(`() => document.querySelector('#knocks .big').ariaDisabled`), 'true', 'there is no free seat');
  }
  assert.equal(await first.evaluate(`() => [...document.querySelectorAll('#announcer span')].filter(({ textContent }) => textContent === 'Cleo wants to join').length`), 1);
  await second.click('#knocks .plain');
  await third.waitForError('declined');
  await first.waitForCondition('no knock', `document.getElementById('knocks').hidden`);
  await third.join();
  await first.waitForCondition('the second knock', `!document.getElementById('knocks').hidden`);
  await second.leave();
  await first.waitForCondition('the waiting screen', `document.body.dataset.screen === 'waiting'`);
  await first.click('#knocks .big[aria-disabled=false]');
  await harness.expectMedia([first, third]);
  assert.equal(await textOf(first, 'theirName'), 'Cleo');
  await third.leave();
  await first.waitForCondition('who left', `document.getElementById('afterWhy').textContent === 'Cleo left.'`);
  await Promise.all([first, third].map((each) => each.waitForState(ENDED_STATES)));
});

harness.scenario('a code moves the call to another device, once', async () => {
  const [first, second] = await joinNamedPair(['chromium', 'firefox'], harness.roomUrl());
  await first.click('.in-call[data-act=settings]');
  await first.click('[data-act=transfer]');
  const link = await decodeCode(first, 'transferCode');
  assert.match(link, /\/r\/room-\d+#t=[\w.~-]+$/);
  assert.match(await textOf(first, 'transferTime'), /^Valid for \d+ seconds$/);
  const device = await harness.participant('chromium');
  await device.open(link);
  await device.waitForState('preview');
  assert.equal(await device.evaluate(`() => location.hash + document.getElementById('doorTitle').textContent`), 'Continue the call here');
  await device.join();
  await first.waitForCondition('the end of the call here', `document.getElementById('afterWhy').textContent.includes('your other device')`);
  await harness.expectMedia([device, second]);
  assert.equal(await first.evaluate(`() => document.getElementById('transferCode').childElementCount`), 0, 'the code is gone');
  assert.ok(!(await device.evaluate(`() => JSON.stringify({ ...localStorage, ...sessionStorage })`)).includes(link.split('#t=')[1]));
  await first.open('about:blank');
  await first.open(link);
  await first.join();
  await first.waitForError('transfer-expired');
});
