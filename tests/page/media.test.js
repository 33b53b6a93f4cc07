import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeMedia } from '../../public/media.js';
import { mediaCode, screenCode } from '../../public/media-trouble.js';
import { makeClock, settle } from './stage.js';

const trouble = (name, message = '') => Object.assign(new Error(message), { name });

test('every refusal has its code', () => {
  const codes = {
    'camera-denied': trouble('NotAllowedError', 'Permission denied'),
    'camera-denied-system': trouble('NotAllowedError', 'Permission denied by system'),
    'device-not-found': trouble('NotFoundError'),
    'device-busy': trouble('NotReadableError'),
    'device-unfit': trouble('OverconstrainedError'),
    'blocked-by-site': trouble('SecurityError'),
    'device-trouble': trouble('SomethingNew'),
  };
  for (const [code, error] of Object.entries(codes)) assert.equal(mediaCode(error), code);
  for (const junk of [undefined, null, 'x', 7]) assert.equal(mediaCode(junk), 'device-trouble');
});

test('a screen that is refused by anybody but the person is told as such', () => {
  const codes = [
    [null, trouble('NotAllowedError', 'Permission denied')],
    [null, trouble('NotAllowedError', 'The request is not allowed by the user agent or the platform in the current context.')],
    ['screen-denied-system', trouble('NotAllowedError', 'Permission denied by system')],
    ['screen-blocked', trouble('SecurityError')],
    ['screen-not-found', trouble('NotFoundError')],
    ...['NotReadableError', 'AbortError', 'InvalidStateError', 'OverconstrainedError', 'TypeError', 'SomethingNew'].map((name) => ['screen-failed', trouble(name)]),
  ];
  for (const [code, error] of codes) assert.equal(screenCode(error, true), code, error.message);
  assert.equal(screenCode(trouble('NotAllowedError'), false), 'screen-blocked');
});

class Track {
  enabled = true;
  stopped = false;
  muted = false;
  constructor(kind, { id = `${kind}-1`, label = '', facingMode } = {}) { Object.assign(this, { kind, id, label, facingMode }); }
  stop() { this.stopped = true; }
  getSettings() { return { deviceId: this.id, ...(this.facingMode && { facingMode: this.facingMode }) }; }
}

class Stream {
  constructor(tracks = []) { this.tracks = [...tracks]; }
  addTrack(track) { this.tracks.push(track); }
  getTracks() { return this.tracks; }
  getVideoTracks() { return this.tracks.filter((track) => track.kind === 'video'); }
  getAudioTracks() { return this.tracks.filter((track) => track.kind === 'audio'); }
}

/** Mixes by name: what comes out says what went in. */
class Context {
  static open = 0;
  constructor() { Context.open += 1; }
  createMediaStreamDestination() {
    const track = new Track('audio', { label: '' });
    return { stream: new Stream([track]), track };
  }
  createMediaStreamSource(stream) { return { connect: ({ track }) => { track.label += `[${stream.getTracks()[0].label}]`; } }; }
  async close() { Context.open -= 1; }
}
globalThis.MediaStream ??= Stream;

const input = (kind, deviceId, label = deviceId) => ({ kind: `${kind}input`, deviceId, label });

function stageOf(answer, { memory, permissions, allowed, list = [], screen = () => new Stream([new Track('video')]) } = {}) {
  const clock = makeClock();
  const asked = [];
  const heard = {};
  const troubles = [];
  const seen = [];
  const devices = {
    async getUserMedia(wanted) {
      asked.push(wanted);
      return answer(wanted);
    },
    getDisplayMedia: async (wanted) => screen(wanted),
    enumerateDevices: async () => stage.list,
    addEventListener: (event, fn) => { heard[event] = fn; },
  };
  const media = makeMedia({ devices, memory, permissions, allowed, clock, now: () => clock.now() + stage.frozen, hidden: () => stage.hidden, newStream: () => new Stream(), newContext: () => new Context(),
    changed: () => {
      seen.push(media?.outgoing().video);
      if (media && troubles.at(-1) !== media.state.trouble) troubles.push(media.state.trouble);
    } });
  /** `troubles`: one after the other, as they were told. `seen`: the picture, at each change. `frozen`: ms that passed without a timer of the page. */
  const stage = { media, hidden: false, frozen: 0, clock, asked, list, troubles, seen, plug: async (...now) => {
    stage.list = now;
    heard.devicechange();
    await settle();
  } };
  return stage;
}

const everything = ({ audio, video }) => new Stream([...(audio ? [new Track('audio')] : []), ...(video ? [new Track('video')] : [])]);

test('camera and microphone come with one question', async () => {
  const { media, asked } = stageOf(everything);
  await media.start();
  assert.equal(asked.length, 1);
  assert.ok(media.outgoing().audio && media.outgoing().video);
});

