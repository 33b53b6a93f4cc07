// The trust code in real browsers: the same four pictures on both screens, for as long as the keys are the
// same; and the panel that shows them beside the numbers.

import assert from 'node:assert/strict';
import path from 'node:path';
import { setStage } from './lib/stage.mjs';
import { until } from './lib/work.mjs';

const stage = await setStage('trust');

/** What the badge shows, as soon as it shows something other than `before`. */
function pictures(seat, before = '') {
  return until('another trust code', async () => {
    const seen = await seat.look(`() => {
      const { hidden, dataset, textContent } = document.getElementById('trust');
      return hidden ? null : [dataset.state, textContent];
    }`);
    if (!seen || seen[1] === before) return null;
    assert.equal(seen[0], 'same');
    assert.equal(seen[1].split(' ').length, 4);
    return seen[1];
  });
}

async function agree(two, before) {
  const [one, other] = await Promise.all(two.map((seat) => pictures(seat, before)));
  assert.equal(one, other);
  return one;
}

for (const kinds of [['chromium', 'chromium'], ['chromium', 'firefox'], ['firefox', 'firefox']]) {
  stage.scene(`${kinds.join(' and ')} show the same four pictures, after an ICE restart too, and others after a reload`, async () => {
    const two = await stage.pair(kinds, stage.room());
    await Promise.all(two.map((seat) => seat.hearsAndSees()));
    const first = await agree(two);

    const name = '() => /a=ice-ufrag:(.*)/.exec(webrtcBox.call.connection().currentLocalDescription.sdp)[1]';
    const before = await two[0].look(name);
    await two[0].look('() => webrtcBox.call.connection().restartIce()');
    await until('the restart', async () => (await two[0].look(name)) !== before);
    await Promise.all(two.map((seat) => seat.hearsAndSees()));
    assert.equal(await agree(two), first);

    await two[1].reload();
    await Promise.all(two.map((seat) => seat.hearsAndSees()));
    assert.notEqual(await agree(two, first), first);
  });
}

stage.scene('a reveal that does not fit is told plainly, aloud and for as long as it is so, and no pictures are shown', async () => {
  const [honest, liar] = [await stage.person('chromium', { size: { width: 390, height: 844 } }), await stage.person('firefox')];
  const url = stage.room();
  await honest.open(url);
  await honest.join();
  await honest.sees('waiting');
  await liar.open(url);
  await liar.look(`() => {
    const { send } = RTCDataChannel.prototype;
    RTCDataChannel.prototype.send = function (text) { send.call(this, String(text).replace(/^reveal .*/, 'reveal ' + '0'.repeat(64))); };
  }`);
  await liar.join();
  await until('the warning', () => honest.look(`() => document.getElementById('trust').dataset.state === 'mismatch'`));
  assert.equal(await honest.look(`() => document.getElementById('trustWord').textContent`), 'Not secure');
  assert.equal(await honest.look(`() => document.getElementById('trustCode').children.length`), 0);
  assert.match(await honest.look(`() => document.querySelector('#trustSaid[role=alert]').textContent`), /^Not secure: .*somebody may sit between you/);
  await until('all else to step back', () => honest.look(`() => document.body.dataset.chrome === 'away' && !document.getElementById('path').checkVisibility({ opacityProperty: true })`));
  const seen = `() => document.getElementById('trust').checkVisibility({ visibilityProperty: true, opacityProperty: true })
    && Number(getComputedStyle(document.querySelector('.top')).opacity) === 1`;
  assert.ok(await honest.look(seen));
  await honest.screenshot(path.join(stage.dir, 'mismatch-alone-390x844.png'));
  await honest.click('#trust');
  assert.match(await honest.look(`() => document.getElementById('trustHow').innerText`), /somebody may sit between you/);
  await honest.screenshot(path.join(stage.dir, 'mismatch-390x844.png'));
});

stage.scene('the panel draws lines that move, names them for who listens, and rests while it is closed', async () => {
  const [seat] = await stage.pair(['chromium', 'chromium'], stage.room());
  await seat.hearsAndSees();
  const drawn = () => seat.look(`() => [...document.querySelectorAll('#figures canvas')].map((each) => each.toDataURL()).join()`);
  const closed = await drawn();
  await seat.click('#path');
  const open = await until('lines', async () => { const now = await drawn(); return now !== closed && now; });
  await until('the next reading', async () => (await drawn()) !== open);
  const names = await seat.look(`() => [...document.querySelectorAll('#figures canvas')].map((each) => each.getAttribute('aria-label'))`);
  assert.equal(names.length, 5);
  for (const name of names) assert.match(name, /^.+, last minute: .+ to .+$/);
  const sharp = await seat.look(`() => { const c = document.querySelector('#figures canvas'); return c.width === Math.round(c.clientWidth * devicePixelRatio); }`);
  assert.ok(sharp);
  const facts = await seat.look(`() => document.getElementById('figures').textContent`);
  assert.match(facts, /\d+×\d+ · \w+/);
  assert.match(facts, /\d fps/);
  await seat.click('#btnNumbersClose');
  const rested = await drawn();
  const readings = '() => document.getElementById("remote").currentTime';
  const since = await seat.look(readings);
  await until('two more seconds of the call', async () => (await seat.look(readings)) > since + 2);
  assert.equal(await drawn(), rested);
  await seat.screenshot(path.join(stage.dir, 'call.png'));
});
