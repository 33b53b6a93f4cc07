// The box on a host under systemd, put there by hand from the files in config/, and what can be asked of it.

import path from 'node:path';
import { binary } from '../browser/lib/box.mjs';
import { root, until } from '../browser/lib/work.mjs';
import { runOn } from '../nat/world.mjs';

const SERVICE = 'webrtc-box.service';
const UNITS = '/etc/systemd/system';
const SETTINGS = '/etc/webrtc-box/webrtc-box.toml';
const DOMAIN = ['domain = "box.test"', 'cert = "/etc/webrtc-box/cert.pem"', 'key = "/etc/webrtc-box/key.pem"'];

/** Installs the box as box.test, not started yet. */
export async function putBox(vps, authority) {
  const { cert, key } = await authority.issue('box.test');
  /** Writes a text to a file of the host. */
  const write = (file, text) => vps.run('sh', '-c', 'mkdir -p "$(dirname "$0")" && printf %s "$1" >"$0"', file, text);
  const bring = (name, to) => vps.bring(path.join(root, 'config', name), to);
  const property = async (name) => (await vps.run('systemctl', 'show', '--value', '-p', name, SERVICE)).stdout.trim();
  const settings = (...lines) => write(SETTINGS, [...DOMAIN, ...lines, ''].join('\n'));

  await vps.bring(binary, '/usr/local/bin/webrtc-box');
  await bring('webrtc-box.service', `${UNITS}/${SERVICE}`);
  await bring('webrtc-box.sysusers', '/usr/lib/sysusers.d/webrtc-box.conf');
  await vps.bring(cert, '/etc/webrtc-box/cert.pem');
  await vps.bring(key, '/etc/webrtc-box/key.pem');
  await settings();
  await vps.run('chmod', '755', '/usr/local/bin/webrtc-box');
  await vps.run('systemd-sysusers', 'webrtc-box.conf');
  await vps.run('chgrp', 'webrtc-box', '/etc/webrtc-box/key.pem');
  await vps.run('chmod', '640', '/etc/webrtc-box/key.pem');
  await vps.run('systemctl', 'daemon-reload');

  return {
    property,
    /** The settings from now on, besides name and certificate. */
    settings,
    /** `systemctl DEED`; a failure says what the box said. */
    async ctl(deed, ...words) {
      await vps.run('systemctl', deed, ...words, SERVICE).catch(async (error) => {
        throw new Error(`${error.message}\n${await vps.journal(SERVICE)}`);
      });
    },
    /** An administrator's override of the unit. */
    async override(...lines) {
      await write(`${UNITS}/${SERVICE}.d/override.conf`, ['[Service]', ...lines, ''].join('\n'));
      await vps.run('systemctl', 'daemon-reload');
    },
    /** The socket unit and the drop-in that goes with it. */
    async putSocket() {
      await bring('webrtc-box.socket', `${UNITS}/webrtc-box.socket`);
      await bring('webrtc-box.service.d/socket.conf', `${UNITS}/${SERVICE}.d/socket.conf`);
      await vps.run('systemctl', 'daemon-reload');
    },
    journal: () => vps.journal(SERVICE),
    /** Waits until its log says this. */
    says: (what) => until(`the log to say ${what}`, async () => (await vps.journal(SERVICE)).includes(what)),
    /** Waits until systemd says this of it. */
    becomes: (name, value) => until(`${name} to be ${value}`, async () => (await property(name)) === value, 60_000),
    /** What the kernel says of its process: `Uid`, `CapEff`, … */
    async status() {
      const { stdout } = await vps.run('cat', `/proc/${await property('MainPID')}/status`);
      return (name) => new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(stdout)[1];
    },
    /** A TURN credential as a tool of the box's own. */
    async credentials() {
      const words = ['webrtc-box', 'credentials', '--state-dir', '/var/lib/webrtc-box'];
      return JSON.parse((await vps.run('setpriv', '--reuid=webrtc-box', '--regid=webrtc-box', '--clear-groups', ...words)).stdout);
    },
    /** What a visitor at home gets, as the status code; 000 where nobody answers. */
    async visit(url = 'https://box.test/healthz') {
      const words = ['-s', '-o', '/dev/null', '-m', '20', '-w', '%{http_code}', '--cacert', authority.ca, url];
      const { stdout } = await runOn('a1', 'curl', ...words).catch((error) => error);
      return stdout;
    },
  };
}
