// A stranger floods the box while a call relays: the call does not suffer. What was sent, lost, and dropped
// by the kernel is printed; the flood's rate is the machine's, the loss is judged.

import assert from 'node:assert/strict';
import { runOn, settle, setWorldStage } from './world.mjs';

const stage = await setWorldStage('nat-flood');

const BOX = { address: '45.0.0.10', port: 3478 };
/** A call with picture and sound: packets a second, each way. */
const CALL = 300;
const FLOOD = 50_000;
const LENGTH = 12_000;

/** Where other programs take the processor from the box for a moment, that is not the flood's doing. */
const TRIES = 2;

stage.scene('a call loses less than one packet in a hundred under a flood of 50,000 a second', async (context) => {
  const flood = await settle('pub', './flood.mjs', 'makeFlood', BOX);
  const talk = await settle('a1', './talk.mjs', 'makeTalk', BOX, await stage.box.credentials());
  try {
    let share = 1;
    for (let tries = 0; tries < TRIES && share >= 0.01; tries += 1) {
      share = await lossUnder(flood, talk, context);
    }
    assert.ok(share < 0.01, `${(100 * share).toFixed(2)} % lost`);
  } finally {
    await flood.close();
    await talk.close();
  }
});

/** The share of the call's packets that is lost while the flood pours. */
async function lossUnder(flood, talk, context) {
  const before = await counted();
  // A second more than the call, whose last packets count too.
  const pouring = flood.pour(FLOOD, LENGTH + 1000);
  const { sent, lost } = await talk.run(CALL, LENGTH);
  const rate = await pouring;
  const after = await counted();
  const grown = Object.entries(after).map(([name, count]) => `${name} +${count - before[name]}`);
  context.diagnostic(`flood ${rate}/s; call ${lost} of ${sent} lost; on the box ${grown.join(', ')}`);
  assert.ok(rate > FLOOD / 2, `this machine floods with ${rate} packets/s only`);
  return lost / sent;
}

/** What the kernel says of the box's UDP: taken in, thrown away for a full buffer, sent. */
async function counted() {
  const names = ['UdpInDatagrams', 'UdpRcvbufErrors', 'UdpNoPorts', 'UdpOutDatagrams'];
  const { stdout } = await runOn('box', 'nstat', '-asz', ...names);
  return Object.fromEntries(names.map((name) => [name, Number(new RegExp(`${name} +(\\d+)`).exec(stdout)[1])]));
}
