// The picture of a call over time: a camera with the detail of a real one, a recorder of what each participant sends and
// receives, and a bare page to compare with: one RTCPeerConnection with the browser's defaults.

import { open, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { waitFor } from './wait.mjs';

/** Two encoders in software share the machine: at 30 frames a second they would measure the processor. */
export const CAMERA_FPS = 20;
const MOMENTS_MS = [2000, 3000, 5000];
/** After three seconds. */
const MIN_PIXELS = 960 * 540;

/** A head in front of a room, both with texture, and the noise of a sensor: about as hard to encode as a real camera. */
export async function writeCameraFile(file, { width = 1280, height = 720, fps = 30, frames = 2 * fps } = {}) {
  const target = await open(file, 'w');
  try {
    await target.write(`YUV4MPEG2 W${width} H${height} F${fps}:1 Ip A1:1 C420jpeg\n`);
    const texture = makeTexture(width, height);
    for (let frame = 0; frame < frames; frame += 1) await target.write(Buffer.concat([Buffer.from('FRAME\n'), drawFrame(texture, width, height, frame / frames)]));
  } finally {
    await target.close();
  }
  return file;
}

/** Smooth random brightness on several scales, from -60 to 60. */
function makeTexture(width, height) {
  const texture = new Float32Array(width * height);
  let seed = 7;
  const random = () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
  for (const [scale, strength] of [[96, 60], [24, 30], [8, 20]]) {
    const columns = Math.ceil(width / scale) + 2;
    const grid = Float32Array.from({ length: columns * (Math.ceil(height / scale) + 2) }, () => (random() - 0.5) * strength);
    for (let y = 0; y < height; y += 1) {
      const [row, dy] = [Math.floor(y / scale), (y % scale) / scale];
      for (let x = 0; x < width; x += 1) {
        const [column, dx] = [Math.floor(x / scale), (x % scale) / scale];
        const at = row * columns + column;
        const above = grid[at] + (grid[at + 1] - grid[at]) * dx;
        const below = grid[at + columns] + (grid[at + columns + 1] - grid[at + columns]) * dx;
        texture[y * width + x] += above + (below - above) * dy;
      }
    }
  }
  return texture;
}

/** The frame at `position` in the loop, 0 to 1, as planar YUV 4:2:0. */
function drawFrame(texture, width, height, position) {
  const frame = Buffer.alloc((width * height * 3) / 2, 128);
  const swing = Math.sin(position * 2 * Math.PI);
  const [headX, headY] = [Math.round(width * (0.5 + 0.04 * swing)), Math.round(height * (0.55 + 0.02 * Math.sin(position * 4 * Math.PI)))];
  const [radiusX, radiusY] = [width * 0.16, height * 0.4];
  let noise = 1 + Math.round(position * 1e6);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const isHead = ((x - headX) / radiusX) ** 2 + ((y - headY) / radiusY) ** 2 < 1;
      // The texture of the head moves with it.
      const at = isHead ? ((y - headY + height) % height) * width + ((x - headX + width) % width) : y * width + x;
      noise = (noise * 1_103_515_245 + 12_345) & 0x7fffffff;
      frame[y * width + x] = Math.max(16, Math.min(235, (isHead ? 150 : 100) + texture[at] + ((noise >> 16) & 3)));
    }
  }
  return frame;
}

/** Init script: records the newest connection five times a second from the time it is connected, in `__picture`. */
export const RECORD_PICTURE = `${function recordPicture() {
  const picture = globalThis.__picture = { samples: [], shots: {} };
  const SHOTS = [500, 1000, 2000, 5000];
  let [connection, connectedAt] = [null, 0];

  async function sample() {
    const newest = globalThis.__observed?.connections.at(-1);
    if (newest?.connectionState !== 'connected') return;
    if (newest !== connection) {
      [connection, connectedAt] = [newest, performance.now()];
      Object.assign(picture, { samples: [], shots: {} });
    }
    const report = await newest.getStats();
    const entry = (type, kind) => [...report.values()].find((each) => each.type === type && (!kind || each.kind === kind));
    const [inbound, outbound] = [entry('inbound-rtp', 'video') ?? {}, entry('outbound-rtp', 'video') ?? {}];
    const pair = [...report.values()].find((each) => each.type === 'candidate-pair' && each.nominated && each.bytesSent > 0);
    picture.samples.push({
      at: performance.now() - connectedAt,
      width: inbound.frameWidth ?? 0, height: inbound.frameHeight ?? 0, frames: inbound.framesDecoded ?? 0,
      freezes: inbound.freezeCount ?? 0, frozen: inbound.totalFreezesDuration ?? 0, bytes: inbound.bytesReceived ?? 0,
      codec: report.get(inbound.codecId)?.mimeType, sent: { width: outbound.frameWidth, height: outbound.frameHeight, frames: outbound.framesEncoded,
        limit: outbound.qualityLimitationReason, target: outbound.targetBitrate, encodeTime: outbound.totalEncodeTime, encoder: outbound.encoderImplementation,
        qp: outbound.qpSum, available: pair?.availableOutgoingBitrate },
    });
    takeShot();
  }

  function takeShot() {
    const due = SHOTS.find((at) => !(at in picture.shots) && performance.now() - connectedAt >= at);
    const video = document.getElementById('remote');
    if (due === undefined || !video) return;
    const canvas = Object.assign(document.createElement('canvas'), { width: video.videoWidth || 16, height: video.videoHeight || 9 });
    canvas.getContext('2d').drawImage(video, 0, 0, canvas.width, canvas.height);
    picture.shots[due] = canvas.toDataURL('image/jpeg', 0.9);
  }

  setInterval(() => { sample().catch(() => {}); }, 200);
}}`;

