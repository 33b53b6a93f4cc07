// A program: exits 0 as soon as URL answers 200 with a certificate of the authority CA.pem, 1 after the timeout.
// It is a program, not a function, to run in the network namespace of a server.
//
//   node health-check.mjs URL CA.pem MILLISECONDS

import { readFileSync } from 'node:fs';
import https from 'node:https';
import { waitFor } from './wait.mjs';

const [url, caFile, timeoutMs] = process.argv.slice(2);
const ca = readFileSync(caFile);

function isHealthy() {
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
  await waitFor(`${url} to answer`, isHealthy, Number(timeoutMs));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
