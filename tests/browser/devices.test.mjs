// Devices as people have them: refused or missing ones keep nobody out, others are chosen and remembered, pulled
// out and had again; a screen is shared with its sound. What a headless browser has no switch for is done to the
// real objects it gave the page.

import assert from 'node:assert/strict';
import path from 'node:path';
import { setStage } from './lib/stage.mjs';
import { until } from './lib/work.mjs';

const stage = await setStage('devices');

for (const [kind, devices] of [['chromium', 'refused'], ['firefox', 'refused'], ['chromium', 'none']]) {
  stage.scene(`${kind} with camera and microphone ${devices === 'none' ? 'missing' : 'refused'} says so and still joins`, async (context) => {
    const url = stage.room();
    const host = await stage.person('chromium');
    await host.open(url);
    await host.join();
    await host.sees('waiting');

    const guest = await stage.person(kind, { devices });
    await guest.open(url);
    await guest.sees('preview');
    const attached = await guest.look('async () => (await navigator.mediaDevices.enumerateDevices()).filter((one) => one.kind.endsWith("input")).length');
    if (devices === 'none' && attached > 0) return context.skip('this machine has a real camera or microphone');
    const sentence = await until('a sentence about the devices', () => guest.look('() => document.getElementById("error").textContent.trim()'), 15_000);
    assert.match(sentence, /camera|microphone/i);
    await guest.screenshot(path.join(stage.dir, `${kind}-${devices}.png`));

    await guest.join();
    if (devices === 'refused') {
      // The button says "with sound only", and a second refusal is told before anybody joins without.
      await guest.errs('camera-denied-again');
      await guest.join();
    }
    await guest.hearsAndSees();
    await host.sees('connected');
    // Read at the door, and put aside: the button in the call says it again, at each press.
    for (const what of ['cam', 'mic', 'cam']) {
      await until('the sentence to be put aside', () => guest.look(`() => document.getElementById('error').hidden`));
      await guest.click(`[data-act=${what}]`);
      assert.match(await until('the sentence again', () => guest.look(`() => { const error = document.getElementById('error'); return !error.hidden && error.textContent.trim(); }`)), /camera|microphone/i);
      await guest.click('#btnDismiss');
    }
  });
}

/** Keeps what the page is given, and lets a scene say which devices there are. */
const KEEP = `() => {
  const given = globalThis.__given = [];
  const { mediaDevices } = navigator;
  const ask = mediaDevices.getUserMedia.bind(mediaDevices);
  mediaDevices.getUserMedia = async (wanted) => {
    globalThis.__asked = (globalThis.__asked ?? 0) + 1;
    if (globalThis.__busy) throw new DOMException('in use', 'NotReadableError');
    const stream = await ask(wanted);
    given.push(...stream.getTracks());
    return stream;
  };
  const list = mediaDevices.enumerateDevices.bind(mediaDevices);
  mediaDevices.enumerateDevices = async () => (await list()).filter(({ kind }) => kind !== globalThis.__without);
}`;
const MANY = ['--use-fake-device-for-media-stream=device-count=3'];
/** The newest of the person's own tracks of this kind, as words of a script. */
const own = (kind) => `__given.findLast((each) => each.kind === '${kind}')`;
const sends = (seat, kind) => seat.look(`async () => {
  const sender = webrtcBox.call.connection().getSenders().find(({ track }) => track?.kind === '${kind}');
  if (!sender) return null;
  const { deviceId } = sender.track.getSettings();
  const stats = [...(await sender.getStats()).values()].find(({ type }) => type === 'outbound-rtp');
  return { id: sender.track.id, deviceId, enabled: sender.track.enabled, frames: stats?.framesEncoded ?? 0, packets: stats?.packetsSent ?? 0 };
}`);
/** The system takes the device behind the newest track of this kind, or gives it back. */
const mute = (seat, kind, on) => seat.look(`() => {
  const track = ${own(kind)};
  Object.defineProperty(track, 'muted', { value: ${on}, configurable: true });
  track.dispatchEvent(new Event('${on ? 'mute' : 'unmute'}'));
}`);
const offers = (seat) => seat.look(`() => webrtcBox.call.connection().localDescription.sdp.match(/o=\\S+ \\S+ (\\d+)/)[1]`);
const pick = (seat, id, which) => seat.look(`() => {
  const list = document.getElementById('${id}');
  list.selectedIndex = ${which};
  list.dispatchEvent(new Event('change'));
  return list.value;
}`);

