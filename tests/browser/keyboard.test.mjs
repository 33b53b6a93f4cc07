// A whole call by keyboard alone: lobby, waiting, call and the end, with visible focus.

import { tabTo, waitForFocus } from './lib/accessibility.mjs';
import { createHarness, ENDED_STATES } from './lib/harness.mjs';

const harness = await createHarness('keyboard');

/** Shortcuts that work wherever the focus is. */
async function checkShortcuts(participant) {
  await participant.evaluate(`() => {
    // A headless browser has no screen to select.
    const canvas = document.createElement('canvas');
    canvas.getContext('2d').fillRect(0, 0, 9, 9);
    navigator.mediaDevices.getDisplayMedia = async () => canvas.captureStream(1);
  }`);
  const isSharing = `document.querySelector('[data-act=share]').hasAttribute('data-on')`;
  await participant.press('s');
  await participant.waitForCondition('the screen shared', isSharing);
  await participant.press('s');
  await participant.waitForCondition('the screen not shared', `!${isSharing}`);
  await participant.press('v');
  await participant.waitForCondition('the camera off', `document.querySelector('[data-act=cam]').hasAttribute('data-off')`);
  await participant.press('v');
  await participant.waitForCondition('the camera on', `!document.querySelector('[data-act=cam]').hasAttribute('data-off')`);
}

/** With the message panel open, letters typed without focus in the field are no shortcuts; the send button returns the
 *  focus to the field. */
async function typeOutsideMessageField(participant) {
  for (const removeFocus of ['document.activeElement.blur()', `document.getElementById('chatLog').focus()`]) {
    await participant.evaluate(`() => ${removeFocus}`);
    await participant.type('hello mvspcf?');
  }
  await participant.waitForCondition('no shortcut', `!document.getElementById('chat').hidden && !document.querySelector('dialog[open]')
    && document.body.dataset.screen === 'call' && !document.querySelector('.bar [data-off], .bar [data-on]')`);
  await participant.evaluate(`() => document.getElementById('chatLine').focus()`);
  await participant.type('sent by the button');
  await participant.click('#chatForm button');
}

/** Letters without a function, and letters with Ctrl, which belong to the browser, change nothing. */
async function checkUnusedKeys(participant) {
  const toggles = `[...document.querySelectorAll('.bar [data-off], .bar [data-on]')].map((button) => button.dataset.act).join()`;
  const before = await participant.evaluate(`() => ${toggles}`);
  await participant.type('lqxe');
  await participant.evaluate(`() => document.dispatchEvent(new KeyboardEvent('keydown', { key: 'm', code: 'KeyM', ctrlKey: true, bubbles: true }))`);
  await participant.waitForCondition('an unchanged call', `document.body.dataset.screen === 'call' && ${toggles} === '${before}'`);
}

harness.scenario('a whole call works by keyboard alone', async () => {
  const url = harness.roomUrl();
  const first = await harness.participant('chromium');
  await first.open(url);
  await first.waitForState('preview');
  await tabTo(first, 'settings');
  await first.press('Enter');
  await first.waitForCondition('the device dialog', `document.getElementById('settings').open`);
  await first.press('Escape');
  await waitForFocus(first, 'settings');
  for (const state of ['off', 'on']) {
    await first.press('m');
    await first.waitForCondition('the announcement', `document.getElementById('announcer').lastChild?.textContent === 'Your microphone is ${state}'`);
  }
  await tabTo(first, 'ownName');
  await tabTo(first, 'btnJoin');
  await first.press('Enter');
  await first.waitForState('waiting');
  await waitForFocus(first, 'btnCopy');

  const second = await harness.participant('chromium');
  await second.open(url);
  // Before this state the page handles no input.
  await second.waitForState('preview');
  await tabTo(second, 'ownName');
  await second.press('Enter');
  await harness.expectMedia([first, second]);
  await waitForFocus(first, 'stage');

  // The self view: moved to another corner, and swapped.
  await tabTo(first, 'swap');
  await first.press('ArrowUp');
  await first.waitForCondition('the self view at the top', `document.getElementById('stage').dataset.corner === 'tr'`);
  await first.press('Enter');
  await first.waitForCondition('the videos swapped', `document.getElementById('stage').dataset.view === 'self'`);
  await first.press('Enter');
  await first.waitForCondition('the videos swapped back', `document.getElementById('stage').dataset.view === 'remote'`);

  // Muted by button, unmuted by shortcut.
  await tabTo(first, 'mic');
  await first.press('Enter');
  await second.waitForCondition('the muted badge', `!document.getElementById('theirMic').hidden`);
  await first.press('m');
  await second.waitForCondition('no muted badge', `document.getElementById('theirMic').hidden`);

  await first.press('c');
  await waitForFocus(first, 'chatLine');
  await typeOutsideMessageField(first);
  await waitForFocus(first, 'chatLine');
  await first.type('mvspcfl? all of these are letters here');
  await first.press('Enter');
  await second.waitForCondition('the messages', `document.getElementById('chatLog').innerText.includes('mvspcfl?') && document.getElementById('chatLog').innerText.includes('sent by the button')`);
  await first.waitForState('connected');
  await first.waitForCondition('no shortcut while typing', `document.getElementById('numbers').hidden && !document.querySelector('[data-act=mic]').hasAttribute('data-off')`);
  await first.press('Escape');
  await waitForFocus(first, 'mic');

  await first.press('p');
  await first.waitForCondition('the statistics', `!document.getElementById('numbers').hidden`);
  await first.press('Escape');
  await first.waitForCondition('no statistics', `document.getElementById('numbers').hidden`);
  await first.press('?');
  await first.waitForCondition('the list of shortcuts', `document.getElementById('keys').open`);
  // Shortcuts do nothing in a dialog.
  await first.press('l');
  await first.press('Enter');
  await first.waitForCondition('no list of shortcuts', `!document.getElementById('keys').open`);
  await first.waitForState('connected');

  await checkShortcuts(first);
  await first.press('f');
  await first.waitForCondition('full screen', 'document.fullscreenElement !== null');
  await first.press('f');
  await first.waitForCondition('no full screen', 'document.fullscreenElement === null');
  await checkUnusedKeys(first);
  await tabTo(first, 'btnLeave');
  await first.press('Enter');
  await first.waitForState(ENDED_STATES);
  await waitForFocus(first, 'afterTitle');
  await tabTo(first, 'btnAgain');
  await tabTo(first, 'btnAfterNew');
  await first.press('Enter');
  await waitForFocus(first, 'doorTitle');
});

// A headless Firefox has no active window: Enter presses no button, and no focus outline is drawn.
harness.scenario('shortcuts do the same in Firefox', async () => {
  const [first, second] = await harness.joinPair(['firefox', 'chromium'], harness.roomUrl());
  await harness.expectMedia([first, second]);
  await checkShortcuts(first);
  await first.press('m');
  await second.waitForCondition('the muted badge', `!document.getElementById('theirMic').hidden`);
  await first.press('p');
  await first.waitForCondition('the statistics', `!document.getElementById('numbers').hidden`);
  await first.press('c');
  await waitForFocus(first, 'chatLine');
  await first.press('Escape');
  await checkUnusedKeys(first);
  await first.leave();
  await first.waitForState(ENDED_STATES);
});
