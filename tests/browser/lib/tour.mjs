// A tour through every state the page shows a person, from the door to after the call.
//
// Two people who can be told apart make the call; what is looked at in each state is the visitor's business.

import path from 'node:path';
import { MAYA, TOM, makeFilm } from './film.mjs';
import { LIAR, NOWHERE, SOCKETS } from './sockets.mjs';
import { AFTER } from './stage.mjs';
import { until } from './work.mjs';

/** The browser's language, by the page's name of it. */
export const SPEAKS = { en: ['--accept-lang=en-GB'], zh: ['--accept-lang=zh-CN'] };

/** The themes that a state is looked at in: the call is dark in either, and looked at in the one that it overrules. */
export const themes = (state) => (state.startsWith('call') ? ['light'] : ['light', 'dark']);

let films;

function makeFilms(stage) {
  films ??= Promise.all(Object.entries({ maya: MAYA, tom: TOM }).map(
    ([name, who]) => makeFilm(path.join(stage.dir, `${name}.mjpeg`), who, { dir: stage.dir, ca: stage.authority.ca })));
  return films;
}

const openDialog = (id) => `() => document.getElementById('${id}').open`;
const writes = (seat, text) => seat.look(`() => {
  document.getElementById('chatLine').value = ${JSON.stringify(text)};
  document.getElementById('chatForm').requestSubmit();
}`);

/** From here on the page hears that nearly nothing of what it sends arrives, and late; or hears the truth again. */
const toldOfLoss = (seat, yes) => seat.look(`() => {
  const pc = webrtcBox.call.connection();
  delete pc.getStats;
  if (!${yes}) return;
  let reports = 0;
  const told = (kind) => [kind, { type: 'remote-inbound-rtp', id: kind, kind, timestamp: reports, fractionLost: 0.9, roundTripTime: reports < 4 ? 0.01 : 1 }];
  pc.getStats = async () => {
    reports += 1;
    return new Map([...await RTCPeerConnection.prototype.getStats.call(pc), told('video'), told('audio')]);
  };
}`);

/** From here on the page hears that the way to the other is lost; or that it is back. */
const toldOfNoWay = (seat, yes) => seat.look(`() => {
  const pc = webrtcBox.call.connection();
  if (${yes}) Object.defineProperty(pc, 'connectionState', { configurable: true, get: () => 'disconnected' });
  else delete pc.connectionState;
  pc.dispatchEvent(new Event('connectionstatechange'));
}`);

/** From here on what this page shares is a screen full of text. */
const hasScreen = (seat) => seat.look(`() => {
  navigator.mediaDevices.getDisplayMedia = async () => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 1600, height: 900 });
    const ink = canvas.getContext('2d');
    let turn = 0;
    setInterval(() => {
      ink.fillStyle = '#fff';
      ink.fillRect(0, 0, 1600, 900);
      ink.fillStyle = '#123';
      ink.font = '22px monospace';
      turn += 1;
      for (let line = 0; line < 28; line += 1) ink.fillText('line ' + (line + turn) + ' of a text that goes on and on', 60, 60 + line * 30);
    }, 100);
    return canvas.captureStream(10);
  };
}`);

/** Sound is refused from here on, as phones do it until a touch, and the picture put in anew; or no more. */
const silenced = (seat, yes) => seat.look(`() => {
  const proto = HTMLMediaElement.prototype;
  globalThis.__play ??= proto.play;
  proto.play = ${yes} ? function () { return this.muted ? __play.call(this) : Promise.reject(new DOMException('sound', 'NotAllowedError')); } : __play;
  if (${yes}) document.getElementById('remote').srcObject = null;
}`);

const holds = (seat, what, truth) => until(what, () => seat.look(`() => ${truth}`));

/** Calls `visit(seat, name)` in each state, in the order a person meets them; `language` is `en` or `zh`. */
export async function tour(stage, language, visit) {
  const flags = SPEAKS[language];
  const url = stage.room();
  const [maya, tom] = await makeFilms(stage);
  const person = async (options) => {
    const seat = await stage.person('chromium', { flags, ...options });
    for (const script of [SOCKETS, NOWHERE, LIAR]) await seat.before(script);
    return seat;
  };

  const refused = await person({ devices: 'refused' });
  await refused.open(url);
  await refused.errs('camera-denied');
  await visit(refused, 'door-refused');
  await refused.close();

  const one = await person({ film: tom });
  await door(one, stage.box.origin, url, visit);
  const other = await person({ film: maya });
  await other.open(url);
  await other.join();
  await Promise.all([one.hearsAndSees(), other.hearsAndSees()]);
  await holds(one, 'the pictures', `!document.getElementById('trust').hidden`);
  await visit(one, 'call');
  await sides(one, other, language, visit);
  await weak(one, other, visit);
  await troubled(one, other, visit);

  const third = await person({});
  await third.open(url);
  await third.join();
  await third.errs('room-full');
  await visit(third, 'door-full');

  await one.leave();
  await Promise.all([one, other].map((seat) => seat.sees(AFTER)));
  await visit(one, 'after');
  await visit(other, 'after-theyLeft');
  await lost(one, other, third, stage, visit);
}

/** Alone: at the door, in its sheet, and waiting. */
async function door(one, origin, url, visit) {
  await one.open(origin);
  await one.sees('preview');
  await visit(one, 'door');
  await one.look(`() => { document.getElementById('room').value = 'two/words'; document.getElementById('door').requestSubmit(); }`);
  await one.errs('bad-room');
  await visit(one, 'door-error');
  await one.open(url);
  await one.sees('preview');
  await one.findsInside(0);
  await visit(one, 'door-invited');
  await one.click('.outside[data-act=settings]');
  await until('the devices', () => one.look(openDialog('settings')));
  await visit(one, 'door-devices');
  await one.press('Escape');
  await one.join();
  await one.sees('waiting');
  await holds(one, 'the code', `document.getElementById('qr').childElementCount > 0`);
  await visit(one, 'waiting');
}