async function keptPair(kinds, flags = MANY) {
  const url = stage.room();
  const two = [];
  for (const kind of kinds) {
    const seat = await stage.person(kind, { flags });
    await seat.before(KEEP);
    await seat.open(url);
    await seat.join();
    await seat.sees(['waiting', 'connecting', 'connected']);
    two.push(seat);
  }
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
  return two;
}

stage.scene('another camera and microphone are chosen in the call, without a new offer, and remembered at the next visit', async () => {
  const [one, other] = await keptPair(['chromium', 'firefox']);
  const [before, session] = [await sends(one, 'video'), await offers(one)];
  await one.click('.inCall[data-act=settings]');
  // Chromium's second made-up camera measures depth, and shows no picture.
  const camera = await pick(one, 'pickCam', 2);
  const after = await until('the other camera on the wire', async () => {
    const now = await sends(one, 'video');
    return now?.deviceId === camera && now.frames > before.frames ? now : Promise.reject(new Error(`${JSON.stringify(now)}, not ${camera}`));
  });
  assert.notEqual(after.id, before.id);
  const microphone = await pick(one, 'pickMic', 2);
  await until('the other microphone on the wire', async () => (await sends(one, 'audio'))?.deviceId === microphone);
  await until('the level in the sheet', () => one.look(`() => Number(/scaleX\\(([\\d.]+)/.exec(document.querySelector('#settings .level i').style.transform)?.[1]) > 0.2`));
  assert.equal(await offers(one), session, 'no new offer');
  await one.press('Escape');
  await Promise.all([one, other].map((seat) => seat.hearsAndSees()));
  await one.leave();
  await one.open(stage.room());
  await one.sees('preview');
  await one.click('.outside[data-act=settings]');
  assert.deepEqual(await one.look(`() => ['pickCam', 'pickMic'].map((id) => document.getElementById(id).value)`), [camera, microphone]);
});

stage.scene('of two cameras chosen at once the last one is sent, and no two are being opened at a time', async () => {
  const [one] = await keptPair(['chromium', 'chromium']);
  await one.click('.inCall[data-act=settings]');
  const last = await one.look(`() => {
    const { mediaDevices } = navigator;
    const ask = mediaDevices.getUserMedia;
    globalThis.__opening = { now: 0, most: 0 };
    mediaDevices.getUserMedia = async (wanted) => {
      __opening.most = Math.max(__opening.most, __opening.now += 1);
      try {
        return await ask(wanted);
      } finally {
        __opening.now -= 1;
      }
    };
    const list = document.getElementById('pickCam');
    for (const which of [1, 2]) {
      list.selectedIndex = which;
      list.dispatchEvent(new Event('change'));
    }
    return list.value;
  }`);
  await until('the last one on the wire', async () => (await sends(one, 'video'))?.deviceId === last);
  assert.deepEqual(await one.look('() => __opening'), { now: 0, most: 1 });
  assert.deepEqual(await one.look(`() => __given.filter((each) => each.kind === 'video').map((each) => each.readyState)`), ['ended', 'ended', 'live']);
});

stage.scene('a speaker is chosen and heard from at the next visit as well', async (context) => {
  const [one] = await keptPair(['chromium', 'chromium']);
  await one.click('.inCall[data-act=settings]');
  const speakers = await one.look(`() => document.getElementById('pickSpeaker').options.length`);
  if (speakers < 2) return context.skip('this browser has one speaker');
  const speaker = await pick(one, 'pickSpeaker', speakers - 1);
  await until('the speaker', () => one.look(`() => document.getElementById('remote').sinkId === '${speaker}'`));
  await one.reload();
  await until('the speaker again', () => one.look(`() => document.getElementById('remote').sinkId === '${speaker}'`));
});

