// What keeps a call from going well is told to whom it concerns, in its own words, and what can go on goes on: a browser
// without WebRTC or a common codec, a frozen page, a page that is left and found again, a picture paused from outside.

import assert from 'node:assert/strict';
import { figure } from './lib/figures.mjs';
import { AFTER, setStage } from './lib/stage.mjs';
import { until } from './lib/work.mjs';

const stage = await setStage('told');
const LOOPBACK = { 'media.peerconnection.ice.loopback': true };
const GONE = '() => { delete globalThis.RTCPeerConnection; }';
const THROWS = '() => { const Own = globalThis.RTCPeerConnection; globalThis.RTCPeerConnection = class extends Own { constructor() { throw new Error("forbidden"); } }; }';

const blamed = async (seat, code) => {
  await until(`verdict ${code}`, () => seat.look(`() => document.getElementById('verdict').dataset.code === '${code}'`), 40_000);
  assert.doesNotMatch(await seat.look('() => document.body.innerText'), /\b(UDP|TCP|TLS) \d+/, 'no port is named');
};

for (const [kind, options] of [['firefox', { prefs: { ...LOOPBACK, 'media.peerconnection.enabled': false } }], ['chromium', { before: GONE }]]) {
  stage.scene(`${kind} without WebRTC is told so before it joins, and the other hears nothing of it`, async () => {
    const url = stage.room();
    const [lacking, other] = [await stage.person(kind, options), await stage.person('chromium')];
    await other.open(url);
    await other.join();
    await other.sees('waiting');
    await lacking.open(url);
    assert.match(await lacking.errs('no-webrtc'), /WebRTC/);
    await lacking.click('#btnJoin');
    await lacking.errs('no-webrtc');
    assert.equal(await other.state(), 'waiting');
    await lacking.open(`${stage.box.origin}/test`);
    await blamed(lacking, 'no-webrtc');
  });
}

stage.scene('a browser that refuses to make a connection leaves the room, and the other waits on', async () => {
  const url = stage.room();
  const [refusing, other] = [await stage.person('chromium', { before: THROWS }), await stage.person('firefox')];
  await other.open(url);
  await other.join();
  await other.sees('waiting');
  await refusing.open(url);
  await refusing.join();
  await refusing.errs('no-webrtc');
  await other.sees('waiting');
  await refusing.open(`${stage.box.origin}/test`);
  await blamed(refusing, 'no-webrtc');
});

stage.scene('a browser that gathers no candidate says that it is the browser\'s doing, on both pages', async () => {
  const barren = await stage.person('chromium', { flags: ['--force-webrtc-ip-handling-policy=disable_non_proxied_udp', '--webrtc-ip-handling-policy=disable_non_proxied_udp'],
    before: `() => {
      const add = RTCPeerConnection.prototype.addEventListener;
      Object.defineProperty(RTCPeerConnection.prototype, 'onicecandidate', { set(fn) {
        let told = false;
        add.call(this, 'icegatheringstatechange', () => { if (this.iceGatheringState === 'complete' && !told) { told = true; fn({ candidate: null }); } });
      } });
    }` });
  const url = stage.room();
  const other = await stage.person('chromium');
  await other.open(url);
  await other.join();
  await other.sees('waiting');
  await barren.open(url);
  await barren.join();
  assert.match(await barren.errs('no-candidates', 40_000), /browser/);
  await barren.open(`${stage.box.origin}/test`);
  await blamed(barren, 'no-candidates');
});

for (const kinds of [['chromium', 'firefox'], ['firefox', 'chromium']]) {
  stage.scene(`a frozen ${kinds[0]} is not called connected by ${kinds[1]} after three seconds`, async () => {
    const [frozen, other] = await stage.pair(kinds, stage.room());
    await Promise.all([frozen, other].map((seat) => seat.hearsAndSees()));
    const began = performance.now();
    await frozen.sleep();
    await other.sees('reconnecting', 20_000);
    figure(`${kinds[0]} frozen: said`, performance.now() - began, 3500);
    await frozen.wake();
    await other.hearsAndSees();
  });

  stage.scene(`${kinds[0]} closes the page, and ${kinds[1]} says that it was closed, not lost`, async () => {
    const [closing, other] = await stage.pair(kinds, stage.room());
    await Promise.all([closing, other].map((seat) => seat.hearsAndSees()));
    const began = performance.now();
    await closing.open(`${stage.box.origin}/healthz`);
    await other.saysNow('They closed the page');
    figure(`${kinds[0]} closed the page: said`, performance.now() - began, 2000);
    await other.sees(AFTER, 40_000);
    assert.equal(await other.look(`() => document.getElementById('afterWhy').textContent`), 'The other person closed the page.');
  });

  stage.scene(`${kinds[0]} goes to another page and Back, and is in the call again; Forward and Back too`, async () => {
    const two = await stage.pair(kinds, stage.room());
    await Promise.all(two.map((seat) => seat.hearsAndSees()));
    await two[0].open(`${stage.box.origin}/healthz`);
    for (const step of ['back', 'forward', 'back']) {
      await two[0].look(`() => { setTimeout(() => history.${step}(), 0); }`);
      const page = step === 'back' ? '/r/' : '/healthz';
      await until(step, () => two[0].look(`() => location.pathname.startsWith('${page}') && document.readyState === 'complete'`).catch(() => false));
    }
    await Promise.all(two.map((seat) => seat.hearsAndSees()));
  });
}

