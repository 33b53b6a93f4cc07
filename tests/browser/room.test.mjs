// Joining and leaving a room: rejoining after leaving, room occupancy in the lobby, a third participant, a reloaded page.

import assert from 'node:assert/strict';
import { createHarness, ENDED_STATES } from './lib/harness.mjs';

const harness = await createHarness('room');

harness.scenario('leaving ends the call for both, and both can rejoin the same room', async () => {
  const url = harness.roomUrl();
  const pair = await harness.joinPair(['chromium', 'firefox'], url);
  await harness.expectMedia(pair);
  await pair[1].leave();
  for (const participant of pair) await participant.waitForState(ENDED_STATES);
  for (const participant of pair) {
    await participant.open(url);
    await participant.join();
  }
  await harness.expectMedia(pair);
});

harness.scenario('a participant who leaves alone can rejoin the room', async () => {
  const url = harness.roomUrl();
  const participant = await harness.participant('chromium');
  await participant.open(url);
  await participant.join();
  await participant.waitForState('waiting');
  await participant.leave();
  await participant.waitForState(ENDED_STATES);
  await participant.open(url);
  await participant.join();
  await participant.waitForState('waiting');
});

harness.scenario('the lobby shows how many participants are in the room', async () => {
  const url = harness.roomUrl();
  const [first, second, third] = await Promise.all(['chromium', 'firefox', 'chromium'].map((kind) => harness.participant(kind)));
  await first.open(url);
  await first.waitForOccupancy(0);
  await first.join();
  await second.open(url);
  await second.waitForOccupancy(1);
  await second.join();
  await harness.expectMedia([first, second]);
  await third.open(url);
  await third.waitForOccupancy(2);
  await first.leave();
  await third.waitForOccupancy(0);
});

harness.scenario('a client that does not wait is told that the room is full, and the call goes on', async () => {
  const url = harness.roomUrl();
  const pair = await harness.joinPair(['chromium', 'chromium'], url);
  await harness.expectMedia(pair);
  const answer = await pair[0].evaluate(`() => new Promise((resolve) => {
    const socket = new WebSocket('wss://' + location.host + '/ws');
    socket.onopen = () => socket.send(JSON.stringify({ type: 'join', room: '${url.split('/').at(-1)}' }));
    socket.onmessage = ({ data }) => resolve(JSON.parse(data));
  })`);
  assert.deepEqual([answer.type, answer.code], ['error', 'room-full']);
  await harness.expectMedia(pair);
});

for (const [order, kinds] of [['first', ['chromium', 'firefox']], ['second', ['firefox', 'chromium']]]) {
  for (const query of ['', '?relay=1']) {
    const reloading = order === 'first' ? 0 : 1;
    harness.scenario(`a reloaded page rejoins the call (chromium joined ${order}${query && ', relayed'})`, async () => {
      const pair = await harness.joinPair(kinds, harness.roomUrl(query));
      await harness.expectMedia(pair);
      await pair[reloading].reload();
      // The page may rejoin by itself or show the lobby.
      if ((await pair[reloading].waitForState(['preview', 'joining', 'waiting', 'connecting', 'connected'])) === 'preview') {
        await pair[reloading].join().catch(() => {});
      }
      await harness.expectMedia(pair);
    });
  }
}
