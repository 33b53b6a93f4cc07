// Report: what the box is told of a call, for whoever looks after it: how long it took to connect and by
// which way, and once a minute and at the end how it went. Nothing in it says who, and nobody else hears it.

/**
 * @typedef {object} Report
 * @property {() => void} begin from here on somebody waits for a picture
 * @property {() => void} met somebody is there: the server hears that this page reports, however the call goes
 * @property {() => void} connected for the first time in this call
 * @property {() => void} end
 */

const EVERY_MS = 60_000;
/** The pair is often chosen a moment after the connection says it is there. */
const LOOK_EVERY_MS = 500;

/** Says nothing. @type {Report} */
export const NO_REPORT = { begin() {}, met() {}, connected() {}, end() {} };

/**
 * @param {object} parts
 * @param {(frame: import('../signaling/client.js').Frame) => void} parts.send
 * @param {() => import('../call/selected-path.js').Sample | undefined} parts.sample the last reading
 * @param {import('../lib/clock.js').Clock} parts.clock
 * @param {() => number} parts.now milliseconds
 * @returns {Report}
 */
export function makeReport({ send, sample, clock, now }) {
  let begun = now();
  /** @type {number | null} how long it took, until that is told */
  let setup = null;
  let running = false;
  let before = 0;
  let counted = 0;
  /** @type {any} */
  let timer;

  /** Another connection counts its bytes from nothing. @param {number} bytes */
  function bytesInAll(bytes) {
    if (bytes < counted) before += counted;
    counted = bytes;
    return before + bytes;
  }

  function tell() {
    const last = sample();
    if (!last?.path) return false;
    const { path, rtt, lost, received } = last;
    send({
      type: 'report', path, bytes: bytesInAll(last.inBytes + last.outBytes),
      ...(setup !== null && { setup: Math.round(setup) }),
      ...(rtt !== null && { rtt: Math.round(rtt) }),
      ...(lost + received > 0 && { lost: Number((Math.max(0, lost) / (lost + received)).toFixed(4)) }),
    });
    setup = null;
    return true;
  }

  function tellAgain() {
    timer = clock.after(tellAgain, tell() ? EVERY_MS : LOOK_EVERY_MS);
  }

  return {
    begin() {
      begun = now();
    },
    met() {
      if (!running) send({ type: 'report' });
    },
    connected() {
      if (running) return;
      running = true;
      setup = now() - begun;
      before = 0;
      counted = 0;
      tellAgain();
    },
    end() {
      if (!running) return;
      running = false;
      clock.cancel(timer);
      tell();
      setup = null;
    },
  };
}