for (const kind of ['chromium', 'firefox']) {
  stage.scene(`${kind}: a camera that is pulled out is told to both, and comes back by itself when it is plugged in`, async () => {
    const [one, other] = await keptPair([kind, 'chromium']);
    await one.look(`() => {
      globalThis.__without = 'videoinput';
      ${own('video')}.stop();
      ${own('video')}.dispatchEvent(new Event('ended'));
    }`);
    assert.match(await one.errs('cam-lost'), /camera/i);
    await until('the other to be told', () => other.look(`() => document.getElementById('remoteFrame').classList.contains('empty')`));
    await one.look(`() => {
      delete globalThis.__without;
      navigator.mediaDevices.dispatchEvent(new Event('devicechange'));
    }`);
    await until('the trouble to be over', () => one.look(`() => document.getElementById('error').hidden`));
    await until('the other to see again', () => other.look(`() => !document.getElementById('remoteFrame').classList.contains('empty')`));
    await Promise.all([one, other].map((seat) => seat.hearsAndSees()));
  });

  stage.scene(`${kind}: who has closed the sentence about a camera that was taken is not shown it again, and the camera comes back`, async () => {
    const [one, other] = await keptPair([kind, 'chromium']);
    await one.look(`() => {
      globalThis.__busy = true;
      ${own('video')}.stop();
      ${own('video')}.dispatchEvent(new Event('ended'));
    }`);
    await one.errs('cam-lost');
    await one.click('#btnDismiss');
    const before = await one.look(`() => {
      const error = document.getElementById('error');
      globalThis.__shown = error.hidden ? [] : ['not closed'];
      new MutationObserver(() => { if (!error.hidden) __shown.push(error.dataset.code); }).observe(error, { attributes: true });
      return __asked;
    }`);
    await until('two tries more', () => one.look(`() => __asked >= ${before + 2}`));
    await one.look(`() => { globalThis.__busy = false; }`);
    await until('the other to see again', () => other.look(`() => !document.getElementById('remoteFrame').classList.contains('empty')`));
    await Promise.all([one, other].map((seat) => seat.hearsAndSees()));
    assert.deepEqual(await one.look(`() => __shown`), []);
  });

  stage.scene(`${kind}: a phone call takes camera and microphone, the other is told, and is heard by a new microphone after`, async () => {
    const [one, other] = await keptPair([kind, 'chromium']);
    const told = (hidden) => until('the badge', () => other.look(`() => document.getElementById('theirMic').hidden === ${hidden}`));
    const before = await sends(one, 'audio');
    await mute(one, 'audio', true);
    await mute(one, 'video', true);
    await told(false);
    assert.match(await one.errs('device-taken'), /phone call/);
    await mute(one, 'video', false);
    await until('the other to see again', () => other.look(`() => !document.getElementById('remoteFrame').classList.contains('empty')`));
    assert.match(await one.errs('device-taken'), /phone call/, 'the microphone is still held');
    await mute(one, 'audio', false);
    await told(true);
    await until('a new microphone', async () => (await sends(one, 'audio')).id !== before.id);
    await until('the trouble to be over', () => one.look(`() => document.getElementById('error').hidden`));
    await Promise.all([one, other].map((seat) => seat.hearsAndSees()));
  });

  stage.scene(`${kind}: a microphone taken while nobody looks is fetched on the way back, and one paused before the person's eyes is not`, async () => {
    const [one, other] = await keptPair([kind, 'chromium']);
    const looks = (visible) => one.look(`() => {
      Object.defineProperty(document, 'hidden', { value: ${!visible}, configurable: true });
      Object.defineProperty(document, 'visibilityState', { value: '${visible ? 'visible' : 'hidden'}', configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }`);
    const [paused, taken] = await Promise.all([sends(one, 'video'), sends(one, 'audio')]);
    await mute(one, 'video', true);
    await one.errs('device-taken');
    await looks(false);
    await mute(one, 'audio', true);
    await looks(true);
    await until('a new microphone', async () => (await sends(one, 'audio')).id !== taken.id);
    assert.equal((await sends(one, 'video')).id, paused.id);
    await mute(one, 'video', false);
    await Promise.all([one, other].map((seat) => seat.hearsAndSees()));
  });
}

