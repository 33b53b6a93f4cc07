import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pickSpeaker } from '../../../public/media/device-selection.js';
import { BOTH_DEVICES, allTracks, input, storageOf, makeControlledDevices, makeHarness, Stream, Track, mediaError } from '../harness/media.js';
import { settle } from '../harness/fakes.js';

test('another camera is opened only after the previous one is released', async () => {
  let before;
  const { media } = makeHarness((wanted) => {
    if (before) assert.ok(before.stopped);
    return allTracks(wanted);
  });
  await media.start();
  before = media.outgoingTracks().video;
  await media.select('videoinput', 'back');
  assert.ok(media.outgoingTracks().video && media.outgoingTracks().video !== before);
});

test('leaving while another camera is opened stops that camera', async () => {
  let answer;
  const { media, requests } = makeHarness((wanted) => (answer ? new Promise((done) => { answer = () => done(allTracks(wanted)); }) : allTracks(wanted)));
  await media.start();
  answer = () => {};
  const selection = media.select('videoinput', 'other');
  await settle();
  media.stop();
  answer();
  await settle();
  await Promise.race([selection, settle()]);
  assert.deepEqual([requests.length, media.outgoingTracks().video], [2, null]);
});

test('leaving after a failed camera does not reopen the previous one', async () => {
  let leave = false;
  const harness = makeHarness((wanted) => {
    leave = wanted.video.deviceId?.exact === 'broken';
    if (leave) throw mediaError('NotReadableError');
    return allTracks(wanted);
  });
  const { media, requests } = harness;
  Object.defineProperty(harness, 'list', { get() {
    if (leave) media.stop();
    return [];
  } });
  await media.start();
  await media.select('videoinput', 'broken');
  assert.deepEqual([requests.length, media.outgoingTracks().video], [2, null]);
});

test('a camera that fails gives way to the previous one, with its error', async () => {
  const { media } = makeHarness((wanted) => {
    if (wanted.video?.deviceId?.exact === 'broken') throw mediaError('NotReadableError');
    return allTracks(wanted);
  });
  await media.start();
  await media.select('videoinput', 'broken');
  assert.ok(media.outgoingTracks().video);
  assert.deepEqual([media.state.error, media.state.cam], ['device-busy', true]);
});

test('a failed camera is not saved, and the fallback is the last one that ran', async () => {
  const storage = storageOf();
  const { answer, waiting, hold } = makeControlledDevices();
  const { media } = makeHarness(answer, { storage });
  await media.start();
  await media.select('videoinput', 'ran');
  hold();
  const first = media.select('videoinput', 'slow');
  await settle();
  const second = media.select('videoinput', 'broken');
  waiting.slow.resolve();
  await settle();
  waiting.broken.refuse(mediaError('NotReadableError'));
  await settle();
  waiting.ran.resolve();
  await Promise.all([first, second]);
  assert.deepEqual([media.outgoingTracks().video.id, storage.now().videoinput, media.state.error], ['ran', 'ran', 'device-busy']);
});

test('a camera selected during a fallback does not show the earlier error', async () => {
  const { answer, waiting, hold } = makeControlledDevices();
  const { media } = makeHarness(answer);
  await media.start();
  hold();
  const first = media.select('videoinput', 'broken');
  await settle();
  waiting.broken.refuse(mediaError('NotReadableError'));
  await settle();
  const second = media.select('videoinput', 'fine');
  await settle();
  waiting.undefined.resolve();
  await settle();
  waiting.fine.resolve();
  await Promise.all([first, second]);
  assert.deepEqual([media.outgoingTracks().video.id, media.state.error, waiting.undefined.stream.getTracks()[0].stopped], ['fine', null, true]);
});

test('while another camera is opened the state shows none', async () => {
  const { answer, waiting, hold } = makeControlledDevices();
  const { media, seen } = makeHarness(answer);
  await media.start();
  const camera = media.outgoingTracks().video;
  hold();
  const selection = media.select('videoinput', 'other');
  await settle();
  assert.equal(seen.at(-1), null, 'the previous one is reported as gone');
  assert.equal(media.state.selected.videoinput, 'other', 'the list keeps the selection');
  waiting.other.resolve();
  await selection;
  assert.deepEqual([camera.stopped, seen.at(-1)?.id], [true, 'other']);
});

test('front and back camera flip, and the back camera is not mirrored', async () => {
  const list = [input('video', 'front'), input('video', 'back')];
  const storage = storageOf();
  const { media } = makeHarness(({ audio, video }) => new Stream([...(audio ? [new Track('audio')] : []), ...(video ? [new Track('video', { facingMode: video.facingMode })] : [])]), { list, storage });
  await media.start();
  assert.deepEqual([media.state.canFlip, media.state.mirrored], [true, true]);
  const front = media.outgoingTracks().video;
  await media.flip();
  assert.ok(front.stopped);
  assert.equal(media.outgoingTracks().video.facingMode, 'environment');
  assert.equal(media.state.mirrored, false);
  assert.equal(storage.now().facing, 'environment');
  await media.flip();
  assert.equal(media.state.mirrored, true);
});

