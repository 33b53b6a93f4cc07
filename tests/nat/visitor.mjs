// Somebody who asks whether the box is there: a Binding over UDP, one over TCP, and the page, each on a
// connection of its own. Made for `settle`.

import dgram from 'node:dgram';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import { isIPv4, connect } from 'node:net';
import { METHOD, request, transaction } from './stun.mjs';

const PATIENCE = 1000;

export function makeVisitor({ address, name, ports, ca: file }) {
  const ca = readFileSync(file);
  const binding = () => request(METHOD.binding, transaction(), []);

  const ways = {
    udp: (yes, no) => {
      const socket = dgram.createSocket(isIPv4(address) ? 'udp4' : 'udp6');
      socket.on('message', yes).on('error', no).send(binding(), ports.turn, address, (error) => error && no());
      return () => socket.close();
    },
    tcp: (yes, no) => {
      const socket = connect(ports.turn, address, () => socket.write(binding()));
      socket.on('data', yes).on('error', no);
      return () => socket.destroy();
    },
    page: (yes, no) => {
      const asked = https.get({ host: address, servername: name, port: ports.https, path: '/healthz', ca, agent: false });
      asked.on('response', ({ statusCode }) => (statusCode === 200 ? yes() : no())).on('error', no);
      return () => asked.destroy();
    },
  };

  function answers(way) {
    return new Promise((resolve) => {
      const end = ways[way](() => resolve(true), () => resolve(false));
      setTimeout(() => { resolve(false); end(); }, PATIENCE);
    });
  }

  return {
    /** Which of the three ways answer within a second. */
    async answered() {
      const names = Object.keys(ways);
      const there = await Promise.all(names.map(answers));
      return names.filter((_, which) => there[which]);
    },
    close() {},
  };
}
