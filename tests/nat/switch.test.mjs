// The network changes under a relayed call: a home gets another address or loses its interface and has another one,
// its translator gets another address, UDP is blocked, there is no network for half a minute. Picture and sound come
// back by themselves.

import assert from 'node:assert/strict';
import { figure } from '../browser/lib/figures.mjs';
import { until } from '../browser/lib/work.mjs';
import { on, runOn, setWorldStage } from './world.mjs';

const stage = await setWorldStage('nat-switch');

/** Does something to the network and gives the milliseconds until both see new frames again, after a gap; where the
 *  picture `mayGoOn`, because the browser had another way ready, there need not be one. */
async function backAfter(two, change, mayGoOn = false) {
  await Promise.all(two.map((seat) => seat.timeFrames()));
  const began = performance.now();
  await change();
  const stopped = until('the picture to stop', async () => (await Promise.all(two.map((seat) => seat.frameTimes()))).some(({ now }) => now > 700), mayGoOn ? 3000 : 10_000);
  if (!(await stopped.then(() => true, (error) => mayGoOn ? false : Promise.reject(error)))) {
    return Math.max(...(await Promise.all(two.map((seat) => seat.frameTimes()))).map(({ longest }) => longest));
  }
  await Promise.all(two.map((seat) => until('frames again', async () => (await seat.frameTimes()).now < 300, 60_000)));
  return performance.now() - began;
}

/** The same where the picture has stopped before: the milliseconds until both see new frames. */
async function backOnceOpen(two, change) {
  await Promise.all(two.map((seat) => seat.timeFrames()));
  const began = performance.now();
  await change();
  await Promise.all(two.map((seat) => until('frames again', async () => (await seat.frameTimes()).count > 2, 60_000)));
  return performance.now() - began;
}

async function relayed(kinds, homes) {
  const two = await stage.pair(kinds.map((kind, which) => [kind, { home: homes[which] }]), stage.room());
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
  return two;
}

for (const kinds of [['chromium', 'firefox'], ['firefox', 'chromium']]) {
  stage.scene(`${kinds[0]}'s home gets another address in a relayed call, and the picture is back`, async () => {
    const two = await relayed(kinds, ['a1', 'b1']);
    try {
      figure(`${kinds[0]}: address changed, media back`, await backAfter(two, () => runOn('a1', 'sh', '-c',
        'ip address del 10.1.0.2/24 dev eth0; ip address add 10.1.0.50/24 dev eth0; ip route replace default via 10.1.0.1')), 4000);
      await Promise.all(two.map((seat) => seat.hearsAndSees()));
    } finally {
      await runOn('a1', 'sh', '-c',
        'ip address del 10.1.0.50/24 dev eth0; ip address add 10.1.0.2/24 dev eth0; ip route replace default via 10.1.0.1');
    }
  });

  stage.scene(`${kinds[0]}'s Wi-Fi goes in a relayed call, mobile data takes over, and the picture is back`, async () => {
    const world = on('a1').at(-1).slice(0, -'-a1'.length);
    // The same card each time, or the router goes on writing to the one before for half a minute.
    await runOn('a1', 'sh', '-c', `ip link add eth1 address 02:00:00:00:02:90 type veth peer name mobile netns ${world}-rb; ip link set eth1 up`);
    await runOn('rb', 'sh', '-c', 'ip link set mobile master lan up');
    await runOn('a1', 'sh', '-c', 'ip address add 10.2.0.90/24 dev eth1; ip route add default via 10.2.0.1 metric 100');
    try {
      const two = await relayed(kinds, ['a1', 'b1']);
      figure(`${kinds[0]}: Wi-Fi to mobile, media back`, await backAfter(two, () => runOn('a1', 'ip', 'link', 'set', 'eth0', 'down'), true), 4000);
      await Promise.all(two.map((seat) => seat.hearsAndSees()));
    } finally {
      await runOn('a1', 'sh', '-c', 'ip link del eth1; ip link set eth0 up; ip route replace default via 10.1.0.1');
    }
  });

  stage.scene(`UDP is blocked under a relayed call of ${kinds[0]}, and it goes on over TCP or TLS`, async (context) => {
    if (!stage.box.streams) return context.skip('this box relays for UDP clients only');
    const two = await relayed(kinds, ['a2', 'b1']);
    try {
      // Firefox now and then goes by TCP from the first, and then has nothing to lose.
      const way = await two[0].settlesOnItsRelay();
      figure(`${kinds[0]}: UDP blocked under ${way}, media back`, await backAfter(two, () => runOn('ra', 'nft',
        'table inet blocked { chain forward { type filter hook forward priority -1; ip saddr 10.1.0.3 meta l4proto udp drop; }; }'), way !== 'relay-udp'), 10_000);
      await Promise.all(two.map((seat) => seat.hearsAndSees()));
      assert.match(await until('the path over a stream', async () => /relay-t/.test(await two[0].pathTaken()) && two[0].pathTaken()), /^relay-(tcp|tls)$/);
    } finally {
      await runOn('ra', 'nft', 'delete', 'table', 'inet', 'blocked');
    }
  });
}

for (const kind of ['chromium', 'firefox']) {
  stage.scene(`a translator forgets its mappings under a relayed call of ${kind}, and the picture is back`, async () => {
    const two = await relayed([kind, 'chromium'], ['a1', 'b1']);
    const move = (from, to) => runOn('ra', 'sh', '-c', `ip address del ${from}/24 dev wan; ip address add ${to}/24 dev wan; ip route replace default via 45.0.1.1`);
    try {
      figure(`${kind}: translator changed its address, media back`, await backAfter(two, () => move('45.0.1.2', '45.0.1.3')), 4000);
      await Promise.all(two.map((seat) => seat.hearsAndSees()));
    } finally {
      await move('45.0.1.3', '45.0.1.2');
    }
  });
}

/** Firefox gives up the keys of a connection with its ways, and no restart brings them back. */
const gaveUp = (seat) => until('Firefox to give the connection up', () => seat.look(`() => ['failed', 'closed'].includes(__seen.connections[0].connectionState)`), 60_000);

for (const kinds of [['chromium', 'firefox'], ['firefox', 'chromium']]) {
  stage.scene(`${kinds[0]}'s home has no network until a connection is given up, and the picture is back`, async () => {
    const two = await relayed(kinds, ['a1', 'b1']);
    const open = () => runOn('ra', 'nft', 'delete', 'table', 'inet', 'blocked');
    await runOn('ra', 'nft', 'table inet blocked { chain forward { type filter hook forward priority -1; ip saddr 10.1.0.2 drop; ip daddr 10.1.0.2 drop; }; }');
    try {
      await gaveUp(two[kinds.indexOf('firefox')]);
      figure(`${kinds[0]}: no network for half a minute, media back`, await backOnceOpen(two, open), 10_000);
      await Promise.all(two.map((seat) => seat.hearsAndSees()));
    } finally {
      // It is open already, unless the scene failed before.
      await open().catch(() => {});
    }
  });
}