test('without a camera there is sound, without asking the person again', async () => {
  const { media } = stageOf((wanted) => {
    if (wanted.video) throw trouble('NotFoundError');
    return everything(wanted);
  });
  await media.start();
  assert.ok(media.outgoing().audio);
  assert.equal(media.outgoing().video, null);
  assert.equal(media.state.trouble, 'device-not-found');
  assert.deepEqual([media.state.mic, media.state.cam], [true, false]);
});

test('a refusal is not asked a second time', async () => {
  const { media, asked } = stageOf(() => { throw trouble('NotAllowedError'); });
  await media.start();
  assert.equal(asked.length, 1);
  assert.equal(media.state.trouble, 'camera-denied');
});

test('an insecure page says so instead of failing', async () => {
  const media = makeMedia({ devices: undefined, secure: false, clock: makeClock(), newStream: () => new Stream(), changed() {} });
  await media.start();
  assert.equal(media.state.trouble, 'insecure-origin');
});

test('a question left open for long shows a hint and goes on waiting', async () => {
  let answer;
  const { media, clock } = stageOf(() => new Promise((done) => { answer = done; }));
  const started = media.start();
  await clock.advance(20_000);
  assert.equal(media.state.trouble, 'timeout');
  assert.ok(media.state.asking);
  answer(everything({ audio: true, video: true }));
  await started;
  assert.equal(media.state.trouble, null);
  assert.ok(media.outgoing().video);
});

test('an answer that comes after leaving is let go', async () => {
  let answer;
  const { media } = stageOf(() => new Promise((done) => { answer = done; }));
  const started = media.start();
  await settle();
  media.stop();
  const late = everything({ audio: true, video: true });
  answer(late);
  await started;
  assert.ok(late.getTracks().every((track) => track.stopped));
  assert.equal(media.outgoing().video, null);
});

test('switching the camera off lets go of it', async () => {
  const { media } = stageOf(everything);
  await media.start();
  const camera = media.outgoing().video;
  await media.setCam(false);
  assert.ok(camera.stopped);
  await media.setCam(true);
  assert.ok(media.outgoing().video);
});

test('another camera is opened only after the one before is let go', async () => {
  let before;
  const { media } = stageOf((wanted) => {
    if (before) assert.ok(before.stopped);
    return everything(wanted);
  });
  await media.start();
  before = media.outgoing().video;
  await media.choose('videoinput', 'back');
  assert.ok(media.outgoing().video && media.outgoing().video !== before);
});

test('a shared screen takes the place of the camera and gives it back', async () => {
  const { media } = stageOf(everything);
  await media.start();
  const camera = media.outgoing().video;
  await media.setScreen(true);
  assert.notEqual(media.outgoing().video, camera);
  media.outgoing().video.onended();
  await settle();
  assert.equal(media.outgoing().video, camera);
});

test('what is switched off while the browser asks stays off when the answer comes', async () => {
  let answer;
  const { media } = stageOf((wanted) => new Promise((done) => { answer = () => done(everything(wanted)); }));
  const started = media.start();
  await settle();
  await media.setMic(false);
  await media.setCam(false);
  answer();
  await started;
  assert.deepEqual([media.state.mic, media.state.cam, media.outgoing().video], [false, false, null]);
  assert.equal(media.voice().enabled, false);
  assert.deepEqual(media.wanted(), { mic: false, cam: false });
});

test('a camera or microphone switched off while another one is fetched stays off', async () => {
  let hold = false;
  const waiting = [];
  const { media } = stageOf((wanted) => (hold ? new Promise((done) => { waiting.push(() => done(everything(wanted))); }) : everything(wanted)));
  await media.start();
  hold = true;
  const camera = media.choose('videoinput', 'video-2');
  const microphone = media.choose('audioinput', 'audio-2');
  await settle();
  await media.setCam(false);
  await media.setMic(false);
  waiting.forEach((answer) => answer());
  await Promise.all([camera, microphone]);
  assert.deepEqual([media.state.cam, media.outgoing().video], [false, null]);
  assert.deepEqual([media.state.mic, media.voice().enabled], [false, false]);
});

test('asking again for a camera does not put a muted microphone on the air, nor end a shared screen', async () => {
  let busy = false;
  const { media } = stageOf((wanted) => {
    if (busy && wanted.video) throw trouble('NotReadableError');
    return everything(wanted);
  });
  await media.start();
  await media.setMic(false);
  await media.setScreen(true);
  await media.setCam(false);
  busy = true;
  await media.setCam(true);
  assert.equal(media.state.trouble, 'device-busy');
  busy = false;
  await media.again();
  assert.deepEqual([media.state.cam, media.state.mic, media.state.screen], [true, false, true]);
  assert.equal(media.voice().enabled, false);
});

