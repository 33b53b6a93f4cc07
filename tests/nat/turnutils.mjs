// coturn's own client programs, run on a host of the small internet, and what they said.

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
 * Two clients send sixty small messages each, and all come back; throws with the output where not. By TLS it
 * may take more than one try: the program reads a TLS record and looks at its first message only, and on a
 * busy machine the box has more than one to send. Every try has credentials of its own, from `mint`: ports kept under
 * tokens, by clients that gave up before they came for them, are counted for each.
 */
export async function exchangeWhole(host, server, mint, ...flags) {
  for (let tries = flags.includes('-S') ? 3 : 1; ; tries -= 1) {
    const { lost, sent, received, said } = await exchange(host, server, await mint(), ...flags);
    if (lost === 0 && sent > 0 && received === sent) return;
    if (tries === 1) throw new Error(`turnutils_uclient ${flags.join(' ')} lost ${lost}\n${said}`);
  }
}

/** And over UDP, TCP and TLS at once. */
export async function exchangesEverywhere(host, server, mint, ca, ...flags) {
  const ways = [['-p', '3478'], ['-p', '3478', '-t'], ['-p', '5349', '-t', '-S', '-E', ca]];
  await Promise.all(ways.map((way) => exchangeWhole(host, server, mint, ...way, ...flags)));
}

/**
 * How the program ends, whatever it does: its exit code (null when it never ended) and its output. It says 255
 * for whatever it gives up for, so the output tells what that was.
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

/** How many messages were lost, and the whole output; throws with that when the program gives up. */
async function exchange(host, server, credentials, ...flags) {
  const { code, said } = await attempt(host, server, credentials, ...flags);
  if (code !== 0) throw new Error(`turnutils_uclient ${flags.join(' ')}: ended with ${code}\n${said}`);
  const lost = /Total lost packets (\d+)/.exec(said);
  const sent = /tot_send_msgs=(\d+), tot_recv_msgs=(\d+)/g;
  const [, out, back] = [...said.matchAll(sent)].at(-1) ?? [];
  return { lost: lost ? Number(lost[1]) : NaN, sent: Number(out), received: Number(back), said };
}

function line(host, words) {
  const [program, ...args] = [...on(host), ...words];
  return [program, args];
}
