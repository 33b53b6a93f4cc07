// A host with its own systemd (see systemd-host.sh) that lives as long as a test file.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdir, open, readdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import { waitFor } from '../browser/lib/wait.mjs';
import { root, run } from '../browser/lib/workspace.mjs';

const SCRIPT = fileURLToPath(new URL('./systemd-host.sh', import.meta.url));
const NAMESPACES = ['--mount', '--pid', '--cgroup', '--ipc', '--uts', '--net'];

/**
 * Boots a host and waits for its systemd. `inNamespace`: the command prefix that runs a program in its network; `hosts` and
 * `resolver`: the contents of its /etc/hosts and /etc/resolv.conf. `files`: a folder with another Linux system than this
 * machine's.
 */
export async function bootHost({ dir, files = '/', inNamespace = [], hosts = '127.0.0.1 localhost\n::1 localhost\n', resolver = '' }) {
  await mkdir(dir, { recursive: true });
  await writeFile(path.join(dir, 'hosts'), hosts);
  await writeFile(path.join(dir, 'resolv.conf'), resolver);
  const [program, ...args] = [...inNamespace, SCRIPT, dir, files];
  const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  process.once('exit', () => child.kill('SIGKILL'));

  const init = await waitFor('systemd to start', async () => {
    const pid = (await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')).trim();
    return (await readFile(`/proc/${pid}/comm`, 'utf8')).trim() === 'systemd' && pid;
  });
  const prefix = ['nsenter', '--target', init, ...NAMESPACES, '--root', '--wdns=/root', 'env', '-i', 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root'];
  const cgroup = async () => `${(await run('findmnt', ['-n', '-o', 'TARGET', '-t', 'cgroup2'])).stdout.split('\n')[0]}/webrtc-box-test-${child.pid}`;
  const host = {
    /** Runs a program on this host to its end; a non-zero exit rejects with its output. */
    run: (...command) => run(prefix[0], [...prefix.slice(1), ...command]),
    /** Copies a file to this host. */
    async copy(from, to) {
      const file = await open(from);
      const [copyProgram, ...copyArgs] = [...prefix, 'sh', '-c', 'mkdir -p "$(dirname "$0")" && cat >"$0"', to];
      const [code] = await once(spawn(copyProgram, copyArgs, { stdio: [file.fd, 'inherit', 'inherit'] }), 'exit');
      await file.close();
      if (code !== 0) throw new Error(`cannot copy to ${to}`);
    },
    /** Copies the folder config/, which has install.sh, to /root. */
    async copyConfig() {
      const config = path.join(root, 'config');
      for (const entry of await readdir(config, { recursive: true, withFileTypes: true })) {
        const file = path.join(entry.parentPath ?? entry.path, entry.name);
        if (entry.isFile()) await host.copy(file, path.join('/root', path.relative(config, file)));
      }
    },
    /** The journal of a unit. */
    journal: async (unit) => (await host.run('journalctl', '--no-pager', '-o', 'cat', '-u', unit)).stdout,
    async shutDown() {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
      // systemd-host.sh removes the cgroup.
      const group = await cgroup();
      await waitFor(`${group} to be removed`, () => access(group).then(() => false, () => true));
    },
  };
  await waitFor('systemd to finish booting', async () => {
    const { stdout } = await host.run('systemctl', 'is-system-running').catch((error) => error);
    return /^(running|degraded)/.test(stdout ?? '');
  });
  return host;
}
