import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BOTH_THERE, everything, input, stageOf, Stream, Track, trouble } from './media-stage.js';
import { settle } from './stage.js';

test('a microphone that is unplugged is replaced by another, muted as it was, and told', async () => {
  let number = 0;
  const stage = stageOf(({ audio, video }) => new Stream([...(audio ? [new Track('audio', { label: `mic ${number += 1}` })] : []), ...(video ? [new Track('video')] : [])]),
    { list: [input('audio', 'a'), input('audio', 'b'), input('video', 'c')] });
  const { media } = stage;
  await media.start();
  await media.setMic(false);
  media.voice().onended();
  assert.equal(media.state.trouble, 'mic-lost');
  await settle();
  assert.equal(media.voice().label, 'mic 2');
  assert.deepEqual([media.voice().enabled, media.state.mic], [false, false]);
  assert.deepEqual([media.state.trouble, media.state.label], ['device-switched', 'mic 2']);
  await stage.clock.advance(8000);
  assert.equal(media.state.trouble, null, 'a notice goes by itself');
});

test('the only camera, unplugged, is waited for and had again when it is plugged in', async () => {
  let there = true;
  const stage = stageOf((wanted) => {
    if (wanted.video && !there) throw trouble('NotFoundError');
    return everything(wanted);
  }, { list: [input('audio', 'a'), input('video', 'c')] });
  const { media, asked } = stage;
  await media.start();
  there = false;
  stage.list = [input('audio', 'a')];
  media.outgoing().video.onended();
  await settle();
  assert.deepEqual([media.state.trouble, media.state.cam, media.outgoing().video], ['cam-lost', false, null]);
  assert.equal(asked.length, 1, 'where there is none, nobody is asked');
  there = true;
  await stage.plug(input('audio', 'a'), input('video', 'c'));
  assert.ok(media.outgoing().video);
  assert.deepEqual([media.state.trouble, media.state.cam], [null, true]);
});

test('a camera that another program took is asked for again, less and less often', async () => {
  let busy = false;
  const stage = stageOf((wanted) => {
    if (wanted.video && busy) throw trouble('NotReadableError');
    return everything(wanted);
  }, { list: [input('video', 'c')] });
  const { media, asked, clock } = stage;
  await media.start();
  busy = true;
  media.outgoing().video.onended();
  await settle();
  await clock.advance(60_000);
  assert.ok(asked.length > 4 && asked.length < 10, `${asked.length} times`);
  busy = false;
  media.wake();
  await settle();
  assert.ok(media.outgoing().video);
  assert.deepEqual(stage.troubles, [null, 'cam-lost', null], 'what fails while it tries is no news');
  const before = asked.length;
  await clock.advance(60_000);
  assert.equal(asked.length, before);
});

test('a microphone that is back does not hide that the camera is still gone', async () => {
  let busy = false;
  const stage = stageOf((wanted) => {
    if (busy) throw trouble('NotReadableError');
    return everything(wanted);
  }, { list: [input('audio', 'a'), input('video', 'c')] });
  const { media } = stage;
  await media.start();
  busy = true;
  media.outgoing().video.onended();
  media.voice().onended();
  await settle();
  assert.equal(media.state.trouble, 'mic-lost');
  busy = false;
  stage.list = [input('audio', 'a')];
  media.wake();
  await settle();
  assert.ok(media.voice());
  assert.deepEqual([media.state.mic, media.state.trouble], [true, 'cam-lost']);
});

test('a refusal while it tries is told, and not asked about again', async () => {
  let refused = false;
  const stage = stageOf((wanted) => {
    if (refused) throw trouble('NotAllowedError');
    return everything(wanted);
  }, { list: [input('video', 'c')] });
  const { media, asked, clock } = stage;
  await media.start();
  refused = true;
  media.outgoing().video.onended();
  await settle();
  assert.equal(media.state.trouble, 'camera-denied');
  await clock.advance(60_000);
  media.wake();
  await stage.plug(input('video', 'c'), input('video', 'd'));
  assert.equal(asked.length, 2);
  refused = false;
  await media.again();
  assert.deepEqual([media.state.cam, media.state.trouble], [true, null]);
});

test('who switches off what was lost is left alone', async () => {
  const stage = stageOf(everything, { list: [] });
  const { media, asked } = stage;
  await media.start();
  media.outgoing().video.onended();
  await settle();
  await media.setCam(false);
  await stage.plug(input('video', 'c'));
  assert.equal(asked.length, 1);
});

test('what is lost is tried for again after the person asked in vain', async () => {
  let busy = false;
  const answers = [];
  const { media, clock } = stageOf((wanted) => (busy ? new Promise((done, refuse) => { answers.push({ give: () => done(everything(wanted)), refuse }); }) : everything(wanted)), BOTH_THERE);
  await media.start();
  busy = true;
  media.outgoing().video.onended();
  await settle();
  const pressed = media.setCam(true);
  await settle();
  assert.equal(answers.length, 1, 'it waits for the answer to the one before');
  answers[0].give();
  await settle();
  assert.deepEqual([answers.length, media.outgoing().video], [2, null], 'the newest question counts');
  await clock.advance(60_000);
  assert.equal(answers.length, 2, 'while it asks aloud it does not ask quietly as well');
  answers[1].refuse(trouble('NotReadableError'));
  await pressed;
  assert.equal(media.state.trouble, 'device-busy');
  await clock.advance(15_000);
  answers[2].give();
  await settle();
  assert.ok(media.outgoing().video);
  assert.equal(media.state.trouble, null);
});