test('the selection is used at the next visit, also under another id', async () => {
  const storage = storageOf();
  const list = [input('audio', 'a', 'Desk'), input('audio', 'b', 'Headset')];
  const byId = (wanted) => new Stream([...(wanted.audio ? [new Track('audio', { id: wanted.audio.deviceId?.exact ?? 'a' })] : []), ...(wanted.video ? [new Track('video')] : [])]);
  const first = makeHarness(byId, { storage, list });
  await first.media.start();
  await first.media.select('audioinput', 'b');
  await first.media.select('audiooutput', 'loud');
  const second = makeHarness(byId, { storage, list });
  await second.media.start();
  assert.equal(second.requests[0].audio.deviceId.exact, 'b');
  assert.deepEqual([second.media.state.selected.audioinput, second.media.state.selected.audiooutput], ['b', 'loud']);
  const third = makeHarness((wanted) => byId(wanted.audio?.deviceId?.exact === 'b' ? { ...wanted, audio: {} } : wanted),
    { storage, list: [input('audio', 'a', 'Desk'), input('audio', 'x', 'Headset')] });
  await third.media.start();
  assert.equal(third.media.micTrack().id, 'x');
});

test('malformed or missing stored preferences change nothing', async () => {
  for (const storage of [{ getItem: () => '[1,', setItem() { throw new Error('full'); } }, { getItem: () => '{"facing":7,"labels":3,"audioinput":{}}', setItem() {} }, undefined]) {
    const { media } = makeHarness(allTracks, { storage });
    await media.start();
    await media.select('audioinput', 'b');
    assert.ok(media.outgoingTracks().audio && media.outgoingTracks().video);
  }
});

/** Selects two devices before the browser answers; asserts that the last one runs. */
async function selectTwo(kind, answerBoth) {
  const { answer, waiting, hold } = makeControlledDevices();
  const storage = storageOf();
  const { media, clock, cameras } = makeHarness(answer, { storage });
  await media.start();
  hold();
  const both = ['one', 'two'].map((id) => media.select(kind, id));
  await settle();
  await answerBoth({ waiting, clock, cameras, media });
  await Promise.all(both);
  const own = kind === 'audioinput' ? media.micTrack() : media.outgoingTracks().video;
  assert.deepEqual([own.id, own.stopped, waiting.one.stream.getTracks()[0].stopped], ['two', false, true]);
  assert.deepEqual([media.state.selected[kind], storage.now()[kind], media.state.error], ['two', 'two', null]);
}

for (const order of [['one', 'two'], ['two', 'one']]) {
  test(`of two microphones selected quickly the last runs (arrival ${order})`, () => selectTwo('audioinput', async ({ waiting }) => {
    for (const id of order) {
      waiting[id].resolve();
      await settle();
    }
  }));
}

test('of two cameras selected quickly the last runs, after the first stops', () => selectTwo('videoinput', async ({ waiting, cameras, media }) => {
  assert.equal(waiting.two, undefined);
  assert.equal(media.state.selected.videoinput, 'two', 'the list shows the last one at once');
  waiting.one.resolve();
  await settle();
  assert.ok(waiting.one.stream.getTracks()[0].stopped && waiting.two);
  waiting.two.resolve();
  await settle();
  assert.equal(cameras.maximum, 1);
}));

test('of two cameras the last runs even if the first request stays open', () => selectTwo('videoinput', async ({ waiting, clock }) => {
  await clock.advance(9999);
  assert.equal(waiting.two, undefined);
  await clock.advance(1);
  waiting.two.resolve();
  await settle();
  waiting.one.resolve();
}));

test('of many cameras selected during a request only the last is requested', async () => {
  const { answer, waiting, hold } = makeControlledDevices();
  const { media } = makeHarness(answer);
  await media.start();
  hold();
  const all = ['one', 'two', 'three', 'four'].map((id) => media.select('videoinput', id));
  await settle();
  waiting.one.refuse(mediaError('NotReadableError'));
  await settle();
  assert.deepEqual(Object.keys(waiting), ['one', 'four']);
  waiting.four.resolve();
  await Promise.all(all);
  assert.deepEqual([media.outgoingTracks().video.id, media.state.error], ['four', null]);
});

test('a camera selected after a failed one is not undone', async () => {
  const harness = makeHarness(({ audio, video }) => {
    if (video?.deviceId?.exact === 'broken') throw mediaError('NotReadableError');
    return new Stream([...(audio ? [new Track('audio')] : []), ...(video ? [new Track('video', { id: video.deviceId?.exact })] : [])]);
  });
  const { media } = harness;
  await media.start();
  let second;
  Object.defineProperty(harness, 'list', { get() {
    if (media.state.error) second ??= media.select('videoinput', 'fine');
    return [];
  } });
  await media.select('videoinput', 'broken');
  await second;
  assert.deepEqual([media.outgoingTracks().video.id, media.state.error], ['fine', null]);
});

for (const [kind, own] of [['audioinput', (media) => media.micTrack()], ['videoinput', (media) => media.outgoingTracks().video]]) {
  test(`a device selected while one is lost is requested at once (${kind})`, async () => {
    let busy = false;
    const { media, requests } = makeHarness((wanted) => {
      if (busy && (wanted.audio ?? wanted.video).deviceId?.exact !== 'other') throw mediaError('NotReadableError');
      return allTracks(wanted);
    }, BOTH_DEVICES);
    await media.start();
    busy = true;
    own(media).onended();
    await settle();
    const before = requests.length;
    await media.select(kind, 'other');
    assert.equal(requests.length, before + 1);
    assert.ok(own(media));
    assert.equal(media.state.error, null);
  });
}

test('pickSpeaker returns an ID, or null where the dialog is closed or missing', async () => {
  assert.equal(await pickSpeaker({ selectAudioOutput: async () => ({ deviceId: 'headset' }) }), 'headset');
  assert.equal(await pickSpeaker({ selectAudioOutput: async () => { throw new DOMException('no', 'NotAllowedError'); } }), null);
  assert.equal(await pickSpeaker({}), null);
  assert.equal(await pickSpeaker(undefined), null);
});