test('a microphone that starts switched off is held but silent', async () => {
  const { media } = stageOf(everything);
  await media.start({ mic: false, cam: false });
  assert.equal(media.outgoing().audio.enabled, false);
  assert.equal(media.outgoing().video, null);
});

/** What a store of the browser does, with nothing else in it. */
function memoryOf(kept = {}) {
  const all = new Map([['webrtc-box.devices', JSON.stringify(kept)]]);
  return { getItem: (key) => all.get(key) ?? null, setItem: (key, value) => void all.set(key, value), now: () => JSON.parse(all.get('webrtc-box.devices')) };
}

test('a browser without devices on a secure page is another trouble', async () => {
  const media = makeMedia({ devices: undefined, clock: makeClock(), newStream: () => new Stream(), changed() {} });
  await media.start();
  assert.equal(media.state.trouble, 'unsupported');
});

test('a refusal by the policy of the site is told as such', async () => {
  const { media } = stageOf(() => { throw trouble('NotAllowedError'); }, { allowed: (feature) => feature !== 'camera' });
  await media.start();
  assert.equal(media.state.trouble, 'blocked-by-site');
});

test('a refusal of what the browser has granted is the system behind it', async () => {
  const { media } = stageOf(() => { throw trouble('NotAllowedError'); }, { permissions: { query: async () => ({ state: 'granted' }) } });
  await media.start();
  assert.equal(media.state.trouble, 'camera-denied-system');
});

test('with the camera alone refused, the microphone that is allowed comes without another question', async () => {
  const states = { camera: 'denied', microphone: 'granted' };
  const { media, asked } = stageOf((wanted) => {
    if (wanted.video) throw trouble('NotAllowedError');
    return everything(wanted);
  }, { permissions: { query: async ({ name }) => ({ state: states[name] }) } });
  await media.start();
  assert.equal(asked.length, 2);
  assert.ok(media.outgoing().audio);
  assert.equal(media.state.trouble, 'camera-denied');
});

test('what is allowed in the settings of the browser is had at once', async () => {
  let allowed = false;
  const heard = {};
  const status = { state: 'denied', addEventListener: (event, fn) => { heard[event] = fn; } };
  const { media } = stageOf((wanted) => {
    if (!allowed) throw trouble('NotAllowedError');
    return everything(wanted);
  }, { permissions: { query: async () => status } });
  await media.start();
  assert.equal(media.state.trouble, 'camera-denied');
  [allowed, status.state] = [true, 'granted'];
  heard.change();
  await settle();
  assert.ok(media.outgoing().audio && media.outgoing().video);
  assert.equal(media.state.trouble, null);
});

/** Somebody who shares a screen, with camera and microphone refused until the scene allows one of them. */
async function refusedAndSharing() {
  const states = { camera: 'denied', microphone: 'denied' };
  const heard = {};
  const permissions = { query: async ({ name }) => ({ get state() { return states[name]; }, addEventListener: (_, fn) => { heard[name] = fn; } }) };
  const { media } = stageOf((wanted) => {
    if ((wanted.video && states.camera === 'denied') || (wanted.audio && states.microphone === 'denied')) throw trouble('NotAllowedError');
    return everything(wanted);
  }, { permissions });
  await media.start();
  await media.setScreen(true);
  const allow = async (...names) => {
    for (const name of names) states[name] = 'granted';
    for (const name of names) heard[name]();
    await settle();
  };
  return { media, shown: media.outgoing().video, allow };
}

test('who allows camera and microphone while sharing a screen has both, and goes on sharing', async () => {
  const { media, shown, allow } = await refusedAndSharing();
  await allow('camera', 'microphone');
  assert.deepEqual([media.state.screen, shown.stopped, media.outgoing().video === shown], [true, false, true]);
  assert.deepEqual([media.state.mic, media.state.cam, media.state.trouble], [true, true, null]);
  await media.setScreen(false);
  assert.ok(media.outgoing().video && media.outgoing().audio);
});

test('a camera that is allowed alone does not hide that the microphone is still refused', async () => {
  const { media, shown, allow } = await refusedAndSharing();
  await allow('camera');
  assert.deepEqual([shown.stopped, media.state.cam, media.state.mic, media.state.trouble], [false, true, false, 'camera-denied']);
});

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

test('who leaves while another camera is fetched is not filmed after', async () => {
  let answer;
  const { media, asked } = stageOf((wanted) => (answer ? new Promise((done) => { answer = () => done(everything(wanted)); }) : everything(wanted)));
  await media.start();
  answer = () => {};
  const chosen = media.choose('videoinput', 'other');
  await settle();
  media.stop();
  answer();
  await settle();
  await Promise.race([chosen, settle()]);
  assert.deepEqual([asked.length, media.outgoing().video], [2, null]);
});

