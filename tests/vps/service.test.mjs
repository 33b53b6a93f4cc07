// The server as a systemd service, from the files in config/: started in its sandbox, reloaded, supervised by the watchdog,
// stopped, and started by a socket unit.

import assert from 'node:assert/strict';
import path from 'node:path';
import test, { after } from 'node:test';
import { createCertificateAuthority } from '../browser/lib/certificate-authority.mjs';
import { delay, waitFor } from '../browser/lib/wait.mjs';
import { createWorkDir } from '../browser/lib/workspace.mjs';
import { expectLosslessExchange, reflexiveAddress } from '../nat/coturn-client.mjs';
import { on, spawnOn } from '../nat/network.mjs';
import { installService } from './service-install.mjs';
import { bootHost } from './systemd-host.mjs';

const SERVER = '45.0.0.10';

const dir = await createWorkDir('vps-service');
const authority = await createCertificateAuthority(path.join(dir, 'authority'));
const vps = await bootHost({ dir: path.join(dir, 'host'), inNamespace: on('server') });
after(() => vps.shutDown());
const service = await installService(vps, authority);

/** Joins a room from host a1; the client is closed at the end of the test. */
async function joinRoom(context, room) {
  const client = await spawnOn('a1', '../vps/room-client.mjs', 'createRoomClient', { ca: authority.ca, room });
  context.after(() => client.close());
  return client;
}

/** Two of coturn's clients exchange messages through the relay, over UDP and over TCP. */
async function expectRelay() {
  await Promise.all([[], ['-t']].map((transport) => expectLosslessExchange('pub', SERVER, service.credentials, '-p', '3478', '-y', ...transport)));
}

/** coturn's clients do not delete their allocations, which would delay a stop. */
const SHORT_DRAIN = 'drain-timeout = 1';

await service.writeSettings(SHORT_DRAIN);

test('the unit starts the server in its sandbox, and the page is served', async () => {
  await service.systemctl('start');
  // With Type=notify a started service is ready.
  assert.equal(await service.httpStatus(), '200');
  const status = await service.processStatus();
  assert.notEqual(status('Uid'), '0');
  assert.equal(Number(`0x${status('CapEff')}`), 1 << 10, 'CAP_NET_BIND_SERVICE only');
  assert.deepEqual([status('NoNewPrivs'), status('Seccomp')], ['1', '2']);
});

test('signaling and relay work in the sandbox, over UDP and TCP', async (context) => {
  await joinRoom(context, 'kitchen');
  await waitFor('the status in systemd', async () => (await service.property('StatusText')).startsWith('rooms: 1, seats: 1'));
  await expectRelay();
});

test('a reload applies host key and log level and disconnects no participant', async (context) => {
  const pid = await service.property('MainPID');
  const participant = await joinRoom(context, 'kitchen');
  await service.writeSettings('host-key = "open sesame"', 'log = "debug"', 'realm = "elsewhere"', SHORT_DRAIN);
  await service.systemctl('reload');
  assert.equal(await service.property('ActiveState'), 'active');
  await service.waitForLog('host-key, log');
  await service.waitForLog('changed settings need a restart');
  const withoutKey = await joinRoom(context, 'cellar');
  assert.equal(await withoutKey.joinResult(), 'key-required');
  await withoutKey.close();
  assert.ok(await participant.isConnected());
  assert.equal(await service.property('MainPID'), pid);

  await service.writeSettings('min-port = "many"');
  await service.systemctl('reload');
  await service.waitForLog('settings not reloaded: min-port');
  assert.ok(await participant.isConnected());
  await service.writeSettings(SHORT_DRAIN);
  await service.systemctl('reload');
});

test('the watchdog restarts a stalled server, but not after a short pause', async () => {
  await service.writeOverride('WatchdogSec=6s');
  await service.systemctl('restart');
  const pid = await service.property('MainPID');
  await vps.run('kill', '-STOP', pid);
  await delay(3000);
  await vps.run('kill', '-CONT', pid);
  await waitFor('the server to answer', async () => (await service.httpStatus()) === '200');
  assert.equal(await service.property('MainPID'), pid);

  await vps.run('kill', '-STOP', pid);
  await service.waitForProperty('NRestarts', '1');
  await waitFor('another process to answer', async () => (await service.httpStatus()) === '200', 60_000);
  assert.notEqual(await service.property('MainPID'), pid);
});

test('a stop waits for a call beyond TimeoutStopSec, unless it is repeated', async (context) => {
  await service.writeSettings('drain-timeout = 600');
  await service.writeOverride('TimeoutStopSec=4s');
  await service.systemctl('restart');
  const participant = await joinRoom(context, 'kitchen');
  await service.systemctl('stop', '--no-block');
  assert.equal((await participant.waitForMessage('error')).code, 'shutting-down');
  // Five seconds beyond TimeoutStopSec it must still run.
  await delay(9000);
  assert.equal(await service.property('ActiveState'), 'deactivating');
  assert.ok(await participant.isConnected());

  await service.systemctl('kill', '--signal=TERM');
  await service.waitForProperty('ActiveState', 'inactive');
  assert.equal(await service.property('Result'), 'success');
});

test('with the socket unit it has no capability; a restart fails no request', async () => {
  await service.writeSettings(SHORT_DRAIN);
  await service.writeOverride();
  await service.installSocketUnit();
  await vps.run('systemctl', 'start', 'webrtc-box.socket');
  // The first request starts the server.
  assert.equal(await service.httpStatus(), '200');
  assert.equal(await service.httpStatus('http://box.test/'), '308');
  const status = await service.processStatus();
  assert.equal(Number(`0x${status('CapEff')}`) + Number(`0x${status('CapBnd')}`), 0);
  assert.notEqual(await reflexiveAddress('a1', SERVER), undefined);
  await expectRelay();

  const pid = await service.property('MainPID');
  let restarted = false;
  const restart = service.systemctl('restart').finally(() => { restarted = true; });
  const statuses = [];
  do statuses.push(await service.httpStatus('https://box.test/')); while (!restarted);
  await restart;
  assert.deepEqual([...new Set(statuses)], ['200'], statuses.join(' '));
  assert.notEqual(await service.property('MainPID'), pid);
});
