// A program: takes the screenshot of a call for the README, docs/call.png, or FILE.
//
//   node tests/browser/readme-screenshot.mjs [FILE]

import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { PERSON_A, PERSON_B, renderCameraVideo } from './lib/camera-video.mjs';
import { createCertificateAuthority } from './lib/certificate-authority.mjs';
import { launchParticipant } from './lib/participant.mjs';
import { startServer } from './lib/server.mjs';
import { waitFor } from './lib/wait.mjs';
import { createWorkDir, root } from './lib/workspace.mjs';

const file = path.resolve(process.argv[2] ?? path.join(root, 'docs/call.png'));
const dir = await createWorkDir('readme-screenshot');
const authority = await createCertificateAuthority(path.join(dir, 'authority'));
const server = await startServer({ dir: path.join(dir, 'server'), authority });
const participants = [];
try {
  for (const [name, person] of Object.entries({ a: PERSON_A, b: PERSON_B })) {
    const cameraVideo = await renderCameraVideo(path.join(dir, `person-${name}.mjpeg`), person, { dir, ca: authority.ca });
    const participant = await launchParticipant('chromium', { dir, ca: authority.ca, cameraVideo, size: { width: 1440, height: 900 } });
    participants.push(participant);
    await participant.open(`${server.origin}/r/maya-and-tom`);
    await participant.join();
  }
  await Promise.all(participants.map((participant) => participant.expectMedia()));
  await waitFor('video in full resolution', async () => (await participants[1].stats()).width >= 1280, 60_000);
  await participants[1].movePointer();
  await mkdir(path.dirname(file), { recursive: true });
  console.log(await participants[1].screenshot(file));
} finally {
  await Promise.all(participants.map((participant) => participant.close()));
  await server.stop();
}
