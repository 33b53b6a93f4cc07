// How long the second person waits: from the click on join to the first remote frame decoded, on one machine with the
// relay forced.

import { joinsInTime } from './lib/speed.mjs';
import { setStage } from './lib/stage.mjs';

const stage = await setStage('speed');

for (const kinds of [['chromium', 'chromium'], ['chromium', 'firefox'], ['firefox', 'chromium']]) {
  stage.scene(`the first picture comes soon after the click on join (${kinds.join(' and ')})`, async () => {
    const two = await Promise.all(kinds.map((kind) => stage.person(kind)));
    await joinsInTime(`${kinds.join(' and ')}, relay forced`, two, stage.room('?relay=1'));
  });
}