stage.scene('without any device at all the other is seen and heard', async () => {
  const url = stage.room();
  const host = await stage.person('chromium');
  await host.open(url);
  await host.join();
  const guest = await stage.person('firefox');
  await guest.before(`() => {
    navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('none', 'NotFoundError'); };
    navigator.mediaDevices.enumerateDevices = async () => [];
  }`);
  await guest.open(url);
  await guest.errs('device-not-found');
  assert.match(await guest.look(`() => document.getElementById('joinWord').textContent`), /without/);
  await guest.join();
  await guest.hearsAndSees();
  await until('the host to be told', () => host.look(`() => document.getElementById('remoteFrame').classList.contains('empty') && !document.getElementById('theirMic').hidden`));
});

stage.scene('front and back camera change places by one button', async () => {
  const seat = await stage.person('chromium', { flags: MANY, size: { width: 390, height: 844 } });
  await seat.before(`() => {
    // A phone's cameras say which way they look; the made-up ones do not.
    const { mediaDevices } = navigator;
    const ask = mediaDevices.getUserMedia.bind(mediaDevices);
    mediaDevices.getUserMedia = async (wanted) => {
      const stream = await ask(wanted);
      for (const track of stream.getVideoTracks()) {
        const settings = track.getSettings.bind(track);
        track.getSettings = () => ({ ...settings(), facingMode: wanted.video.facingMode ?? 'user' });
      }
      return stream;
    };
  }`);
  await seat.open(stage.room());
  await seat.sees('preview');
  await until('the button', () => seat.look(`() => !document.querySelector('[data-act=flip]').hidden`));
  const mirrored = () => seat.look(`() => document.getElementById('selfFrame').classList.contains('mirrored')`);
  assert.equal(await mirrored(), true);
  await seat.click('[data-act=flip]');
  await until('the camera at the back', async () => !(await mirrored()));
  await seat.screenshot(path.join(stage.dir, 'flipped.png'));
  await seat.click('[data-act=flip]');
  await until('the camera in front', mirrored);
});

stage.scene('a screen is shared with its sound, over the same two tracks, and the camera comes back after it', async () => {
  const [one, other] = await keptPair(['chromium', 'firefox'], [...MANY, '--auto-accept-this-tab-capture']);
  await one.look(`() => {
    // What is picked in the browser's own window: here a picture and a tone of our own making.
    navigator.mediaDevices.getDisplayMedia = async () => {
      const canvas = Object.assign(document.createElement('canvas'), { width: 1600, height: 900 });
      const ink = canvas.getContext('2d');
      setInterval(() => { ink.fillStyle = ink.fillStyle === '#ffffff' ? '#000000' : '#ffffff'; ink.fillRect(0, 0, 1600, 900); }, 100);
      const sound = new AudioContext();
      const tone = sound.createOscillator();
      const out = sound.createMediaStreamDestination();
      tone.connect(out);
      tone.start();
      globalThis.__shared = new MediaStream([...canvas.captureStream(10).getTracks(), ...out.stream.getTracks()]);
      return globalThis.__shared;
    };
  }`);
  const [session, voice] = [await offers(one), await sends(one, 'audio')];
  await one.click('[data-act=share]');
  await until('the screen at the other side', () => other.look(`() => document.getElementById('remoteFrame').classList.contains('whole') && document.getElementById('remote').videoWidth / document.getElementById('remote').videoHeight > 1.7`));
  await until('its sound on the wire', async () => (await sends(one, 'audio')).id !== voice.id);
  // Muted, only the tone is left: it is what the other hears.
  await one.click('[data-act=mic]');
  await until('the tone at the other side', () => other.look(`async () => {
    const before = await level();
    return before > 0.01;
    async function level() {
      for (const one of (await webrtcBox.call.connection().getStats()).values()) if (one.type === 'inbound-rtp' && one.kind === 'audio') return one.audioLevel ?? one.totalAudioEnergy;
    }
  }`));
  await one.look(`() => { const [track] = __shared.getVideoTracks(); track.stop(); track.dispatchEvent(new Event('ended')); }`);
  await until('the voice alone', async () => (await sends(one, 'audio')).id === voice.id);
  await until('the camera at the other side', () => other.look(`() => !document.getElementById('remoteFrame').classList.contains('whole') || document.getElementById('remote').videoWidth / document.getElementById('remote').videoHeight < 1.7`));
  assert.equal(await offers(one), session, 'no new offer');
  await other.hearsAndSees();
});

