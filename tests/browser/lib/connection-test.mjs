// Drives the connection test page, for a participant on this machine or in a network namespace.

import { waitFor } from './wait.mjs';

/** Runs in the page: the results it shows. */
const readResults = `() => {
  const rows = [...document.querySelectorAll('#ways tr')].map((row) => [row.dataset.probe, row.querySelector('td').dataset.is]);
  const { code, tone } = document.getElementById('verdict').dataset;
  return {
    code, tone, rows: Object.fromEntries(rows),
    sentence: document.getElementById('sentence').textContent,
    notes: [...document.querySelectorAll('#notes li')].map((note) => note.textContent),
    busy: document.getElementById('verdict').getAttribute('aria-busy'),
    figures: { ...document.getElementById('figures').dataset },
    report: document.getElementById('report').value,
  };
}`;

/** Opens the test page of this server and waits for its verdict. */
export async function runConnectionTest(participant, server) {
  await participant.open(`${server.origin}/test`);
  return waitForVerdict(participant);
}

/** Waits until the test is over; returns the results that the page shows. */
export async function waitForVerdict(participant) {
  return waitFor('a verdict', async () => {
    const results = await participant.evaluate(readResults);
    return results.busy === 'false' ? results : Promise.reject(new Error(JSON.stringify(results)));
  }, 60_000);
}

/** Prints the probes' results and what the test call measured. */
export function printResults(name, { code, figures: { path, rtt, jitter, loss, sent, rate }, rows }) {
  console.log(`${name}: ${code}; ${Object.entries(rows).map(([probe, result]) => `${probe} ${result}`).join(', ')}`);
  console.log(`measurement: test call of ${name} by ${path}: round trip ${Number(rtt).toFixed(1)} ms, jitter ${Number(jitter).toFixed(1)} ms, `
    + `${(loss * 100).toFixed(1)} % of ${sent} packets lost, ${(rate / 1e6).toFixed(1)} Mbit/s`);
}
