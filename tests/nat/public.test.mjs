// The relay as a general one (`relay-scope = public`): strangers on public addresses are reached, private
// ones are not, and calls go on as before.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after } from 'node:test';
import { on, setWorldStage } from './world.mjs';
import { exchange } from './turnutils.mjs';

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

stage.scene('two homes talk through the general relay too', async () => {
  const two = await stage.pair([['chromium', { home: 'a1' }], ['firefox', { home: 'b1' }]], stage.room());
  for (const seat of two) await seat.hearsAndSees();
  await two[0].settles('relay-udp');
});
