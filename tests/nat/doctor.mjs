// Runs `webrtc-box check` on a host of the test network.

import { binary } from '../browser/lib/server.mjs';
import { runOn } from './network.mjs';

/** Checks box.test from this host, which trusts this authority; returns exit code, findings, and findings by group. */
export async function runCheck(host, ca, ...flags) {
  const command = ['env', `SSL_CERT_FILE=${ca}`, binary, 'check', '--domain', 'box.test', '--json', ...flags];
  const startedAt = Date.now();
  // The exit code is not 0 unless all findings are good.
  const { stdout, code = 0 } = await runOn(host, ...command).catch((error) => error);
  const report = JSON.parse(stdout);
  console.log(`a check on ${host} took ${Date.now() - startedAt} ms`);
  return { code, ...report, of: (group) => report.findings.filter((finding) => finding.group === group) };
}

/** The findings about the relay's transports, as `UDP on 3478: ok`. */
export const relayTransports = (check) => check.of('relay').map(({ text, mark }) => `${/^\w+ on \d+/.exec(text)}: ${mark}`);
