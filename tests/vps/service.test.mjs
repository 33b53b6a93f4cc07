// The box as a service: a real systemd starts it from the files in config/, within its sandbox, reloads,
// watches and stops it, and opens ports for it.

import assert from 'node:assert/strict';
import path from 'node:path';
import test, { after } from 'node:test';
import { makeAuthority } from '../browser/lib/authority.mjs';
import { until, workDir } from '../browser/lib/work.mjs';
import { exchangeWhole, reflexiveAddress } from '../nat/turnutils.mjs';
import { on, settle } from '../nat/world.mjs';
import { putBox } from './box.mjs';
import { bootHost } from './host.mjs';

const BOX = '45.0.0.10';

const dir = await workDir('vps-service');
const authority = await makeAuthority(path.join(dir, 'authority'));
const vps = await bootHost({ dir: path.join(dir, 'host'), inside: on('box') });
after(() => vps.end());
const box = await putBox(vps, authority);

/** Somebody at home who asks for a seat, and is gone at the end of the scene. */
async function guest(scene, room) {
  const someone = await settle('a1', '../vps/guest.mjs', 'makeGuest', { ca: authority.ca, room });
  scene.after(() => someone.close());
  return someone;
}

/** Two clients of coturn's talk through the relay, over UDP and over TCP. */
async function talk() {
  await Promise.all([[], ['-t']].map((way) => exchangeWhole('pub', BOX, box.credentials, '-p', '3478', '-y', ...way)));
}

/** Whoever tries the relay leaves allocations behind, for which a box would wait. */
const HASTE = 'drain-timeout = 1';

await box.settings(HASTE);

test('the unit starts the box within its sandbox, and a visitor gets the page', async () => {
  await box.ctl('start');
  // Type=notify: what has started serves.
  assert.equal(await box.visit(), '200');
  const status = await box.status();
  assert.notEqual(status('Uid'), '0');
  assert.equal(Number(`0x${status('CapEff')}`), 1 << 10, 'CAP_NET_BIND_SERVICE and no other');
  assert.deepEqual([status('NoNewPrivs'), status('Seccomp')], ['1', '2']);
});

test('within the sandbox it seats and relays, over UDP and TCP', async (scene) => {
  await guest(scene, 'kitchen');
  await until('systemd to know of it', async () => (await box.property('StatusText')).startsWith('rooms: 1, seats: 1'));
  await talk();
});

test('a reload takes a host key and the log level, and nobody is disturbed', async (scene) => {
  const before = await box.property('MainPID');
  const someone = await guest(scene, 'kitchen');
  await box.settings('host-key = "open sesame"', 'log = "debug"', 'realm = "elsewhere"', HASTE);
  await box.ctl('reload');
  assert.equal(await box.property('ActiveState'), 'active');
  await box.says('host-key, log');
  await box.says('taken only at a restart');
  const stranger = await guest(scene, 'cellar');
  assert.equal(await stranger.answer(), 'key-required');
  await stranger.close();
  assert.ok(await someone.isThere());
  assert.equal(await box.property('MainPID'), before);

  await box.settings('min-port = "many"');
  await box.ctl('reload');
  await box.says('nothing is read anew: min-port');
  assert.ok(await someone.isThere());
  await box.settings(HASTE);
  await box.ctl('reload');
});

test('a box that stands still is replaced by the watchdog, and one that is only paused is not', async () => {
  await box.override('WatchdogSec=6s');
  await box.ctl('restart');
  const first = await box.property('MainPID');
  await vps.run('kill', '-STOP', first);
  await new Promise((resolve) => { setTimeout(resolve, 3000); });
  await vps.run('kill', '-CONT', first);
  await until('the box to answer', async () => (await box.visit()) === '200');
  assert.equal(await box.property('MainPID'), first);

  await vps.run('kill', '-STOP', first);
  await box.becomes('NRestarts', '1');
  await until('another box to answer', async () => (await box.visit()) === '200', 60_000);
  assert.notEqual(await box.property('MainPID'), first);
});

test('a call may end by itself, longer than TimeoutStopSec says, and a second SIGTERM ends it at once', async (scene) => {
  await box.settings('drain-timeout = 600');
  await box.override('TimeoutStopSec=4s');
  await box.ctl('restart');
  const someone = await guest(scene, 'kitchen');
  await box.ctl('stop', '--no-block');
  assert.equal((await someone.hears('error')).code, 'shutting-down');
  await new Promise((resolve) => { setTimeout(resolve, 9000); });
  assert.equal(await box.property('ActiveState'), 'deactivating');
  assert.ok(await someone.isThere());

  await box.ctl('kill', '--signal=TERM');
  await box.becomes('ActiveState', 'inactive');
  assert.equal(await box.property('Result'), 'success');
});

test('with the socket unit there is no capability left, and whoever calls while it restarts waits', async () => {
  await box.settings(HASTE);
  await box.override();
  await box.putSocket();
  await vps.run('systemctl', 'start', 'webrtc-box.socket');
  // It is the visit that starts the box.
  assert.equal(await box.visit(), '200');
  assert.equal(await box.visit('http://box.test/'), '308');
  const status = await box.status();
  assert.equal(Number(`0x${status('CapEff')}`) + Number(`0x${status('CapBnd')}`), 0);
  assert.notEqual(await reflexiveAddress('a1', BOX), undefined);
  await talk();

  const before = await box.property('MainPID');
  let over = false;
  const restarted = box.ctl('restart').finally(() => { over = true; });
  const answers = [];
  do answers.push(await box.visit('https://box.test/')); while (!over);
  await restarted;
  assert.deepEqual([...new Set(answers)], ['200'], answers.join(' '));
  assert.notEqual(await box.property('MainPID'), before);
});