/** What opens beside the picture or over it. */
async function sides(one, other, language, visit) {
  await one.click('#path');
  await visit(one, 'call-numbers');
  await one.click('#btnNumbersClose');
  await writes(other, language === 'zh' ? '能看到我吗？' : 'Can you see me?');
  await holds(one, 'the badge', `document.body.dataset.unread === '1'`);
  await visit(one, 'call-unread');
  await one.click('[data-act=chat]');
  await writes(one, language === 'zh' ? '看到了。文件在这里：https://example.org/a/long/way/to/the/report.pdf，请看一下。'
    : 'Yes! Here it is: https://example.org/a/long/way/to/the/report.pdf, have a look.');
  await writes(other, language === 'zh' ? '谢谢' : 'Thank you');
  await holds(one, 'three messages', `document.querySelectorAll('#chatLog [data-state=sent]').length === 3`);
  await visit(one, 'call-chat');
  await one.press('Escape');
  await one.click('.inCall[data-act=settings]');
  await until('the devices', () => one.look(openDialog('settings')));
  await visit(one, 'call-devices');
  await one.press('Escape');
  await one.press('?');
  await until('the keys', () => one.look(openDialog('keys')));
  await visit(one, 'call-keys');
  await one.press('Escape');
}

/** Their screen, and both pictures waiting for a better network: while it is shared, and then without it. */
async function weak(one, other, visit) {
  await hasScreen(other);
  await other.press('s');
  await until('their screen', async () => (await one.stats()).width === 1600 && one.look(`() => document.getElementById('remoteFrame').classList.contains('whole')`));
  await visit(one, 'call-screen');
  await Promise.all([one, other].map((seat) => toldOfLoss(seat, true)));
  await holds(one, 'the screen to stand still, and ours to wait', `document.getElementById('theirScreen').textContent.includes(document.documentElement.lang === 'en' ? 'your picture' : '您的画面')`);
  await visit(one, 'call-weak-screen');
  await toldOfNoWay(one, true);
  await one.sees('reconnecting');
  await visit(one, 'call-weak-screen-lost');
  await toldOfNoWay(one, false);
  await other.press('s');
  await holds(one, 'both pictures to wait', `document.getElementById('status').classList.contains('told') && document.getElementById('remoteFrame').classList.contains('empty')`);
  await visit(one, 'call-weak');
  await one.click('#path');
  await visit(one, 'call-weak-numbers');
  await one.click('#btnNumbersClose');
  await Promise.all([one, other].map((seat) => toldOfLoss(seat, false)));
  await holds(one, 'the picture again', `!document.getElementById('remoteFrame').classList.contains('empty') && !document.getElementById('status').classList.contains('told')`);
}

/** A call that runs, and something about it to know or to do. */
async function troubled(one, other, visit) {
  await silenced(one, true);
  await holds(one, 'the button', `!document.getElementById('btnHear').hidden`);
  await visit(one, 'call-hear');
  await silenced(one, false);
  await one.click('#btnHear');
  await holds(one, 'the sound', `!document.getElementById('remote').muted`);
  await one.look('() => __line.cut()');
  await one.saysNow(await one.look(`() => document.documentElement.lang === 'en' ? 'go on talking' : '通话照常'`));
  await visit(one, 'call-alone');
  await one.look('() => __line.mend()');
  await holds(one, 'the server again', `!document.getElementById('status').classList.contains('told')`);
  for (const key of ['m', 'v']) await other.press(key);
  await holds(one, 'their switches', `!document.getElementById('theirMic').hidden`);
  await one.press('v');
  await visit(one, 'call-off');
  await one.press('v');
  for (const key of ['m', 'v']) await other.press(key);
  await other.look(`() => { sessionStorage.__liar = 'yes'; }`);
  await other.reload();
  await holds(one, 'the warning', `document.getElementById('trust').dataset.state === 'mismatch'`);
  await visit(one, 'call-mismatch');
}

/** Ways that were not found, and ways that a call can end. */
async function lost(one, other, third, stage, visit) {
  const nowhere = stage.room('?nowhere');
  for (const seat of [other, third]) {
    await seat.open(nowhere);
    await seat.join();
    if (seat === other) await seat.sees('waiting');
  }
  await other.errs('no-path');
  await visit(other, 'call-no-path');
  await third.look('() => __line.replaced()');
  await third.sees(AFTER);
  await visit(third, 'after-replaced');
  await other.leave();

  for (const [guest, ending] of [[other, 'theyDropped'], [third, 'weDropped']]) {
    const url = stage.room();
    for (const seat of [one, guest]) {
      await seat.open(url);
      await seat.join();
      if (seat === one) await seat.sees('waiting');
    }
    await one.hearsAndSees();
    await guest.close();
    await one.sees('reconnecting');
    if (ending === 'theyDropped') {
      await visit(one, 'call-dropped');
      await one.look('() => __line.peerIsOut()');
    } else {
      await one.look('() => __line.cut()');
      await one.saysNow(await one.look(`() => document.documentElement.lang === 'en' ? 'Your connection was lost' : '您的网络断开了'`));
      await visit(one, 'call-lost');
      await one.look(`() => __line.refused('room-full')`);
    }
    await one.sees(AFTER);
    await visit(one, `after-${ending}`);
  }
  await one.close();
}
