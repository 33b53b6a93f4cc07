// Runs coturn's client programs on a host of the test network and parses their output.

import { run } from '../browser/lib/workspace.mjs';
import { on } from './network.mjs';

/** Debian's uclient lacks some current features; UCLIENT names another one. */
const UCLIENT = process.env.UCLIENT ?? 'turnutils_uclient';

/** The reflexive address of this host as the server reports it. */
export async function reflexiveAddress(host, server) {
  const { stdout, stderr } = await run(...commandOn(host, ['turnutils_stunclient', '-p', '3478', server]));
  return /UDP reflexive addr: (\S+)/.exec(stdout + stderr)?.[1];
}

/**
 * Two clients send sixty small messages each, and all must arrive; throws with the output otherwise. Over TLS up to three
 * attempts: the program reads one TLS record and handles only its first message, and on a busy machine a record may hold
 * more. Each attempt has credentials of its own, from `mint`, because ports reserved by a failed attempt count against the
 * quota of its credentials.
 */
export async function expectLosslessExchange(host, server, mint, ...flags) {
  for (let attempts = flags.includes('-S') ? 3 : 1; ; attempts -= 1) {
    const { lost, sent, received, output } = await exchange(host, server, await mint(), ...flags);
    if (lost === 0 && sent > 0 && received === sent) return;
    if (attempts === 1) throw new Error(`turnutils_uclient ${flags.join(' ')} lost ${lost}\n${output}`);
  }
}

/** The same over UDP, TCP and TLS at the same time. */
export async function expectLosslessExchangeOnAllTransports(host, server, mint, ca, ...flags) {
  const transports = [['-p', '3478'], ['-p', '3478', '-t'], ['-p', '5349', '-t', '-S', '-E', ca]];
  await Promise.all(transports.map((transport) => expectLosslessExchange(host, server, mint, ...transport, ...flags)));
}

/** Runs uclient; returns its exit code (null after a timeout) and its output. The code is 255 for every error: the cause is
 *  in the output. */
export async function runUclient(host, server, { username, credential }, ...flags) {
  const command = [UCLIENT, '-u', username, '-w', credential, '-n', '60', '-m', '2', '-l', '160', ...flags, server];
  // With -R (corrupt messages) it may wait forever for an answer.
  const timeout = flags.includes('-R') ? 12_000 : 60_000;
  try {
    const { stdout, stderr } = await run(...commandOn(host, command), { timeout, maxBuffer: 1 << 24 });
    return { code: 0, output: stdout + stderr };
  } catch (error) {
    return { code: error.code, output: `${error.stdout}${error.stderr}` };
  }
}

/** Whether this uclient sends ADDITIONAL-ADDRESS-FAMILY as RFC 8656 defines it. Versions up to some time after 4.6.1 use the
 *  number of a draft (0x8032), which the server does not know. */
export async function supportsAdditionalAddressFamily(host, server, credentials) {
  const { output } = await runUclient(host, server, credentials, '-p', '3478', '-y', '-Z', '-x', '-n', '1');
  return !/relay addr cannot be received/.test(output);
}

/** Sent, received and lost messages, and the output; throws when the program fails. */
async function exchange(host, server, credentials, ...flags) {
  const { code, output } = await runUclient(host, server, credentials, ...flags);
  if (code !== 0) throw new Error(`turnutils_uclient ${flags.join(' ')}: exit code ${code}\n${output}`);
  const lost = /Total lost packets (\d+)/.exec(output);
  const totals = /tot_send_msgs=(\d+), tot_recv_msgs=(\d+)/g;
  const [, sent, received] = [...output.matchAll(totals)].at(-1) ?? [];
  return { lost: lost ? Number(lost[1]) : NaN, sent: Number(sent), received: Number(received), output };
}

function commandOn(host, command) {
  const [program, ...args] = [...on(host), ...command];
  return [program, args];
}
