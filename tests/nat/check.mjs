// `webrtc-box check`, made on a host of the small internet.

import { binary } from '../browser/lib/box.mjs';
import { runOn } from './world.mjs';

/** The findings of a check of box.test made on this host, which trusts this authority, and how it ended. */
export async function check(host, ca, ...flags) {
  const line = ['env', `SSL_CERT_FILE=${ca}`, binary, 'check', '--domain', 'box.test', '--json', ...flags];
  const began = Date.now();
  // A verdict that is not good is an exit code that is not 0.
  const { stdout, code = 0 } = await runOn(host, ...line).catch((error) => error);
  const report = JSON.parse(stdout);
  console.log(`a check at ${host} took ${Date.now() - began} ms`);
  return { code, ...report, of: (group) => report.findings.filter((finding) => finding.group === group) };
}

/** The relay's findings as `UDP on 3478: ok`. */
export const ways = (checked) => checked.of('relay').map(({ text, mark }) => `${/^\w+ on \d+/.exec(text)}: ${mark}`);
