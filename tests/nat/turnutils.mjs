// coturn's own client programs, run on a host of the small internet, and what they said.

import assert from 'node:assert/strict';
import { run } from '../browser/lib/work.mjs';
import { on } from './world.mjs';

/** Debian's, which is old in some points; UCLIENT names another one. */
const UCLIENT = process.env.UCLIENT ?? 'turnutils_uclient';

/** The address that the box says this host has. */
export async function reflexiveAddress(host, server) {
  const { stdout, stderr } = await run(...line(host, ['turnutils_stunclient', '-p', '3478', server]));
  return /UDP reflexive addr: (\S+)/.exec(stdout + stderr)?.[1];
}

/**
 * Two clients send sixty small messages each; gives how many were lost and the whole output. Throws with the
 * output when the program gives up.
 */
export async function exchange(host, server, credentials, ...flags) {
  const { code, said } = await attempt(host, server, credentials, ...flags);
  if (code !== 0) throw new Error(`turnutils_uclient ${flags.join(' ')}: ended with ${code}\n${said}`);
  const lost = /Total lost packets (\d+)/.exec(said);
  const sent = /tot_send_msgs=(\d+), tot_recv_msgs=(\d+)/g;
  const [, out, back] = [...said.matchAll(sent)].at(-1) ?? [];
  return { lost: lost ? Number(lost[1]) : NaN, sent: Number(out), received: Number(back), said };
}

/** The same over UDP, TCP and TLS at once: everything comes back. */
export async function exchangesEverywhere(host, server, credentials, ca, ...flags) {
  const ways = { UDP: ['-p', '3478'], TCP: ['-p', '3478', '-t'], TLS: ['-p', '5349', '-t', '-S', '-E', ca] };
  await Promise.all(Object.entries(ways).map(async ([way, itsFlags]) => {
    const { lost, sent, received, said } = await exchange(host, server, credentials, ...itsFlags, ...flags);
    assert.ok(lost === 0 && sent > 0 && received === sent, `${way}: ${said}`);
  }));
}

/**
 * How the program ends, whatever it does: its exit code (null when it never ended)
 * and its output. It says 255 for whatever it gives up for, so the output tells what that was.
 */
export async function attempt(host, server, { username, credential }, ...flags) {
  const words = [UCLIENT, '-u', username, '-w', credential, '-n', '60', '-m', '2', '-l', '160', ...flags, server];
  const [program, args] = line(host, words);
  // Told to spoil messages, it may wait for the answer to one of them for ever.
  const timeout = flags.includes('-R') ? 12_000 : 60_000;
  try {
    const { stdout, stderr } = await run(program, args, { timeout, maxBuffer: 1 << 24 });
    return { code: 0, said: stdout + stderr };
  } catch (error) {
    return { code: error.code, said: `${error.stdout}${error.stderr}` };
  }
}

/**
 * Whether this program asks for the second address family as RFC 8656 has it. Until some version after 4.6.1
 * it asked by the number of a draft (0x8032), which our box does not know.
 */
export async function asksForBothFamilies(host, server, credentials) {
  const { said } = await attempt(host, server, credentials, '-p', '3478', '-y', '-Z', '-x', '-n', '1');
  return !/relay addr cannot be received/.test(said);
}

function line(host, words) {
  const [program, ...args] = [...on(host), ...words];
  return [program, args];
}
