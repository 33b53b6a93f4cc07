// Control channel: one data channel with the mute state of each side and the hang-up.
//
//   {"mic": true, "cam": true, "screen": false, "weak": true, "still": true, "detour": true}
//   {"bye": true}
//
// `weak`: video is paused because of the network; `still`: what is paused is a screen; `detour`: a path that carried no
// media is avoided.

/**
 * @import { CallEvent } from '../types.js'
 */

export class ControlChannel {
  /** What the peer sends, according to its last message. */
  peer = { sends: true, video: false, mayPause: false };
  /** @type {RTCDataChannel} */
  #channel;
  /** @type {(event: CallEvent) => void} */
  #emit;

  /**
   * @param {RTCPeerConnection} pc
   * @param {{emit: (event: CallEvent) => void, opened: () => void}} parts
   */
  constructor(pc, { emit, opened }) {
    this.#emit = emit;
    this.#channel = pc.createDataChannel('switches', { negotiated: true, id: 0 });
    this.#channel.onopen = opened;
    this.#channel.onmessage = ({ data }) => this.#handle(data);
  }

  /** @param {object} message @returns {boolean} false unless the channel is open */
  send(message) {
    if (this.#channel.readyState !== 'open') return false;
    this.#channel.send(JSON.stringify(message));
    return true;
  }

  /** @param {unknown} data */
  #handle(data) {
    const message = parse(data);
    if (message?.bye === true) return this.#emit({ type: 'hang-up' });
    if (!message) return;
    if (message.detour === true) this.#emit({ type: 'path-avoided' });
    const [mic, cam] = [message.mic !== false, message.cam !== false];
    const [screen, weak, still] = [message.screen === true, message.weak === true, message.still === true];
    this.peer = { sends: mic || cam || screen, video: cam || screen || weak, mayPause: weak || screen };
    this.#emit({ type: 'mute-state', mic, cam, screen, weak, still });
  }
}

/**
 * @param {unknown} data
 * @returns {Record<string, unknown> | null}
 */
function parse(data) {
  try {
    const message = JSON.parse(String(data));
    return typeof message === 'object' ? message : null;
  } catch {
    return null;
  }
}
