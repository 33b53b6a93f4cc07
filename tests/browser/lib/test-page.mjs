// The connection test as its page tells it; for a seat of any kind, on this machine or at a home.

import { until } from './work.mjs';

/** What the page shows now; runs inside it. */
const SHOWN = `() => {
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

/** Opens the test page of this box and waits for its verdict. */
export async function tested(seat, box) {
  await seat.open(`${box.origin}/test`);
  return verdict(seat);
}

/** Waits until the test is over; gives what the page shows. */
export async function verdict(seat) {
  return until('a verdict', async () => {
    const shown = await seat.look(SHOWN);
    return shown.busy === 'false' ? shown : Promise.reject(new Error(JSON.stringify(shown)));
  }, 60_000);
}

/** Prints what the test call measured. */
export function told(who, { code, figures: { path, rtt, jitter, loss, sent, rate }, rows }) {
  console.log(`${who}: ${code}; ${Object.entries(rows).map(([probe, is]) => `${probe} ${is}`).join(', ')}`);
  console.log(`figure: test call of ${who} by ${path}: ${Number(rtt).toFixed(1)} ms to the box and back, ${Number(jitter).toFixed(1)} ms uneven, `
    + `${(loss * 100).toFixed(1)} % of ${sent} lost, ${(rate / 1e6).toFixed(1)} Mbit/s`);
}