/** Makes the current document a bare page: `__bare` has the camera and one connection with these servers. */
const BARE_PAGE = `${async function barePage(iceServers) {
  document.body.replaceChildren();
  const video = Object.assign(document.createElement('video'), { id: 'remote', autoplay: true, muted: true });
  document.body.append(video);
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 1280, height: 720 } });
  const pc = new RTCPeerConnection({ iceServers });
  for (const track of stream.getTracks()) pc.addTrack(track, stream);
  pc.ontrack = ({ streams }) => { video.srcObject = streams[0]; };
  globalThis.__bare = {
    async describe(remote) {
      if (remote) await pc.setRemoteDescription(remote);
      if (remote?.type === 'answer') return null;
      await pc.setLocalDescription();
      while (pc.iceGatheringState !== 'complete') await new Promise((resolve) => pc.addEventListener('icegatheringstatechange', resolve, { once: true }));
      return pc.localDescription.toJSON();
    },
  };
}}`;

/** Connects two participants that are at a page of the server without scripts. */
async function connectBarePages([first, second], iceServers) {
  const describe = (participant, remote) => participant.evaluate(`() => __bare.describe(${JSON.stringify(remote)})`);
  for (const each of [first, second]) await each.evaluate(`() => (${BARE_PAGE})(${JSON.stringify(iceServers)})`);
  await describe(first, await describe(second, await describe(first, null)));
}

/** The first sample at or after `ms` since the connection was connected. */
const sampleAt = (samples, ms) => samples.find(({ at }) => at >= ms) ?? samples.at(-1);

/** What each participant receives in the first seconds; the first frames are saved as `file`-1-500.jpg and so on. */
async function recordPair(pair, file) {
  return Promise.all(pair.map(async (participant, index) => {
    const { samples, shots } = await waitFor('the first seconds', async () => {
      const picture = await participant.evaluate('() => __picture');
      return picture.samples.at(-1)?.at >= MOMENTS_MS.at(-1) + 200 && picture;
    });
    for (const [ms, shot] of Object.entries(shots)) await writeFile(`${file}-${index + 1}-${ms}.jpg`, Buffer.from(shot.split(',')[1], 'base64'));
    return samples;
  }));
}

/**
 * Records the call of two participants with `RECORD_PICTURE`, then two bare pages over the same path, and prints both. Saves the
 * first frames in the harness's folder. Returns what each participant had at each moment, with the goal in pixels.
 */
export async function comparePictures(harness, pair, name) {
  const file = path.join(harness.dir, name.replace(/\W+/g, '-'));
  const ours = await recordPair(pair, `${file}-page`);
  const { iceServers } = await pair[0].evaluate('() => webrtcBox.call.connection().getConfiguration()');
  for (const each of pair) await each.open(`${harness.server.origin}/no-such-page`);
  await connectBarePages(pair, iceServers);
  const bare = await recordPair(pair, `${file}-bare`);
  return ours.flatMap((samples, index) => MOMENTS_MS.map((ms) => {
    const [own, plain] = [sampleAt(samples, ms), sampleAt(bare[index], ms)];
    const goal = Math.max(2 * plain.width * plain.height, ms === 3000 ? MIN_PIXELS : 0);
    console.log(`measurement: ${name}: picture at participant ${index + 1} after ${ms} ms: ${own.width}×${own.height}, `
      + `bare page ${plain.width}×${plain.height} (goal ${goal} pixels: ${own.width * own.height}); freezes ${own.freezes}, bare page ${plain.freezes}`);
    return { own, goal };
  }));
}
