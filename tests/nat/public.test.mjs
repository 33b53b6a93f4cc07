// The relay as a general one (`relay-scope = public`): strangers on public addresses are reached, private
// ones are not, and calls go on as before.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after } from 'node:test';
import { on, setWorldStage } from './world.mjs';
import { exchange } from './turnutils.mjs';
import { run, until } from '../browser/lib/work.mjs';

const stage = await setWorldStage('nat-public', ['--relay-scope', 'public']);

// The echoing stranger, on the host that stands for the rest of the internet.
const [program, ...args] = [...on('pub'), 'turnutils_peer', '-L', '45.0.0.1', '-p', '3480'];
const peer = spawn(program, args, { stdio: 'ignore' });
after(() => peer.kill());

for (const [words, flags] of [['on channels', []], ['with Send indications', ['-s']]]) {
  stage.scene(`a stranger's echo comes back whole ${words}`, async () => {
    const { lost, said } = await exchange('a1', '45.0.0.10', await stage.box.credentials(), '-p', '3478', '-e', '45.0.0.1', '-r', '3480', ...flags);
    assert.equal(lost, 0, said);
  });
}

stage.scene('a private address behind the relay is refused', async () => {
  const credentials = await stage.box.credentials();
  await assert.rejects(exchange('a1', '45.0.0.10', credentials, '-p', '3478', '-e', '10.2.0.2', '-r', '3480'), /403|Forbidden/i);
});

stage.scene('an address that the box gets while it runs is its own from then on', async () => {
  const credentials = await stage.box.credentials();
  const refused = () => exchange('a1', '45.0.0.10', credentials, '-p', '3478', '-e', '45.0.0.77', '-c', '-n', '1', '-m', '1')
    .then(() => false, (error) => /403|Forbidden/i.test(error.message));
  assert.equal(await refused(), false, 'so far it is nobody of ours');
  const [program, ...args] = [...on('box'), 'ip', 'address', 'add', '45.0.0.77/32', 'dev', 'wan'];
  await run(program, args);
  await until('the new address to be refused', refused, 60_000);
});

stage.scene('two homes talk through the general relay too', async () => {
  const two = await stage.pair([['chromium', { home: 'a1' }], ['firefox', { home: 'b1' }]], stage.room());
  for (const seat of two) await seat.hearsAndSees();
  await two[0].settles('relay-udp');
});
