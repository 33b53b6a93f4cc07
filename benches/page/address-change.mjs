// Measures when Chromium notices that its host has another address, on a page of its own: the events that the page gets, and
// the first new connection that gathers the new address. (How to run it, and what it measures: README.md.)

import { waitFor } from '../../tests/browser/lib/wait.mjs';
import { createNetworkHarness, runOn } from '../../tests/nat/network.mjs';

const ROUNDS = Number(process.env.ROUNDS ?? 3);
const ADDRESSES = ['10.1.0.2', '10.1.0.50'];

/** Runs in the page: with access to the camera, browsers name the addresses in their candidates. */
const WATCH = `${async function watch() {
  globalThis.__stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  const seen = globalThis.__seen = {};
  const see = (name) => { seen[name] ??= Date.now(); };
  for (const name of ['online', 'offline']) addEventListener(name, () => see(name));
  navigator.connection?.addEventListener('change', () => see('navigator.connection change'));
  /** A new connection ten times a second: what it gathers is what the browser knows now. */
  setInterval(async () => {
    const connection = new RTCPeerConnection();
    connection.createDataChannel('address');
    connection.onicecandidate = ({ candidate }) => { if (candidate?.address) see(candidate.address); };
    await connection.setLocalDescription();
    setTimeout(() => connection.close(), 1000);
  }, 100);
}}`;

const harness = await createNetworkHarness('page-address-change');

harness.scenario('Chromium notices another address', async () => {
  const participant = await harness.participant('chromium', { host: 'a1' });
  await participant.open(`${harness.server.origin}/no-such-page`);
  await participant.evaluate(`() => (${WATCH})()`);
  for (let round = 0; round < ROUNDS; round += 1) {
    const [from, to] = round % 2 ? ADDRESSES.toReversed() : ADDRESSES;
    await participant.waitForCondition('the first address', `__seen['${from}'] > 0`);
    await participant.evaluate(`() => { for (const name of Object.keys(__seen)) delete __seen[name]; }`);
    const changedAt = Date.now();
    await changeAddress(from, to);
    const seen = await waitFor('the new address', async () => {
      const now = await participant.evaluate('() => __seen');
      return to in now && now;
    }, 20_000);
    const events = Object.entries(seen).filter(([name]) => name !== from).map(([name, at]) => `${name} ${at - changedAt} ms`);
    console.log(`measurement: address ${from} to ${to}: ${events.join(', ')}`);
  }
});

function changeAddress(from, to) {
  return runOn('a1', 'sh', '-c', `ip address del ${from}/24 dev eth0; ip address replace ${to}/24 dev eth0; ip route replace default via 10.1.0.1`);
}