for (const kind of ['chromium', 'firefox']) {
  stage.scene(`${kind} goes on by itself when something outside pauses the picture, and offers to when somebody insists or mutes it`, async () => {
    const [seat] = await stage.pair([kind, 'chromium'], stage.room());
    await seat.hearsAndSees();
    const plays = () => until('the picture to go on', () => seat.look(`() => !document.getElementById('remote').paused`));
    const offered = (yes) => until(yes ? 'the offer' : 'no offer', () => seat.look(`() => document.getElementById('btnHear').hidden === ${!yes}`));
    await seat.look(`() => document.getElementById('remote').pause()`);
    await plays();
    await offered(false);
    await seat.look(`() => { document.getElementById('remote').muted = true; }`);
    await offered(true);
    await seat.click('#btnHear');
    await offered(false);
    assert.equal(await seat.look(`() => document.getElementById('remote').muted`), false);
    await seat.look(`async () => {
      const remote = document.getElementById('remote');
      for (let times = 0; times < 3; times += 1) {
        remote.pause();
        await new Promise((done) => { setTimeout(done, 300); });
      }
    }`);
    await offered(true);
    await seat.click('#btnHear');
    await plays();
    await offered(false);
  });
}

/** This browser knows no codec for a picture: what is offered is not understood. */
const NO_VIDEO = `() => {
  const { setRemoteDescription } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.setRemoteDescription = function (one) {
    return setRemoteDescription.call(this, { type: one.type, sdp: one.sdp.replace(/ (VP8|VP9|H264|H265|AV1)\\//g, ' X$1/') });
  };
}`;

for (const kinds of [['chromium', 'firefox'], ['firefox', 'chromium']]) {
  stage.scene(`${kinds[0]} and ${kinds[1]} without a common codec for the picture say so, and hear each other`, async () => {
    const url = stage.room();
    const [offering, answering] = [await stage.person(kinds[0]), await stage.person(kinds[1], { before: NO_VIDEO })];
    for (const seat of [answering, offering]) {
      await seat.open(url);
      await seat.join();
      if (seat === answering) await seat.sees('waiting');
    }
    for (const seat of [offering, answering]) {
      await seat.sees('connected');
      await seat.saysNow('no picture that your browser can send');
      await until('sound', async () => (await seat.stats()).audioEnergy > 0);
    }
  });
}

stage.scene('a Firefox that gives noise for what is drawn shows none of it as the last picture', async () => {
  const two = await stage.pair([['firefox', { prefs: { ...LOOPBACK, 'privacy.resistFingerprinting': true } }], 'chromium'], stage.room());
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
  await two[0].look(`() => {
    globalThis.__posters = 0;
    new MutationObserver(() => { if (document.getElementById('remote').poster) __posters += 1; }).observe(document.getElementById('remote'), { attributes: true });
  }`);
  await two[1].reload();
  await until('the new connection', () => two[0].look('() => __seen.connections.length > 1'));
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
  assert.equal(await two[0].look('() => __posters'), 0);
});

/** The person refuses everything, and then the microphone as the scene says. */
const REFUSES = `() => {
  navigator.permissions.query = async () => ({ state: 'prompt' });
  const own = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = (wanted) => (!wanted.video && globalThis.__allowed ? own(wanted)
    : Promise.reject(new DOMException('Permission denied', 'NotAllowedError')));
}`;

for (const kind of ['chromium', 'firefox']) {
  stage.scene(`${kind} with both devices refused joins with sound when it says so, and is told of a second refusal`, async () => {
    const url = stage.room();
    const [seat, other] = [await stage.person(kind, { before: REFUSES }), await stage.person('chromium')];
    await other.open(url);
    await other.join();
    await other.sees('waiting');
    await seat.open(url);
    await seat.errs('camera-denied');
    const promise = () => seat.look(`() => document.getElementById('joinWord').textContent`);
    assert.equal(await promise(), 'Join with sound only');
    await seat.click('#btnJoin');
    await seat.errs('camera-denied-again');
    assert.equal(await promise(), 'Join without devices');
    assert.equal(await other.state(), 'waiting');
    await seat.reload();
    await seat.errs('camera-denied');
    await seat.look('() => { globalThis.__allowed = true; }');
    await seat.click('#btnJoin');
    await seat.sees('connected');
    await until('their sound at the other', async () => (await other.stats()).audioEnergy > 0, 20_000);
    await seat.leave();
    await other.sees(AFTER);
  });
}
