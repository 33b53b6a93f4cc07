// A whole call with nothing but a keyboard: the door, waiting, the call and after it, with the focus always seen.

import { has, is, tabTo } from './lib/keyboard.mjs';
import { AFTER, setStage } from './lib/stage.mjs';

const stage = await setStage('keyboard');

/** Letters that need no place for the focus, each by what it does. */
async function lettersWork(one) {
  await one.look(`() => {
    // A headless browser has no screen to pick.
    const canvas = document.createElement('canvas');
    canvas.getContext('2d').fillRect(0, 0, 9, 9);
    navigator.mediaDevices.getDisplayMedia = async () => canvas.captureStream(1);
  }`);
  const shares = `document.querySelector('[data-act=share]').hasAttribute('data-on')`;
  await one.press('s');
  await is(one, 'the screen shared', shares);
  await one.press('s');
  await is(one, 'the screen no more', `!${shares}`);
  await one.press('v');
  await is(one, 'the camera off', `document.querySelector('[data-act=cam]').hasAttribute('data-off')`);
  await one.press('v');
  await is(one, 'the camera on', `!document.querySelector('[data-act=cam]').hasAttribute('data-off')`);
}

/** With the chat open and the focus lost, "hello" and every letter are nobody's command; Send gives the focus back. */
async function writesAndLosesFocus(one) {
  for (const lost of ['document.activeElement.blur()', `document.getElementById('chatLog').focus()`]) {
    await one.look(`() => ${lost}`);
    await one.type('hello mvspcf?');
  }
  await is(one, 'nothing done', `!document.getElementById('chat').hidden && !document.querySelector('dialog[open]')
    && document.body.dataset.screen === 'call' && !document.querySelector('.bar [data-off], .bar [data-on]')`);
  await one.look(`() => document.getElementById('chatLine').focus()`);
  await one.type('sent by the button');
  await one.click('#chatForm button');
}

/** Letters that ended a call once, and any with Ctrl: those belong to the browser. */
async function noLetterHurts(one) {
  const switches = `[...document.querySelectorAll('.bar [data-off], .bar [data-on]')].map((one) => one.dataset.act).join()`;
  const before = await one.look(`() => ${switches}`);
  await one.type('lqxe');
  await one.look(`() => document.dispatchEvent(new KeyboardEvent('keydown', { key: 'm', code: 'KeyM', ctrlKey: true, bubbles: true }))`);
  await is(one, 'the call as it was', `document.body.dataset.screen === 'call' && ${switches} === '${before}'`);
}

stage.scene('a whole call goes by keyboard alone', async () => {
  const url = stage.room();
  const one = await stage.person('chromium');
  await one.open(url);
  await one.sees('preview');
  await tabTo(one, 'settings');
  await one.press('Enter');
  await is(one, 'the devices', `document.getElementById('settings').open`);
  await one.press('Escape');
  await has(one, 'settings');
  await tabTo(one, 'room');
  await tabTo(one, 'btnJoin');
  await one.press('Enter');
  await one.sees('waiting');
  await has(one, 'btnCopy');

  const other = await stage.person('chromium');
  await other.open(url);
  // Before that the page has no ears yet.
  await other.sees('preview');
  await tabTo(other, 'room');
  await other.press('Enter');
  await Promise.all([one.hearsAndSees(), other.hearsAndSees()]);
  await has(one, 'stage');

  // The small picture: to another corner, and swapped.
  await tabTo(one, 'swap');
  await one.press('ArrowUp');
  await is(one, 'the tile at the top', `document.getElementById('stage').dataset.corner === 'tr'`);
  await one.press('Enter');
  await is(one, 'the pictures swapped', `document.getElementById('stage').dataset.view === 'self'`);
  await one.press('Enter');
  await is(one, 'the pictures back', `document.getElementById('stage').dataset.view === 'remote'`);

  // By button and by letter.
  await tabTo(one, 'mic');
  await one.press('Enter');
  await is(other, 'silence told', `!document.getElementById('theirMic').hidden`);
  await one.press('m');
  await is(other, 'sound told', `document.getElementById('theirMic').hidden`);

  await one.press('c');
  await has(one, 'chatLine');
  await writesAndLosesFocus(one);
  await has(one, 'chatLine');
  await one.type('mvspcfl? all of these are letters here');
  await one.press('Enter');
  await is(other, 'the message', `document.getElementById('chatLog').innerText.includes('mvspcfl?') && document.getElementById('chatLog').innerText.includes('sent by the button')`);
  await one.sees('connected');
  await is(one, 'nothing switched by writing', `document.getElementById('numbers').hidden && !document.querySelector('[data-act=mic]').hasAttribute('data-off')`);
  await one.press('Escape');
  await has(one, 'mic');

  await one.press('p');
  await is(one, 'the numbers', `!document.getElementById('numbers').hidden`);
  await one.press('Escape');
  await is(one, 'no numbers', `document.getElementById('numbers').hidden`);
  await one.press('?');
  await is(one, 'the list', `document.getElementById('keys').open`);
  // In a dialog a letter is none of ours.
  await one.press('l');
  await one.press('Enter');
  await is(one, 'no list', `!document.getElementById('keys').open`);
  await one.sees('connected');

  await lettersWork(one);
  await one.press('f');
  await is(one, 'the whole screen', 'document.fullscreenElement !== null');
  await one.press('f');
  await is(one, 'the window', 'document.fullscreenElement === null');
  await noLetterHurts(one);
  await tabTo(one, 'btnLeave');
  await one.press('Enter');
  await one.sees(AFTER);
  await has(one, 'afterTitle');
  await tabTo(one, 'btnAgain');
  await tabTo(one, 'btnAfterNew');
  await one.press('Enter');
  await has(one, 'doorTitle');
});

// A headless Firefox has no active window: Enter presses no button there, and no ring is drawn.
stage.scene('letters do the same in Firefox', async () => {
  const [one, other] = await stage.pair(['firefox', 'chromium'], stage.room());
  await Promise.all([one, other].map((seat) => seat.hearsAndSees()));
  await lettersWork(one);
  await one.press('m');
  await is(other, 'silence told', `!document.getElementById('theirMic').hidden`);
  await one.press('p');
  await is(one, 'the numbers', `!document.getElementById('numbers').hidden`);
  await one.press('c');
  await has(one, 'chatLine');
  await one.press('Escape');
  await noLetterHurts(one);
  await one.leave();
  await one.sees(AFTER);
});
