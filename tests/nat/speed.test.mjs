// How long the second person waits: from the click on join to the first remote frame decoded, across two homes and in
// one. (On one machine: tests/browser/speed.test.mjs.)

import { joinsInTime } from '../browser/lib/speed.mjs';
import { setWorldStage } from './world.mjs';

const stage = await setWorldStage('nat-speed');

for (const [words, kinds, home, way] of [
  ['through the relay', ['chromium', 'chromium'], 'b1', 'relay-udp'],
  ['through the relay', ['chromium', 'firefox'], 'b1'],
  ['directly', ['chromium', 'chromium'], 'a2', 'direct'],
]) {
  stage.scene(`the first picture comes soon after the click on join, ${words} (${kinds.join(' and ')})`, async () => {
    const two = [await stage.person(kinds[0], { home: 'a1' }), await stage.person(kinds[1], { home })];
    await joinsInTime(`${kinds.join(' and ')}, ${words}`, two, stage.room(), way);
  });
}
