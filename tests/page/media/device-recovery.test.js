import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BOTH_DEVICES, allTracks, input, makeHarness, Stream, Track, mediaError } from '../harness/media.js';
import { settle } from '../harness/fakes.js';

test('an unplugged microphone is replaced, stays muted, and is reported', async () => {
  let number = 0;
  const harness = makeHarness(({ audio, video }) => new Stream([...(audio ? [new Track('audio', { label: `mic ${number += 1}` })] : []), ...(video ? [new Track('video')] : [])]),
    { list: [input('audio', 'a'), input('audio', 'b'), input('video', 'c')] });
  const { media } = harness;
  await media.start();
  await media.setMic(false);
  media.micTrack().onended();
  assert.equal(media.state.error, 'mic-lost');
  await settle();
  assert.equal(media.micTrack().label, 'mic 2');
  assert.deepEqual([media.micTrack().enabled, media.state.mic], [false, false]);
  assert.deepEqual([media.state.error, media.state.label], ['device-switched', 'mic 2']);
  await harness.clock.advance(8000);
  assert.equal(media.state.error, null, 'a notice disappears by itself');
});

test('the only camera is recovered when it is plugged in again', async () => {
  let there = true;
  const harness = makeHarness((wanted) => {
    if (wanted.video && !there) throw mediaError('NotFoundError');
    return allTracks(wanted);
  }, { list: [input('audio', 'a'), input('video', 'c')] });
  const { media, requests } = harness;
  await media.start();
  there = false;
  harness.list = [input('audio', 'a')];
  media.outgoingTracks().video.onended();
  await settle();
  assert.deepEqual([media.state.error, media.state.cam, media.outgoingTracks().video], ['cam-lost', false, null]);
  assert.equal(requests.length, 1, 'without a device there is no request');
  there = true;
  await harness.plug(input('audio', 'a'), input('video', 'c'));
  assert.ok(media.outgoingTracks().video);
  assert.deepEqual([media.state.error, media.state.cam], [null, true]);
});

test('a camera taken by another program is retried with growing delay', async () => {
  let busy = false;
  const harness = makeHarness((wanted) => {
    if (wanted.video && busy) throw mediaError('NotReadableError');
    return allTracks(wanted);
  }, { list: [input('video', 'c')] });
  const { media, requests, clock } = harness;
  await media.start();
  busy = true;
  media.outgoingTracks().video.onended();
  await settle();
  await clock.advance(60_000);
  assert.ok(requests.length > 4 && requests.length < 10, `${requests.length} times`);
  busy = false;
  media.pageVisible();
  await settle();
  assert.ok(media.outgoingTracks().video);
  assert.deepEqual(harness.errors, [null, 'cam-lost', null], 'failed attempts are not reported');
  const before = requests.length;
  await clock.advance(60_000);
  assert.equal(requests.length, before);
});

test('a recovered microphone does not hide that the camera is lost', async () => {
  let busy = false;
  const harness = makeHarness((wanted) => {
    if (busy) throw mediaError('NotReadableError');
    return allTracks(wanted);
  }, { list: [input('audio', 'a'), input('video', 'c')] });
  const { media } = harness;
  await media.start();
  busy = true;
  media.outgoingTracks().video.onended();
  media.micTrack().onended();
  await settle();
  assert.equal(media.state.error, 'mic-lost');
  busy = false;
  harness.list = [input('audio', 'a')];
  media.pageVisible();
  await settle();
  assert.ok(media.micTrack());
  assert.deepEqual([media.state.mic, media.state.error], [true, 'cam-lost']);
});

test('a denial during recovery is reported and ends the attempts', async () => {
  let refused = false;
  const harness = makeHarness((wanted) => {
    if (refused) throw mediaError('NotAllowedError');
    return allTracks(wanted);
  }, { list: [input('video', 'c')] });
  const { media, requests, clock } = harness;
  await media.start();
  refused = true;
  media.outgoingTracks().video.onended();
  await settle();
  assert.equal(media.state.error, 'camera-denied');
  await clock.advance(60_000);
  media.pageVisible();
  await harness.plug(input('video', 'c'), input('video', 'd'));
  assert.equal(requests.length, 2);
  refused = false;
  await media.retry();
  assert.deepEqual([media.state.cam, media.state.error], [true, null]);
});

test('switching off a lost device ends its recovery', async () => {
  const harness = makeHarness(allTracks, { list: [] });
  const { media, requests } = harness;
  await media.start();
  media.outgoingTracks().video.onended();
  await settle();
  await media.setCam(false);
  await harness.plug(input('video', 'c'));
  assert.equal(requests.length, 1);
});

test('recovery continues after a failed request by the person', async () => {
  let busy = false;
  const answers = [];
  const { media, clock } = makeHarness((wanted) => (busy ? new Promise((done, refuse) => { answers.push({ resolve: () => done(allTracks(wanted)), refuse }); }) : allTracks(wanted)), BOTH_DEVICES);
  await media.start();
  busy = true;
  media.outgoingTracks().video.onended();
  await settle();
  const pressed = media.setCam(true);
  await settle();
  assert.equal(answers.length, 1, 'it waits for the previous answer');
  answers[0].resolve();
  await settle();
  assert.deepEqual([answers.length, media.outgoingTracks().video], [2, null], 'the newest request counts');
  await clock.advance(60_000);
  assert.equal(answers.length, 2, 'during a request there is no second one');
  answers[1].refuse(mediaError('NotReadableError'));
  await pressed;
  assert.equal(media.state.error, 'device-busy');
  await clock.advance(15_000);
  answers[2].resolve();
  await settle();
  assert.ok(media.outgoingTracks().video);
  assert.equal(media.state.error, null);
});
