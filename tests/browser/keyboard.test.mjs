// A whole call with nothing but a keyboard: the door, waiting, the call and after it, with the focus always seen.

import assert from 'node:assert/strict';
import { AFTER, setStage } from './lib/stage.mjs';
import { until } from './lib/work.mjs';

const stage = await setStage('keyboard');

/** Runs inside the page: what has the focus, and whether one can see that it has. */
function focused() {
  const one = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(one);
  const { width, height } = one.getBoundingClientRect();
  return { name: one.id || one.dataset.act || one.tagName, ring: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2, shown: width > 1 && height > 1 };
}

/** Presses Tab until this has the focus; every stop on the way shows that it has it. */
async function tabTo(seat, name) {
  const passed = [];
  while (passed.length < 30) {
    await seat.press('Tab');
    const now = await seat.look(`${focused}`);
    // Past the last stop the focus leaves the page and comes in again at the top.
    if (now.name !== 'BODY') assert.ok(now.ring && now.shown, `${now.name}: ${JSON.stringify(now)}`);
    if (now.name === name) return;
    passed.push(now.name);
  }
  assert.fail(`no way to ${name}: ${passed.join(', ')}`);
}

const has = (seat, name) => until(`the focus on ${name}`, async () => {
  const now = await seat.look(`${focused}`);
  return now.name === name ? true : Promise.reject(new Error(now.name));
}, 5000);
const is = (seat, what, truth) => until(what, () => seat.look(`() => ${truth}`), 10_000);

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
  await one.type('mvspcfl? all of these are letters here');
  await one.press('Enter');
  await is(other, 'the message', `document.getElementById('chatLog').innerText.includes('mvspcfl?')`);
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
  await one.press('l');
  await one.press('Enter');
  await is(one, 'no list', `!document.getElementById('keys').open`);
  await one.sees('connected');

  await tabTo(one, 'btnLeave');
  await one.press('Enter');
  await one.sees(AFTER);
  await has(one, 'afterTitle');
  await tabTo(one, 'btnAgain');
  await tabTo(one, 'btnAfterNew');
  await one.press('Enter');
  await has(one, 'doorTitle');
});
