// Probes whether the server answers: a STUN Binding over UDP, one over TCP, and the page over HTTPS, each on its own
// connection. For `spawnOn`.

import dgram from 'node:dgram';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import { connect, isIPv4 } from 'node:net';
import { encodeRequest, METHOD, randomTransactionId } from './stun-codec.mjs';

const TIMEOUT_MS = 1000;

export function createReachabilityProbe({ address, name, ports, ca: caFile }) {
  const ca = readFileSync(caFile);
  const binding = () => encodeRequest(METHOD.binding, randomTransactionId(), []);

  const probes = {
    udp: (onAnswer, onError) => {
      const socket = dgram.createSocket(isIPv4(address) ? 'udp4' : 'udp6');
      socket.on('message', onAnswer).on('error', onError).send(binding(), ports.turn, address, (error) => error && onError());
      return () => socket.close();
    },
    tcp: (onAnswer, onError) => {
      const socket = connect(ports.turn, address, () => socket.write(binding()));
      socket.on('data', onAnswer).on('error', onError);
      return () => socket.destroy();
    },
    page: (onAnswer, onError) => {
      const request = https.get({ host: address, servername: name, port: ports.https, path: '/healthz', ca, agent: false });
      request.on('response', ({ statusCode }) => (statusCode === 200 ? onAnswer() : onError())).on('error', onError);
      return () => request.destroy();
    },
  };

  /** Resolves at the answer, or with false after the timeout. */
  async function runProbe(probe) {
    const timer = {};
    let cleanUp;
    try {
      return await new Promise((resolve) => {
        timer.id = setTimeout(resolve, TIMEOUT_MS, false);
        cleanUp = probes[probe](() => resolve(true), () => resolve(false));
      });
    } finally {
      clearTimeout(timer.id);
      cleanUp?.();
    }
  }

  return {
    /** The names of the probes that are answered within a second. */
    async answeredProbes() {
      const names = Object.keys(probes);
      const answered = await Promise.all(names.map(runProbe));
      return names.filter((_, index) => answered[index]);
    },
    close() {},
  };
}
