// The relay as a general one (`relay-scope = public`): strangers on public addresses are reached, private
// ones are not, and calls go on as before.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after } from 'node:test';
import { on, settle, setWorldStage } from './world.mjs';
import { asksForBothFamilies, attempt, exchangesEverywhere, exchangeWhole } from './turnutils.mjs';
import { run, until } from '../browser/lib/work.mjs';

const BOX = '45.0.0.10';
const stage = await setWorldStage('nat-public', ['--relay-scope', 'public']);

// The echoing stranger, on the host that stands for the rest of the internet.
const [program, ...args] = [...on('pub'), 'turnutils_peer', '-L', '45.0.0.1', '-L', '2a05:d000::1', '-p', '3480'];
const peer = spawn(program, args, { stdio: 'ignore' });
after(() => peer.kill());

for (const [words, flags] of [['on channels', []], ['with Send indications', ['-s']]]) {
  stage.scene(`a stranger's echo comes back whole ${words}`, async () => {
    await exchangeWhole('a1', BOX, stage.box.credentials, '-p', '3478', '-e', '45.0.0.1', '-r', '3480', ...flags);
  });
}

for (const [family, address, asked] of [['IPv4', '45.0.0.1', '-X'], ['IPv6', '2a05:d000::1', '-x']]) {
  stage.scene(`a stranger's echo comes back whole by ${family} to clients by UDP, TCP and TLS`, async () => {
    await exchangesEverywhere('a1', BOX, stage.box.credentials, stage.authority.ca, '-e', address, asked);
  });

  stage.scene(`a stranger's echo comes back whole by the ${family} half of a double allocation`, async (context) => {
    if (!(await asksForBothFamilies('a1', BOX, await stage.box.credentials()))) {
      return context.skip('this turnutils_uclient asks for the second address in the words of a draft');
    }
    await exchangesEverywhere('a1', BOX, stage.box.credentials, stage.authority.ca, '-e', address, '-Z');
  });
}

stage.scene('strangers of both families answer on one double allocation', async () => {
  const client = await settle('a1', './turn.mjs', 'makeTurnClient', { address: BOX, port: 3478 }, await stage.box.credentials());
  try {
    await client.allocateBoth();
    await client.bind(0x4004, { address: '45.0.0.1', port: 3480 });
    await client.bind(0x4006, { address: '2a05:d000::1', port: 3480 });
    const rounds = [0x4004, 0x4006].map((channel) => client.round(channel, { count: 40, patience: 3000 }));
    assert.deepEqual(await Promise.all(rounds), [40, 40]);
  } finally {
    await client.close();
  }
});

for (const [words, address, flags, reason] of [
  ['a private address behind the relay', '10.2.0.2', [], /channel bind: error 403/],
  ['a private address, asked for with a permission,', '10.2.0.2', ['-s'], /create permission error 403/],
  ['a private IPv6 address', 'fd00:c::2', [], /channel bind: error 403/],
  ['the relay\'s own address', BOX, ['-r', '443'], /channel bind: error 403/],
  ['the relay\'s own loopback', '127.0.0.1', [], /channel bind: error 403/],
]) {
  stage.scene(`${words} is refused`, async () => {
    const { code, said } = await attempt('a1', BOX, await stage.box.credentials(), '-p', '3478', '-e', address, ...flags);
    assert.equal(code, 255, said);
    assert.match(said, reason);
    assert.doesNotMatch(said, /tot_recv_msgs=[1-9]/);
  });
}

stage.scene('an address that the box gets while it runs is its own from then on', async () => {
  const credentials = await stage.box.credentials();
  const refused = async () => {
    const { said } = await attempt('a1', BOX, credentials, '-p', '3478', '-e', '45.0.0.77', '-c', '-n', '1', '-m', '1');
    return /error 403/.test(said);
  };
  assert.equal(await refused(), false, 'so far it is nobody of ours');
  const [program, ...args] = [...on('box'), 'ip', 'address', 'add', '45.0.0.77/32', 'dev', 'wan'];
  await run(program, args);
  await until('the new address to be refused', refused, 60_000);
});

stage.scene('two homes talk through the general relay too', async () => {
  const two = await stage.pair([['chromium', { home: 'a1' }], ['firefox', { home: 'b1' }]], stage.room());
  for (const seat of two) await seat.hearsAndSees();
  await two[0].settlesOnItsRelay();
});
