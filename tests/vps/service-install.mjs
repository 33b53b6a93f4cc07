// Installs the server as a systemd service on a host by hand, from the files in config/, and controls it.

import path from 'node:path';
import { binary } from '../browser/lib/server.mjs';
import { waitFor } from '../browser/lib/wait.mjs';
import { root } from '../browser/lib/workspace.mjs';
import { runOn } from '../nat/network.mjs';

const SERVICE = 'webrtc-box.service';
const UNITS = '/etc/systemd/system';
const SETTINGS = '/etc/webrtc-box/webrtc-box.toml';
const REQUIRED_SETTINGS = ['domain = "box.test"', 'cert = "/etc/webrtc-box/cert.pem"', 'key = "/etc/webrtc-box/key.pem"'];

/** Installs the service as box.test on `vps`, without starting it. */
export async function installService(vps, authority) {
  const { cert, key } = await authority.issue('box.test');
  /** Writes a file on the host. */
  const write = (file, text) => vps.run('sh', '-c', 'mkdir -p "$(dirname "$0")" && printf %s "$1" >"$0"', file, text);
  const copyConfig = (name, to) => vps.copy(path.join(root, 'config', name), to);
  const property = async (name) => (await vps.run('systemctl', 'show', '--value', '-p', name, SERVICE)).stdout.trim();
  const writeSettings = (...lines) => write(SETTINGS, [...REQUIRED_SETTINGS, ...lines, ''].join('\n'));

  await vps.copy(binary, '/usr/local/bin/webrtc-box');
  await copyConfig('webrtc-box.service', `${UNITS}/${SERVICE}`);
  await copyConfig('webrtc-box.sysusers', '/usr/lib/sysusers.d/webrtc-box.conf');
  await vps.copy(cert, '/etc/webrtc-box/cert.pem');
  await vps.copy(key, '/etc/webrtc-box/key.pem');
  await writeSettings();
  await vps.run('chmod', '755', '/usr/local/bin/webrtc-box');
  await vps.run('systemd-sysusers', 'webrtc-box.conf');
  await vps.run('chgrp', 'webrtc-box', '/etc/webrtc-box/key.pem');
  await vps.run('chmod', '640', '/etc/webrtc-box/key.pem');
  await vps.run('systemctl', 'daemon-reload');

  return {
    /** A property of the unit, by systemd's name. */
    property,
    /** Replaces all settings other than domain and certificate. */
    writeSettings,
    /** `systemctl ACTION`; an error has the service's journal. */
    async systemctl(action, ...args) {
      await vps.run('systemctl', action, ...args, SERVICE).catch(async (error) => {
        throw new Error(`${error.message}\n${await vps.journal(SERVICE)}`);
      });
    },
    /** Replaces an administrator's override of the unit. */
    async writeOverride(...lines) {
      await write(`${UNITS}/${SERVICE}.d/override.conf`, ['[Service]', ...lines, ''].join('\n'));
      await vps.run('systemctl', 'daemon-reload');
    },
    /** Installs the socket unit and its drop-in. */
    async installSocketUnit() {
      await copyConfig('webrtc-box.socket', `${UNITS}/webrtc-box.socket`);
      await copyConfig('webrtc-box.service.d/socket.conf', `${UNITS}/${SERVICE}.d/socket.conf`);
      await vps.run('systemctl', 'daemon-reload');
    },
    waitForLog: (text) => waitFor(`"${text}" in the journal`, async () => (await vps.journal(SERVICE)).includes(text)),
    waitForProperty: (name, value) => waitFor(`${name} to be ${value}`, async () => (await property(name)) === value, 60_000),
    /** A function that returns a field of the process's /proc/PID/status: `Uid`, `CapEff`, … */
    async processStatus() {
      const { stdout } = await vps.run('cat', `/proc/${await property('MainPID')}/status`);
      return (name) => new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(stdout)[1];
    },
    /** TURN credentials, by `webrtc-box credentials` run as the service's user. */
    async credentials() {
      const command = ['webrtc-box', 'credentials', '--state-dir', '/var/lib/webrtc-box'];
      return JSON.parse((await vps.run('setpriv', '--reuid=webrtc-box', '--regid=webrtc-box', '--clear-groups', ...command)).stdout);
    },
    /** The HTTP status that a client on host a1 gets; 000 without an answer. */
    async httpStatus(url = 'https://box.test/healthz') {
      const args = ['-s', '-o', '/dev/null', '-m', '20', '-w', '%{http_code}', '--cacert', authority.ca, url];
      const { stdout } = await runOn('a1', 'curl', ...args).catch((error) => error);
      return stdout;
    },
  };
}
