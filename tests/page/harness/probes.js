// Results of probes for the tests of the connection test.

const LISTENERS = { udp: ['turn-udp', 3478], tcp: ['turn-tcp', 3478], tls: ['turn-tls', 443] };

/** Figures of a good test call. */
export const GOOD = { path: 'relay-udp', rtt: 40, jitter: 2, loss: 0, sent: 150, rate: 9_800_000 };

/** `udp4 tcp4! tls?`: what was tried; `!` after what did not answer, `?` after what was refused. */
export function probeResults(text) {
  return text.split(' ').filter(Boolean).map((word, i) => {
    const [, kind, family, outcome] = /^([a-z]+)([46]?)([!?]?)$/.exec(word);
    const [name, port] = LISTENERS[kind];
    return { probe: { name, port, family: family ? `ipv${family}` : 'any', urls: [] }, ok: outcome === '', ms: 20 + i, code: outcome === '?' ? 486 : 0 };
  });
}
