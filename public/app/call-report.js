// Call report: measurements of a call for the operator, sent to the server: connection time and path, then once a
// minute and at the end the quality. It contains no identity and is not passed on to the peer.

/**
 * @typedef {object} CallReport
 * @property {() => void} start begins to measure the connection time
 * @property {() => void} peerPresent announces to the server that this page reports, also if the call never connects
 * @property {() => void} connected the call connected for the first time
 * @property {() => void} stop
 */

const INTERVAL_MS = 60_000;
/** The candidate pair is often selected a moment after the connection state is `connected`. */
const RETRY_MS = 500;

/** @type {CallReport} */
export const NO_REPORT = { start() {}, peerPresent() {}, connected() {}, stop() {} };

/**
 * @param {object} parts
 * @param {(message: import('../types.js').ReportMessage) => void} parts.send
 * @param {() => import('../call/selected-path.js').Sample | undefined} parts.sample the latest sample
 * @param {import('../lib/clock.js').Clock} parts.clock
 * @param {() => number} parts.now milliseconds
 * @returns {CallReport}
 */
export function makeCallReport({ send, sample, clock, now }) {
  let startedAt = now();
  /** @type {number | null} connection time, until it is sent */
  let setup = null;
  let running = false;
  let earlierBytes = 0;
  let connectionBytes = 0;
  /** @type {import('../lib/clock.js').Timer | undefined} */
  let timer;

  /** A new peer connection counts its bytes from zero. @param {number} bytes */
  function totalBytes(bytes) {
    if (bytes < connectionBytes) earlierBytes += connectionBytes;
    connectionBytes = bytes;
    return earlierBytes + bytes;
  }

  function sendReport() {
    const last = sample();
    if (!last?.path) return false;
    const { path, rtt, lost, received } = last;
    send({
      type: 'report', path, bytes: totalBytes(last.inBytes + last.outBytes),
      ...(setup !== null && { setup: Math.round(setup) }),
      ...(rtt !== null && { rtt: Math.round(rtt) }),
      ...(lost + received > 0 && { lost: Number((Math.max(0, lost) / (lost + received)).toFixed(4)) }),
    });
    setup = null;
    return true;
  }

  function sendRepeatedly() {
    timer = clock.after(sendRepeatedly, sendReport() ? INTERVAL_MS : RETRY_MS);
  }

  return {
    start() {
      startedAt = now();
    },
    peerPresent() {
      if (!running) send({ type: 'report' });
    },
    connected() {
      if (running) return;
      running = true;
      setup = now() - startedAt;
      earlierBytes = 0;
      connectionBytes = 0;
      sendRepeatedly();
    },
    stop() {
      if (!running) return;
      running = false;
      clock.cancel(timer);
      sendReport();
      setup = null;
    },
  };
}