test('who leaves while a missing microphone is asked for is not asked for the camera after', async () => {
  let refuse;
  const { media, asked } = stageOf(() => new Promise((_, no) => { refuse = () => no(trouble('NotAllowedError')); }));
  const started = media.start();
  await settle();
  refuse();
  await started;
  await media.setScreen(true);
  const again = media.again();
  await settle();
  media.stop();
  refuse();
  await settle();
  await Promise.race([again, settle()]);
  assert.deepEqual([asked.length, media.state.trouble], [2, null]);
});

test('who leaves when a camera has not come is not filmed by the one before', async () => {
  let leave = false;
  const stage = stageOf((wanted) => {
    leave = wanted.video.deviceId?.exact === 'broken';
    if (leave) throw trouble('NotReadableError');
    return everything(wanted);
  });
  const { media, asked } = stage;
  Object.defineProperty(stage, 'list', { get() {
    if (leave) media.stop();
    return [];
  } });
  await media.start();
  await media.choose('videoinput', 'broken');
  assert.deepEqual([asked.length, media.outgoing().video], [2, null]);
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

/** The system takes the device behind a track, or gives it back. */
const mute = (track, muted = true) => {
  track.muted = muted;
  if (muted) track.onmute();
  else track.onunmute();
};
const BOTH_THERE = { list: [input('audio', 'a'), input('video', 'c')] };

test('a phone call takes the microphone and gives it back, and another one is fetched, since iOS leaves that one silent', async () => {
  const { media, clock } = stageOf(everything, BOTH_THERE);
  await media.start();
  const voice = media.voice();
  mute(voice);
  assert.ok(media.state.held.mic);
  assert.equal(media.state.trouble, null, 'a moment is nothing to tell');
  await clock.advance(1500);
  assert.equal(media.state.trouble, 'device-taken');
  mute(voice, false);
  assert.deepEqual([media.state.held.mic, media.state.trouble], [false, null]);
  await settle();
  assert.ok(voice.stopped && media.voice() !== voice);
});

test('a moment of silence costs no microphone', async () => {
  const { media, clock, asked } = stageOf(everything, BOTH_THERE);
  await media.start();
  mute(media.voice());
  await clock.advance(1000);
  mute(media.voice(), false);
  await clock.advance(10_000);
  assert.deepEqual([asked.length, media.state.trouble], [1, null]);
});

test('the microphone is fetched anew also where the camera came back first', async () => {
  const { media, clock } = stageOf(everything, BOTH_THERE);
  await media.start();
  const voice = media.voice();
  mute(voice);
  mute(media.outgoing().video);
  await clock.advance(5000);
  mute(media.outgoing().video, false);
  await settle();
  assert.equal(media.state.trouble, 'device-taken', 'it is still the microphone');
  mute(voice, false);
  await settle();
  assert.ok(voice.stopped && media.voice() !== voice);
  assert.equal(media.state.trouble, null);
});

test('the microphone is fetched anew also for who muted it while the phone rang, and stays muted', async () => {
  const { media, clock } = stageOf(everything, BOTH_THERE);
  await media.start();
  const voice = media.voice();
  mute(voice);
  await media.setMic(false);
  await clock.advance(5000);
  assert.equal(media.state.trouble, null, 'what is off is not missed');
  mute(voice, false);
  await settle();
  assert.ok(voice.stopped && media.voice() !== voice);
  assert.deepEqual([media.state.mic, media.voice().enabled], [false, false]);
});

test('a microphone that comes while it is held is told as taken, and fetched anew', async () => {
  let held = true;
  const { media, clock } = stageOf((wanted) => {
    const stream = everything(wanted);
    for (const track of stream.getAudioTracks()) track.muted = held;
    return stream;
  }, BOTH_THERE);
  await media.start();
  const voice = media.voice();
  await clock.advance(1500);
  assert.deepEqual([media.state.held.mic, media.state.trouble], [true, 'device-taken']);
  held = false;
  mute(voice, false);
  await settle();
  assert.ok(voice.stopped && media.voice() !== voice);
});

test('a page that stood still during the phone call knows how long it was', async () => {
  const stage = stageOf(everything, BOTH_THERE);
  await stage.media.start();
  const voice = stage.media.voice();
  mute(voice);
  stage.frozen = 60_000;
  mute(voice, false);
  await settle();
  assert.ok(voice.stopped && stage.media.voice() !== voice);
});

test('a microphone that cannot be fetched after a phone call is asked for until it is there', async () => {
  let busy = false;
  const { media, clock, troubles } = stageOf((wanted) => {
    if (busy) throw trouble('AbortError');
    return everything(wanted);
  }, BOTH_THERE);
  await media.start();
  const voice = media.voice();
  mute(voice);
  await clock.advance(2000);
  busy = true;
  mute(voice, false);
  await clock.advance(2000);
  assert.deepEqual([media.state.trouble, voice.stopped], ['device-taken', false]);
  await media.setMic(false);
  busy = false;
  await clock.advance(15_000);
  assert.ok(voice.stopped && media.voice() !== voice);
  assert.deepEqual([media.state.trouble, media.state.mic, media.voice().enabled], [null, false, false]);
  assert.ok(!troubles.includes('device-busy'));
});

test('where a new microphone is refused after a phone call, off and on again asks for it anew', async () => {
  let refused = false;
  const { media, clock, asked } = stageOf((wanted) => {
    if (refused) throw trouble('NotAllowedError');
    return everything(wanted);
  }, BOTH_THERE);
  await media.start();
  const voice = media.voice();
  mute(voice);
  await clock.advance(2000);
  refused = true;
  mute(voice, false);
  await settle();
  assert.deepEqual([media.voice(), media.state.mic], [voice, true], 'elsewhere than on iOS it is heard');
  refused = false;
  await media.setMic(false);
  await media.setMic(true);
  assert.ok(voice.stopped && media.voice() !== voice && media.voice().enabled);
  const before = asked.length;
  await media.setMic(false);
  await media.setMic(true);
  assert.equal(asked.length, before, 'only while that one is in place');
});

test('a microphone that ends while it is held was taken, not unplugged', async () => {
  let busy = false;
  const { media, clock, troubles } = stageOf((wanted) => {
    if (busy) throw trouble('NotReadableError');
    return everything(wanted);
  }, BOTH_THERE);
  await media.start();
  mute(media.voice());
  await clock.advance(2000);
  busy = true;
  media.voice().onended();
  await clock.advance(20_000);
  busy = false;
  media.wake();
  await settle();
  assert.ok(media.voice());
  assert.deepEqual(troubles, [null, 'device-taken', null]);
});

test('what the system took while nobody looked is fetched when the page is looked at again', async () => {
  const stage = stageOf(everything, BOTH_THERE);
  const { media, clock, troubles } = stage;
  await media.start();
  const voice = media.voice();
  stage.hidden = true;
  mute(voice);
  await clock.advance(60_000);
  assert.ok(!voice.stopped);
  stage.hidden = false;
  media.wake();
  await clock.advance(1500);
  await settle();
  assert.ok(voice.stopped && media.voice() !== voice);
  assert.deepEqual([media.state.held.mic, media.state.mic, media.state.trouble], [false, true, null]);
  assert.ok(!troubles.includes('mic-lost'), 'nobody is told to plug it in');
});

test('what comes back by itself when the page is looked at again is kept', async () => {
  const stage = stageOf(everything, BOTH_THERE);
  const { media, clock } = stage;
  await media.start();
  const camera = media.outgoing().video;
  stage.hidden = true;
  mute(camera);
  await clock.advance(60_000);
  stage.hidden = false;
  media.wake();
  await clock.advance(500);
  mute(camera, false);
  await clock.advance(60_000);
  assert.deepEqual([camera.stopped, media.outgoing().video], [false, camera]);
});

test('what comes back with the person who looks at the page again is not told as taken', async () => {
  // Each as a system may have it: silent after the page is hidden, before it, and before it with timers that stand still.
  for (const order of ['hidden first', 'silent first', 'frozen']) {
    const stage = stageOf(everything, BOTH_THERE);
    const { media, clock, troubles } = stage;
    await media.start();
    const camera = media.outgoing().video;
    stage.hidden = order === 'hidden first';
    mute(camera);
    await clock.advance(100);
    stage.hidden = true;
    if (order === 'frozen') stage.frozen = 60_000;
    else await clock.advance(60_000);
    stage.hidden = false;
    media.wake();
    await media.setMic(false);
    await clock.advance(1450);
    mute(camera, false);
    await clock.advance(60_000);
    assert.deepEqual([troubles, camera.stopped], [[null], false], order);
  }
});

test('what is still taken a moment after the person looks at the page again is told, and not while they look away once more', async () => {
  const stage = stageOf((wanted) => {
    if (stage.clock.now() > 0) throw trouble('NotReadableError');
    return everything(wanted);
  }, BOTH_THERE);
  const { media, clock } = stage;
  await media.start();
  const looks = async (ms) => {
    stage.hidden = false;
    media.wake();
    await clock.advance(ms);
  };
  stage.hidden = true;
  mute(media.voice());
  await clock.advance(60_000);
  await looks(1000);
  stage.hidden = true;
  await clock.advance(60_000);
  assert.equal(media.state.trouble, null);
  await looks(1499);
  assert.equal(media.state.trouble, null);
  await clock.advance(1);
  assert.equal(media.state.trouble, 'device-taken');
});

test('what the person paused in the browser itself stays paused when they come back to the page', async () => {
  const stage = stageOf(everything, BOTH_THERE);
  const { media, clock, asked } = stage;
  await media.start();
  mute(media.outgoing().video);
  await clock.advance(5000);
  stage.hidden = true;
  await clock.advance(5000);
  stage.hidden = false;
  media.wake();
  await clock.advance(60_000);
  assert.deepEqual([asked.length, media.state.held.cam], [1, true]);
});

test('off and on again fetches a microphone that is not given back', async () => {
  const { media, clock } = stageOf(everything, BOTH_THERE);
  await media.start();
  const voice = media.voice();
  mute(voice);
  await clock.advance(5000);
  await media.setMic(false);
  await media.setMic(true);
  assert.ok(voice.stopped && media.voice() !== voice);
  assert.deepEqual([media.state.mic, media.state.held.mic, media.state.trouble], [true, false, null]);
});

test('another microphone while muted stays muted, another camera while off stays off', async () => {
  const { media, asked } = stageOf(everything);
  await media.start();
  await media.setMic(false);
  await media.setCam(false);
  await media.choose('audioinput', 'other');
  await media.choose('videoinput', 'other');
  assert.deepEqual([media.state.mic, media.voice().enabled, media.state.cam, media.outgoing().video], [false, false, false, null]);
  assert.equal(asked.length, 2);
  await media.setCam(true);
  assert.deepEqual(asked.at(-1).video.deviceId, { exact: 'other' });
});

test('a camera that will not start gives way to the one before, and the trouble is told', async () => {
  const { media } = stageOf((wanted) => {
    if (wanted.video?.deviceId?.exact === 'broken') throw trouble('NotReadableError');
    return everything(wanted);
  });
  await media.start();
  await media.choose('videoinput', 'broken');
  assert.ok(media.outgoing().video);
  assert.deepEqual([media.state.trouble, media.state.cam], ['device-busy', true]);
});

/** Answers are given by the scene, each to the question for the device of that id. */
function slowly() {
  const waiting = {};
  let hold = false;
  const answer = ({ audio, video }) => {
    const id = (audio ?? video)?.deviceId?.exact;
    const stream = new Stream([...(audio ? [new Track('audio', { id: id ?? 'a' })] : []), ...(video ? [new Track('video', { id: id ?? 'c' })] : [])]);
    return hold ? new Promise((done, refuse) => { waiting[id] = { give: () => done(stream), refuse, stream }; }) : stream;
  };
  return { answer, waiting, hold: () => { hold = true; } };
}

for (const [kind, own] of [['audioinput', (media) => media.voice()], ['videoinput', (media) => media.outgoing().video]]) {
  for (const order of [['one', 'two'], ['two', 'one']]) {
    test(`of two devices chosen quickly (${kind}) the last one runs, where they come as ${order}`, async () => {
      const { answer, waiting, hold } = slowly();
      const memory = memoryOf();
      const { media } = stageOf(answer, { memory });
      await media.start();
      hold();
      const both = ['one', 'two'].map((id) => media.choose(kind, id));
      await settle();
      for (const id of order) {
        waiting[id].give();
        await settle();
      }
      await Promise.all(both);
      assert.deepEqual([own(media).id, own(media).stopped, waiting.one.stream.getTracks()[0].stopped], ['two', false, true]);
      assert.deepEqual([media.state.chosen[kind], memory.now()[kind], media.state.trouble], ['two', 'two', null]);
    });
  }

  test(`another device chosen while the one before is lost is asked for at once (${kind})`, async () => {
    let busy = false;
    const { media, asked } = stageOf((wanted) => {
      if (busy && (wanted.audio ?? wanted.video).deviceId?.exact !== 'other') throw trouble('NotReadableError');
      return everything(wanted);
    }, BOTH_THERE);
    await media.start();
    busy = true;
    own(media).onended();
    await settle();
    const before = asked.length;
    await media.choose(kind, 'other');
    assert.equal(asked.length, before + 1);
    assert.ok(own(media));
    assert.equal(media.state.trouble, null);
  });
}

test('a camera chosen while one that will not start gives way to the one before is not told as the trouble', async () => {
  const { answer, waiting, hold } = slowly();
  const { media } = stageOf(answer);
  await media.start();
  hold();
  const first = media.choose('videoinput', 'broken');
  await settle();
  waiting.broken.refuse(trouble('NotReadableError'));
  await settle();
  const second = media.choose('videoinput', 'fine');
  await settle();
  waiting.fine.give();
  await second;
  waiting.undefined.give();
  await first;
  assert.deepEqual([media.outgoing().video.id, media.state.trouble, waiting.undefined.stream.getTracks()[0].stopped], ['fine', null, true]);
});

test('while another camera is fetched the page knows that there is none', async () => {
  const { answer, waiting, hold } = slowly();
  const { media, seen } = stageOf(answer);
  await media.start();
  const camera = media.outgoing().video;
  hold();
  const chosen = media.choose('videoinput', 'other');
  await settle();
  assert.equal(seen.at(-1), null, 'it was told that the one before is gone');
  assert.equal(media.state.chosen.videoinput, 'other', 'the list stays at what was picked');
  waiting.other.give();
  await chosen;
  assert.deepEqual([camera.stopped, seen.at(-1)?.id], [true, 'other']);
});

test('each switch says what stood in its way', async () => {
  let refuse = null;
  const { media } = stageOf((wanted) => {
    if (refuse) throw refuse;
    return everything(wanted);
  }, { screen: () => { throw refuse ?? trouble('NotAllowedError'); } });
  await media.start({ mic: true, cam: false });
  assert.deepEqual([await media.setScreen(true), await media.setMic(false), await media.setMic(true)], [null, null, null]);
  refuse = trouble('NotReadableError');
  assert.deepEqual([await media.setCam(true), await media.setScreen(true), await media.setCam(false)], ['device-busy', 'screen-failed', null]);
  media.voice().onended();
  await settle();
  assert.equal(await media.setMic(true), 'device-busy');
});

test('a camera switched off while one that will not start was fetched is not fetched again', async () => {
  const { answer, waiting, hold } = slowly();
  const { media, asked } = stageOf(answer);
  await media.start();
  hold();
  const chosen = media.choose('videoinput', 'broken');
  await settle();
  await media.setCam(false);
  waiting.broken.refuse(trouble('NotReadableError'));
  await chosen;
  assert.deepEqual([asked.length, media.state.cam], [2, false]);
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
  assert.equal(answers.length, 2);
  answers[0].give();
  await settle();
  assert.equal(media.outgoing().video, null, 'the newest question counts');
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

test('front and back camera change places, and the one at the back is no mirror', async () => {
  const list = [input('video', 'front'), input('video', 'back')];
  const memory = memoryOf();
  const { media } = stageOf(({ audio, video }) => new Stream([...(audio ? [new Track('audio')] : []), ...(video ? [new Track('video', { facingMode: video.facingMode })] : [])]), { list, memory });
  await media.start();
  assert.deepEqual([media.state.canFlip, media.state.mirrored], [true, true]);
  const front = media.outgoing().video;
  await media.flip();
  assert.ok(front.stopped);
  assert.equal(media.outgoing().video.facingMode, 'environment');
  assert.equal(media.state.mirrored, false);
  assert.equal(memory.now().facing, 'environment');
  await media.flip();
  assert.equal(media.state.mirrored, true);
});

test('what was chosen is asked for at the next visit, also under another id', async () => {
  const memory = memoryOf();
  const list = [input('audio', 'a', 'Desk'), input('audio', 'b', 'Headset')];
  const byId = (wanted) => new Stream([...(wanted.audio ? [new Track('audio', { id: wanted.audio.deviceId?.exact ?? 'a' })] : []), ...(wanted.video ? [new Track('video')] : [])]);
  const first = stageOf(byId, { memory, list });
  await first.media.start();
  await first.media.choose('audioinput', 'b');
  await first.media.choose('audiooutput', 'loud');
  const second = stageOf(byId, { memory, list });
  await second.media.start();
  assert.equal(second.asked[0].audio.deviceId.exact, 'b');
  assert.deepEqual([second.media.state.chosen.audioinput, second.media.state.chosen.audiooutput], ['b', 'loud']);
  const third = stageOf((wanted) => byId(wanted.audio?.deviceId?.exact === 'b' ? { ...wanted, audio: {} } : wanted),
    { memory, list: [input('audio', 'a', 'Desk'), input('audio', 'x', 'Headset')] });
  await third.media.start();
  assert.equal(third.media.voice().id, 'x');
});

test('a chosen camera that is not there today costs neither the call nor the chosen microphone', async () => {
  const list = [input('audio', 'a'), input('audio', 'b'), input('video', 'front')];
  const memory = memoryOf({ audioinput: 'b', videoinput: 'gone' });
  const { media, asked } = stageOf(({ audio, video }) => {
    if (video?.deviceId?.exact === 'gone') throw trouble('OverconstrainedError');
    return new Stream([...(audio ? [new Track('audio', { id: audio.deviceId?.exact ?? 'a' })] : []), ...(video ? [new Track('video', { id: 'front' })] : [])]);
  }, { memory, list });
  await media.start();
  assert.deepEqual([media.voice().id, media.outgoing().video.id, media.state.trouble], ['b', 'front', null]);
  assert.equal(asked.length, 3);
});

test('a store full of junk, or none at all, changes nothing', async () => {
  for (const memory of [{ getItem: () => '[1,', setItem() { throw new Error('full'); } }, { getItem: () => '{"facing":7,"labels":3,"audioinput":{}}', setItem() {} }, undefined]) {
    const { media } = stageOf(everything, { memory });
    await media.start();
    await media.choose('audioinput', 'b');
    assert.ok(media.outgoing().audio && media.outgoing().video);
  }
});

test('the sound of a screen goes out with the voice, and the voice alone when it ends', async () => {
  const { media } = stageOf(({ audio, video }) => new Stream([...(audio ? [new Track('audio', { label: 'voice' })] : []), ...(video ? [new Track('video')] : [])]),
    { screen: () => new Stream([new Track('video'), new Track('audio', { label: 'film' })]) });
  await media.start();
  const voice = media.outgoing().audio;
  await media.setScreen(true);
  assert.equal(media.outgoing().audio.label, '[voice][film]');
  assert.equal(media.outgoing().audio, media.outgoing().audio, 'mixed once');
  await media.setMic(false);
  assert.equal(voice.enabled, false, 'the switch is the voice, not the film');
  media.outgoing().video.onended();
  await settle();
  assert.equal(media.outgoing().audio, voice);
  assert.equal(Context.open, 0);
});

test('a browser that cannot share sound shares the picture; who put it off is not asked again', async () => {
  const asked = [];
  const { media } = stageOf(everything, { screen: (wanted) => {
    asked.push(wanted);
    if (wanted.audio) throw new TypeError('audio');
    return new Stream([new Track('video')]);
  } });
  await media.start();
  await media.setScreen(true);
  assert.deepEqual([asked.length, media.state.screen], [2, true]);
  const other = stageOf(everything, { screen: () => { asked.push(1); throw trouble('NotAllowedError'); } });
  await other.media.start();
  await other.media.setScreen(true);
  assert.deepEqual([asked.length, other.media.state.screen], [3, false]);
});

test('who closes the picker hears nothing, who is refused hears why, until the next try', async () => {
  let refuse = null;
  const stage = stageOf(everything, { screen: () => {
    if (refuse) throw refuse;
    return new Stream([new Track('video')]);
  } });
  const { media, troubles } = stage;
  await media.start();
  refuse = trouble('NotAllowedError', 'Permission denied');
  await media.setScreen(true);
  assert.deepEqual([media.state.screen, troubles], [false, [null]]);
  refuse = trouble('NotAllowedError', 'Permission denied by system');
  await media.setScreen(true);
  assert.deepEqual([media.state.screen, media.state.trouble], [false, 'screen-denied-system']);
  assert.ok(media.outgoing().video, 'the camera goes on');
  refuse = trouble('NotAllowedError', 'Permission denied');
  await media.setScreen(true);
  assert.equal(media.state.trouble, null);
  refuse = trouble('NotReadableError');
  await media.setScreen(true);
  assert.equal(media.state.trouble, 'screen-failed');
  refuse = null;
  await media.setScreen(true);
  assert.deepEqual([media.state.screen, media.state.trouble], [true, null]);
});

test('a screen does not hide what is wrong with the camera, and the policy of the site is told', async () => {
  const { media } = stageOf((wanted) => {
    if (wanted.video) throw trouble('NotReadableError');
    return everything(wanted);
  }, { allowed: (feature) => feature !== 'display-capture', screen: () => { throw trouble('NotAllowedError'); } });
  await media.start();
  await media.setScreen(false);
  assert.equal(media.state.trouble, 'device-busy');
  await media.setScreen(true);
  assert.equal(media.state.trouble, 'screen-blocked');
});

test('while a screen is being picked no other picker opens, and the one that was picked stays shared', async () => {
  const answers = [];
  const { media } = stageOf(everything, { screen: () => new Promise((done, refuse) => { answers.push({ done, refuse }); }) });
  await media.start();
  const both = [media.setScreen(true), media.setScreen(true)];
  await settle();
  answers[0].done(new Stream([new Track('video', { label: 'first' })]));
  await settle();
  answers[1]?.refuse(trouble('NotAllowedError'));
  await Promise.all(both);
  assert.deepEqual([answers.length, media.state.screen, media.outgoing().video.label, media.outgoing().video.stopped], [1, true, 'first', false]);
});

test('a screen picked after leaving is let go, and in the next call another one can be picked before that', async () => {
  const answers = [];
  const { media } = stageOf(everything, { screen: () => new Promise((done) => { answers.push(done); }) });
  await media.start();
  const late = [media.setScreen(true)];
  await settle();
  media.stop();
  await media.start();
  late.push(media.setScreen(true));
  await settle();
  const [before, now] = ['before', 'now'].map((label) => new Stream([new Track('video', { label })]));
  answers[0](before);
  await settle();
  assert.deepEqual([before.getTracks()[0].stopped, media.state.screen], [true, false]);
  answers[1](now);
  await Promise.all(late);
  assert.equal(media.outgoing().video.label, 'now');
});
