// Measures the time from the click on join to the first remote frame next to a bare page: one peer connection, the server's
// signaling and nothing else, with its media and its socket ready before. Both alternate in one run. (How to run it, and what it
// measures: README.md.)

import { createHarness, LOOPBACK_ICE } from '../../tests/browser/lib/harness.mjs';
import { JOIN_TIME_CAMERA, measureJoin } from '../../tests/browser/lib/measurements.mjs';
import { waitFor } from '../../tests/browser/lib/wait.mjs';

const ROUNDS = Number(process.env.ROUNDS ?? 10);
const STEPS = ['offer', 'answer', 'ICE connected', 'first packet', 'first frame'];

/** Makes the current document a bare page: `__bare.join()` joins the room, `__bare.firstFrame` is in ms since then. */
const BARE_PAGE = `${async function barePage(room) {
  const video = Object.assign(document.createElement('video'), { autoplay: true, muted: true });
  document.body.replaceChildren(video);
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 1280, height: 720 } });
  const socket = new WebSocket(`wss://${location.host}/ws`);
  const send = (frame) => socket.send(JSON.stringify(frame));
  const bare = globalThis.__bare = { steps: {}, id: '', isWaiting: false };
  let [connection, servers, queue] = [null, [], Promise.resolve()];
  const reached = (step) => { bare.steps[step] ??= performance.now() - bare.joinedAt; };

  function connect(target) {
    connection = new RTCPeerConnection({ iceServers: servers });
    for (const track of stream.getTracks()) connection.addTrack(track, stream);
    connection.onicecandidate = ({ candidate }) => { if (candidate) send({ type: 'candidate', target, candidate }); };
    connection.onsignalingstatechange = () => reached({ 'have-local-offer': 'offer', stable: 'answer' }[connection.signalingState] ?? 'other');
    connection.oniceconnectionstatechange = () => { if (['connected', 'completed'].includes(connection.iceConnectionState)) reached('ICE connected'); };
    connection.ontrack = ({ streams, track }) => {
      video.srcObject = streams[0];
      if (track.kind === 'video') track.onunmute = () => reached('first packet');
    };
    bare.describe = async (type) => {
      await connection.setLocalDescription();
      send({ type, target, sdp: connection.localDescription });
    };
    const timer = setInterval(async () => {
      if (connection.connectionState !== 'connected') return;
      for (const stat of (await connection.getStats()).values()) {
        if (stat.type === 'inbound-rtp' && stat.kind === 'video' && stat.framesDecoded > 0) {
          reached('first frame');
          clearInterval(timer);
        }
      }
    }, 10);
  }

  const handle = {
    'resp-join': async ({ peer, iceServers }) => {
      servers = iceServers;
      bare.isWaiting = !peer;
      if (!peer) return;
      connect(peer);
      await bare.describe('offer');
    },
    'new-peer': async ({ id }) => connect(id),
    offer: async ({ sdp }) => {
      await connection.setRemoteDescription(sdp);
      await bare.describe('answer');
    },
    answer: ({ sdp }) => connection.setRemoteDescription(sdp),
    candidate: async ({ candidate }) => { if (candidate) await connection.addIceCandidate(candidate); },
  };
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    queue = queue.then(() => handle[frame.type]?.(frame)).catch((error) => { bare.error = error.message; });
  };
  await new Promise((resolve) => { socket.onopen = resolve; });
  bare.join = () => {
    bare.joinedAt = performance.now();
    send({ type: 'join', room });
  };
}}`;

const harness = await createHarness('page-join', {
  defaults: { ...JOIN_TIME_CAMERA, prefs: { ...JOIN_TIME_CAMERA.prefs, ...LOOPBACK_ICE } },
});

harness.scenario('from the click on join to the first remote frame', async () => {
  const pair = await Promise.all(['chromium', 'chromium'].map((kind) => harness.participant(kind)));
  const times = { page: [], bare: [] };
  for (let round = 0; round < ROUNDS; round += 1) {
    times.page.push(await joinPage(pair, harness.roomUrl()));
    times.bare.push(await joinBarePage(pair, `bare-${round}`));
  }
  const medians = Object.fromEntries(Object.entries(times).map(([page, all]) => [page, STEPS.map((step) => median(all.map((each) => each[step])))]));
  for (const [page, values] of Object.entries(medians)) console.log(`measurement: ${page}, medians of ${ROUNDS}: ${STEPS.map((step, i) => `${step} ${values[i]} ms`).join(', ')}`);
  console.log(`measurement: page to bare page: ${(medians.page.at(-1) / medians.bare.at(-1)).toFixed(2)}`);
}, 600_000);

async function joinPage(pair, url) {
  const { firstFrame, steps } = await measureJoin(pair, url);
  return { ...steps, 'first frame': firstFrame };
}

async function joinBarePage([first, second], room) {
  for (const each of [first, second]) {
    await each.open(`${harness.server.origin}/healthz`);
    await each.evaluate(`() => (${BARE_PAGE})('${room}')`);
  }
  await first.evaluate('() => __bare.join()');
  await first.waitForCondition('the bare page to wait', '__bare.isWaiting');
  await second.evaluate('() => __bare.join()');
  return waitFor('the first frame of the bare page', async () => {
    const steps = await second.evaluate('() => __bare.steps');
    return 'first frame' in steps && steps;
  });
}

function median(values) {
  return Math.round(values.toSorted((a, b) => a - b)[values.length >> 1]);
}
