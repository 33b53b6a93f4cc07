// A client of another maker, for a browser that has opened some address of the box other than the page: it speaks the
// eight messages of the one-to-one flow and nothing else, `call` least of all.
//
// `plainClient` runs inside the page and must not use anything of this file.

export const plainClient = (room) => `() => (${client})('${room}')`;

async function client(room) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  const socket = new WebSocket(`wss://${location.host}/ws`);
  const send = (frame) => socket.send(JSON.stringify(frame));
  const plain = globalThis.plain = { got: 0, connection: null, leave: () => send({ type: 'leave' }) };
  let waiting = Promise.resolve();

  function connect(iceServers, target) {
    const pc = plain.connection = new RTCPeerConnection({ iceServers });
    for (const track of stream.getTracks()) pc.addTrack(track, stream);
    pc.onicecandidate = ({ candidate }) => { if (candidate) send({ type: 'candidate', target, candidate }); };
    plain.describe = async (type) => {
      await pc.setLocalDescription(await (type === 'offer' ? pc.createOffer() : pc.createAnswer()));
      send({ type, target, sdp: pc.localDescription });
    };
    // As an application does that wants a new path.
    plain.restart = () => { pc.restartIce(); return plain.describe('offer'); };
  }

  let servers;
  const handle = {
    'resp-join': async ({ peer, iceServers }) => {
      servers = iceServers;
      if (!peer) return;
      connect(servers, peer);
      await plain.describe('offer');
    },
    'new-peer': async ({ id }) => connect(servers, id),
    offer: async ({ sdp }) => {
      await plain.connection.setRemoteDescription(sdp);
      await plain.describe('answer');
    },
    answer: ({ sdp }) => plain.connection.setRemoteDescription(sdp),
    candidate: async ({ candidate }) => { if (candidate) await plain.connection.addIceCandidate(candidate); },
  };
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    waiting = waiting.then(() => handle[frame.type]?.(frame)).catch((error) => { plain.error = error.message; });
  };
  socket.onopen = () => send({ type: 'join', room });
  plain.frames = async () => {
    const stats = [...(await plain.connection.getStats()).values()];
    return stats.find((one) => one.type === 'inbound-rtp' && one.kind === 'video')?.framesDecoded ?? 0;
  };
}
