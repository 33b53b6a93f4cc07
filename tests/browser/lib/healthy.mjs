// A program: exits 0 as soon as `URL` answers 200 with a certificate of `CA`, 1 when the time is up.
// It is one, and not a function, so that it can also be run inside a network namespace.
//
//   node healthy.mjs URL CA.pem MILLISECONDS

import { readFileSync } from 'node:fs';
import https from 'node:https';
import { until } from './work.mjs';

const [url, caFile, ms] = process.argv.slice(2);
const ca = readFileSync(caFile);

function answers() {
  return new Promise((resolve, reject) => {
    const request = https.get(url, { ca, timeout: 1000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on('timeout', () => request.destroy(new Error('no answer')));
    request.on('error', reject);
  });
}

try {
  await until(`${url} to answer`, answers, Number(ms));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
