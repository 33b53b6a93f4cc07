// Nobody is kept out for want of a camera: refused or missing devices get a sentence, and the call works
// one way.

import assert from 'node:assert/strict';
import path from 'node:path';
import { setStage } from './lib/stage.mjs';
import { until } from './lib/work.mjs';

const stage = await setStage('devices');

for (const [kind, devices] of [['chromium', 'refused'], ['firefox', 'refused'], ['chromium', 'none']]) {
  stage.scene(`${kind} with camera and microphone ${devices === 'none' ? 'missing' : 'refused'} says so and still joins`, async (context) => {
    const url = stage.room();
    const host = await stage.person('chromium');
    await host.open(url);
    await host.join();
    await host.sees('waiting');

    const guest = await stage.person(kind, { devices });
    await guest.open(url);
    await guest.sees('preview');
    const attached = await guest.look('async () => (await navigator.mediaDevices.enumerateDevices()).filter((one) => one.kind.endsWith("input")).length');
    if (devices === 'none' && attached > 0) return context.skip('this machine has a real camera or microphone');
    const sentence = await until('a sentence about the devices', () => guest.look('() => document.getElementById("error").textContent.trim()'), 15_000);
    assert.match(sentence, /camera|microphone/i);
    await guest.screenshot(path.join(stage.dir, `${kind}-${devices}.png`));

    await guest.join();
    await guest.hearsAndSees();
    await host.sees('connected');
  });
}
