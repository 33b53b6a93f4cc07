// The page in a call with a third-party client that implements only the eight messages of the signaling protocol, in both
// roles.

import assert from 'node:assert/strict';
import { createHarness, ENDED_STATES } from './lib/harness.mjs';
import { waitFor } from './lib/wait.mjs';

const harness = await createHarness('third-party-client');

/** Runs in any page of the server: a client without the `call` message. It must not use anything else of this file. */
async function startClient(room) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  const socket = new WebSocket(`wss://${location.host}/ws`);
  const send = (frame) => socket.send(JSON.stringify(frame));
  const state = globalThis.client = { connection: null, leave: () => send({ type: 'leave' }) };
  // Frames are handled one after the other.
  let queue = Promise.resolve();

  function connect(iceServers, target) {
    const pc = state.connection = new RTCPeerConnection({ iceServers });
    for (const track of stream.getTracks()) pc.addTrack(track, stream);
    pc.onicecandidate = ({ candidate }) => { if (candidate) send({ type: 'candidate', target, candidate }); };
    state.describe = async (type) => {
      await pc.setLocalDescription(await (type === 'offer' ? pc.createOffer() : pc.createAnswer()));
      send({ type, target, sdp: pc.localDescription });
    };
    state.restart = () => { pc.restartIce(); return state.describe('offer'); };
  }

  let servers;
  const handle = {
    'resp-join': async ({ peer, iceServers }) => {
      servers = iceServers;
      if (!peer) return;
      connect(servers, peer);
      await state.describe('offer');
    },
    'new-peer': async ({ id }) => connect(servers, id),
    offer: async ({ sdp }) => {
      await state.connection.setRemoteDescription(sdp);
      await state.describe('answer');
    },
    answer: ({ sdp }) => state.connection.setRemoteDescription(sdp),
    candidate: async ({ candidate }) => { if (candidate) await state.connection.addIceCandidate(candidate); },
  };
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    queue = queue.then(() => handle[frame.type]?.(frame)).catch((error) => { state.error = error.message; });
  };
  socket.onopen = () => send({ type: 'join', room });
  state.frames = async () => {
    const stats = [...(await state.connection.getStats()).values()];
    return stats.find((stat) => stat.type === 'inbound-rtp' && stat.kind === 'video')?.framesDecoded ?? 0;
  };
}

/** Waits until frames of the page's video keep arriving at the client. */
async function waitForClientFrames(browser) {
  const before = await browser.evaluate('() => client.frames()');
  await waitFor('video at the client', async () => (await browser.evaluate('() => client.frames()')) >= before + 10, 30_000);
}

for (const kind of ['chromium', 'firefox']) {
  for (const role of ['answers', 'offers']) {
    harness.scenario(`${kind} is in a call with a client that never sends \`call\` and ${role}`, async () => {
      const url = harness.roomUrl();
      const [page, browser] = await Promise.all([harness.participant(kind), harness.participant('chromium')]);
      const joinPage = async () => {
        await page.open(url);
        await page.join();
      };
      const joinClient = async () => {
        await browser.open(`${harness.server.origin}/healthz`);
        await browser.evaluate(`() => (${startClient})('${url.split('/').at(-1)}')`);
      };
      if (role === 'answers') {
        await joinClient();
        await joinPage();
      } else {
        await joinPage();
        await page.waitForState('waiting');
        await joinClient();
      }
      await page.expectMedia();
      await waitForClientFrames(browser);
      assert.deepEqual(await page.evaluate(`() => globalThis.__observed.connections[0].localDescription.sdp.match(/^m=\\w+/gm)`), ['m=audio', 'm=video']);
      assert.equal(await page.evaluate(`() => document.querySelector('[data-act="chat"]').hidden`), true, 'a client without data channels has no chat');
      await browser.evaluate('() => client.restart()');
      await browser.waitForCondition('another answer', `client.connection.signalingState === 'stable'`);
      await page.evaluate('() => globalThis.webrtcBox.call.connection().restartIce()');
      await page.expectMedia();
      await waitForClientFrames(browser);
      assert.equal(await page.evaluate('() => globalThis.__observed.connections.length'), 1);
      assert.equal(await browser.evaluate('() => client.error ?? null'), null);
      await browser.evaluate('() => client.leave()');
      await page.waitForState(ENDED_STATES);
    });
  }
}
