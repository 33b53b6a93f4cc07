// The invite link: shared, scanned as a QR code, copied, pasted into the room field, and damaged.

import assert from 'node:assert/strict';
import { createHarness } from './lib/harness.mjs';
import { decodeCode } from './lib/qr-decoder.mjs';

const harness = await createHarness('invite-link');

harness.scenario('the share dialog and the QR code have the same link', async () => {
  const participant = await harness.participant('chromium', { size: { width: 390, height: 844 } });
  await participant.addInitScript(`() => { navigator.share = async (data) => { globalThis.shared = data; }; }`);
  await participant.open(harness.server.origin);
  await participant.join();
  await participant.waitForState('waiting');
  const link = await participant.evaluate(`() => document.getElementById('link').value`);
  assert.match(link, /\/r\/([a-z]{4}-){5}[a-z]{4}$/);
  assert.equal(link, await participant.evaluate('() => location.href'));
  await participant.click('#btnShare');
  assert.equal((await participant.evaluate('() => globalThis.shared')).url, link);
  assert.equal(await decodeCode(participant, 'qr'), link);
});

harness.scenario('the copy button does not move when the QR code appears', async () => {
  const participant = await harness.participant('chromium');
  await participant.open('about:blank');
  const positions = {};
  for (const code of ['missing', 'shown']) {
    if (code === 'missing') await participant.blockPath('/lib/qr-code.js');
    else await participant.blockPath('/nothing');
    for (const [width, height] of [[390, 844], [1440, 900], [667, 375]]) {
      await participant.setViewport(width, height);
      await participant.open(harness.roomUrl());
      await participant.join();
      await participant.waitForState('waiting');
      if (code === 'shown') await participant.waitForCondition('the QR code', `document.getElementById('qr').childElementCount > 0`);
      (positions[code] ??= []).push(await participant.evaluate(`() => { const { left, top, width } = document.getElementById('btnCopy').getBoundingClientRect(); return [left, top, width].join(); }`));
    }
  }
  assert.deepEqual(positions.shown, positions.missing);
});

harness.scenario('the page\'s own link pasted into the room field opens its room', async () => {
  const participant = await harness.participant('chromium');
  await participant.open(harness.server.origin);
  await participant.waitForState('preview');
  await participant.click('#roomField summary');
  await participant.click('#room');
  await participant.type(`Come here: ${harness.server.origin}/r/${'den-'.repeat(12)}den.`);
  await participant.waitForOccupancy(0);
  await participant.press('Enter');
  await participant.waitForState('waiting');
  assert.equal(await participant.evaluate('() => location.pathname'), `/r/${'den-'.repeat(12)}den`);
});

harness.scenario('a damaged link shows an error and opens no room', async () => {
  const participant = await harness.participant('chromium');
  for (const name of ['%E0%A4', '%F0%9F%98%80']) {
    await participant.open(`${harness.server.origin}/r/${name}`);
    assert.match(await participant.waitForError('bad-link'), /^\s*This link does not work/);
    await participant.waitForState('preview');
    assert.equal(await participant.evaluate(`() => document.getElementById('room').value`), '');
  }
});
