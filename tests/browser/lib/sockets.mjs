// A page's signaling socket under a test's control, from inside the page: away and back, and words that the server
// would take long to say. For looking at states; what the server really says is other tests' business.
//
// SOCKETS runs inside the page before its own scripts and must not use anything of this file.

export const SOCKETS = `${function sockets() {
  const Native = globalThis.WebSocket;
  let [cut, answer, newest, peer] = [false, null, null, null];
  globalThis.WebSocket = class extends Native {
    constructor(url) {
      super(cut ? url.replace(/ws$/, 'nowhere') : url);
      newest = this;
      this.addEventListener('message', ({ data }) => {
        const said = JSON.parse(data);
        if (said.type === 'resp-join') ({ peer } = said);
        if (said.type === 'new-peer') peer = said.id;
      });
      if (answer) setTimeout(() => this.onmessage?.({ data: JSON.stringify(answer) }), 0);
    }
  };
  globalThis.__line = {
    /** The socket is gone, and no other comes about until it is mended. */
    cut() {
      cut = true;
      newest.close();
    },
    mend() { cut = false; },
    /** The server says that the grace of the other has run out. */
    peerIsOut() { newest.onmessage({ data: JSON.stringify({ type: 'peer-leave', id: peer }) }); },
    /** Another page has taken this seat. */
    replaced() { newest.onclose({ code: 4001 }); },
    /** Whatever it asks while its line is cut, the server refuses. */
    refused(code) { answer = { type: 'error', code, message: '' }; },
  };
}}`;

/** Runs inside the page before its own scripts: where the address asks for it, no way is found, and that soon. */
export const NOWHERE = `${function nowhere() {
  if (!location.search.includes('nowhere')) return;
  RTCPeerConnection.prototype.addIceCandidate = async () => {};
  const later = globalThis.setTimeout;
  globalThis.setTimeout = (fn, ms, ...rest) => later(fn, ms === 30_000 ? 500 : ms, ...rest);
}}`;

/** Runs inside the page before its own scripts: its trust code does not hold, once the session is told to lie. */
export const LIAR = `${function liar() {
  const { send } = RTCDataChannel.prototype;
  RTCDataChannel.prototype.send = function (text) {
    send.call(this, sessionStorage.__liar ? String(text).replace(/^reveal .*/, `reveal ${'0'.repeat(64)}`) : text);
  };
}}`;
