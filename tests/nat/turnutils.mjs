// coturn's own client programs, run on a host of the small internet, and what they said.

import { run } from '../browser/lib/work.mjs';
import { on } from './world.mjs';

/** The address that the box says this host has. */
export async function reflexiveAddress(host, server) {
  const { stdout, stderr } = await run(...line(host, ['turnutils_stunclient', '-p', '3478', server]));
  return /UDP reflexive addr: (\S+)/.exec(stdout + stderr)?.[1];
}

/**
 * Two clients send sixty small messages each; gives how many were lost and the whole output. Throws with the
 * output when the program gives up.
 */
export async function exchange(host, server, { username, credential }, ...flags) {
  const words = ['turnutils_uclient', '-u', username, '-w', credential, '-n', '60', '-m', '2', '-l', '160', ...flags, server];
  const { stdout, stderr } = await run(...line(host, words), { timeout: 60_000, maxBuffer: 1 << 24 })
    .catch((error) => Promise.reject(new Error(`${error.message}${error.stdout}`)));
  const said = stdout + stderr;
  const lost = /Total lost packets (\d+)/.exec(said);
  const sent = /tot_send_msgs=(\d+), tot_recv_msgs=(\d+)/g;
  const [, out, back] = [...said.matchAll(sent)].at(-1) ?? [];
  return { lost: lost ? Number(lost[1]) : NaN, sent: Number(out), received: Number(back), said };
}

function line(host, words) {
  const [program, ...args] = [...on(host), ...words];
  return [program, args];
}