for (const kind of ['chromium', 'firefox']) {
  stage.scene(`${kind}: a screen that the system refuses is told, with what to do, and one that the person put off is not`, async () => {
    const [one] = await keptPair([kind, 'chromium']);
    const share = async (name, message) => {
      await one.look(`() => { navigator.mediaDevices.getDisplayMedia = async () => { throw new DOMException('${message}', '${name}'); }; }`);
      await one.click('[data-act=share]');
    };
    await share('NotAllowedError', 'Permission denied by system');
    assert.match(await one.errs('screen-denied-system'), /settings/i);
    assert.equal(await one.look(`() => document.getElementById('btnRetry').hidden`), true, 'only a press on the button may ask for a screen');
    await one.screenshot(path.join(stage.dir, `${kind}-screen-refused.png`));
    await share('NotAllowedError', 'Permission denied');
    await until('the sentence to go', () => one.look(`() => document.getElementById('error').hidden`));
    await share('NotReadableError', 'Could not start video source');
    assert.match(await one.errs('screen-failed'), /share/);
    await one.click('#btnDismiss');
    await until('the sentence to go', () => one.look(`() => document.getElementById('error').hidden`));
    await one.hearsAndSees();
  });
}

stage.scene('full screen and the floating picture are there where the browser has them', async () => {
  const [one] = await keptPair(['chromium', 'chromium']);
  await one.click('.inCall[data-act=settings]');
  await one.click('[data-act=full]');
  await until('the whole screen', () => one.look(`() => document.fullscreenElement === document.documentElement`));
  await one.click('.inCall[data-act=settings]');
  await one.click('[data-act=pip]');
  await until('the floating picture', () => one.look(`() => document.pictureInPictureElement?.id === 'remote'`));
  await one.leave();
  await until('all to be as before', () => one.look(`() => !document.fullscreenElement && !document.pictureInPictureElement`));
});

for (const kind of ['chromium', 'firefox']) {
  stage.scene(`${kind}: where sound is refused until a touch, one tap brings it`, async () => {
    const url = stage.room();
    const host = await stage.person('chromium');
    await host.open(url);
    await host.join();
    const guest = await stage.person(kind);
    await guest.before(`() => {
      // As phones have it: sound only after a touch of this very page.
      const { play } = HTMLMediaElement.prototype;
      HTMLMediaElement.prototype.play = function () {
        return this.muted || globalThis.__touched ? play.call(this) : Promise.reject(new DOMException('sound', 'NotAllowedError'));
      };
      addEventListener('click', ({ target }) => { if (target.closest('#btnHear')) globalThis.__touched = true; }, true);
    }`);
    await guest.open(url);
    await guest.sees('preview');
    await guest.look(`() => { document.getElementById('door').requestSubmit(); }`);
    await until('the button', () => guest.look(`() => !document.getElementById('btnHear').hidden`));
    await until('the picture without sound', () => guest.look(`() => { const { muted, paused, videoWidth } = document.getElementById('remote'); return muted && !paused && videoWidth > 0; }`));
    await guest.click('#btnHear');
    await until('the sound', () => guest.look(`() => { const { muted, paused } = document.getElementById('remote'); return !muted && !paused && document.getElementById('btnHear').hidden; }`));
    await guest.hearsAndSees();
  });
}
