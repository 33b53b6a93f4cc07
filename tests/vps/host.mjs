// A fresh host under a real systemd (see host.sh), for as long as a test file runs, and how to do things on it.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import { run, until } from '../browser/lib/work.mjs';

const HOST = fileURLToPath(new URL('./host.sh', import.meta.url));
const WITHIN = ['--mount', '--pid', '--cgroup', '--ipc', '--uts', '--net'];

/**
 * Boots a host and waits until its systemd has come up. `inside`: the words that run a program in its network;
 * `hosts` and `resolver`: what stands in its /etc/hosts and /etc/resolv.conf.
 */
export async function bootHost({ dir, inside = [], hosts = '127.0.0.1 localhost\n::1 localhost\n', resolver = '' }) {
  await mkdir(dir, { recursive: true });
  await writeFile(path.join(dir, 'hosts'), hosts);
  await writeFile(path.join(dir, 'resolv.conf'), resolver);
  const [program, ...args] = [...inside, HOST, dir];
  const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  process.once('exit', () => child.kill('SIGKILL'));

  const init = await until('the host to have a systemd', async () => {
    const born = (await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')).trim();
    return (await readFile(`/proc/${born}/comm`, 'utf8')).trim() === 'systemd' && born;
  });
  const on = ['nsenter', '--target', init, ...WITHIN, '--root', '--wdns=/root', 'env', '-i', 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root'];
  const branch = async () => `${(await run('findmnt', ['-n', '-o', 'TARGET', '-t', 'cgroup2'])).stdout.split('\n')[0]}/webrtc-box-test-${child.pid}`;
  const host = {
    /** Runs a program on this host to its end; a non-zero exit throws with what it said. */
    run: (...words) => run(on[0], [...on.slice(1), ...words]),
    /** The words that run a program on this host. */
    on,
    /** Brings a file of ours to this host. */
    async bring(from, to) {
      const file = await open(from);
      const [program, ...args] = [...on, 'sh', '-c', 'mkdir -p "$(dirname "$0")" && cat >"$0"', to];
      const [code] = await once(spawn(program, args, { stdio: [file.fd, 'inherit', 'inherit'] }), 'exit');
      await file.close();
      if (code !== 0) throw new Error(`${to} could not be brought`);
    },
    /** What a unit's journal says. */
    journal: async (unit) => (await host.run('journalctl', '--no-pager', '-o', 'cat', '-u', unit)).stdout,
    async end() {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
      // host.sh sees to that, also where nobody is left to wait for it.
      const groups = await branch();
      await until(`${groups} to be gone`, () => access(groups).then(() => false, () => true));
    },
  };
  await until('systemd to have come up', async () => {
    const { stdout } = await host.run('systemctl', 'is-system-running').catch((error) => error);
    return /^(running|degraded)/.test(stdout ?? '');
  });
  return host;
}
