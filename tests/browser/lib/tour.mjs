// A tour through every state the page shows a person, from the door to after the call.
//
// Two people who can be told apart make the call; what is looked at in each state is the visitor's business.

import path from 'node:path';
import { MAYA, TOM, makeFilm } from './film.mjs';
import { AFTER } from './stage.mjs';
import { until } from './work.mjs';

/** The browser's language, by the page's name of it. */
export const SPEAKS = { en: ['--accept-lang=en-GB'], zh: ['--accept-lang=zh-CN'] };

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

/** Calls `visit(seat, name)` in each state, in the order a person meets them; `language` is `en` or `zh`. */
export async function tour(stage, language, visit) {
  const flags = SPEAKS[language];
  const url = stage.room();
  const [maya, tom] = await makeFilms(stage);

  const refused = await stage.person('chromium', { flags, devices: 'refused' });
  await refused.open(url);
  await refused.errs('camera-denied');
  await visit(refused, 'door-refused');
  await refused.close();

  const one = await stage.person('chromium', { flags, film: tom });
  await one.open(stage.box.origin);
  await one.sees('preview');
  await visit(one, 'door');
  await one.look(`() => { document.getElementById('room').value = 'two words'; document.getElementById('door').requestSubmit(); }`);
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
  await until('the code', () => one.look(`() => document.getElementById('qr').childElementCount > 0`));
  await visit(one, 'waiting');

  const other = await stage.person('chromium', { flags, film: maya });
  await other.open(url);
  await other.join();
  await Promise.all([one.hearsAndSees(), other.hearsAndSees()]);
  await until('the pictures', () => one.look(`() => !document.getElementById('trust').hidden`));
  await visit(one, 'call');
  await one.click('#path');
  await visit(one, 'call-numbers');
  await one.click('#btnNumbersClose');
  await writes(other, language === 'zh' ? '能看到我吗？' : 'Can you see me?');
  await until('the badge', () => one.look(`() => document.body.dataset.unread === '1'`));
  await visit(one, 'call-unread');
  await one.click('[data-act=chat]');
  await writes(one, language === 'zh' ? '看到了。文件在这里：https://example.org/a/long/way/to/the/report.pdf，请看一下。'
    : 'Yes! Here it is: https://example.org/a/long/way/to/the/report.pdf, have a look.');
  await writes(other, language === 'zh' ? '谢谢' : 'Thank you');
  await until('three messages', () => one.look(`() => document.querySelectorAll('#chatLog [data-state=sent]').length === 3`));
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
  await Promise.all([one, other].map((seat) => toldOfLoss(seat, true)));
  await until('both pictures to wait', () => one.look(`() => document.getElementById('status').classList.contains('told')
    && document.getElementById('remoteFrame').classList.contains('empty')`));
  await visit(one, 'call-weak');
  await one.click('#path');
  await visit(one, 'call-weak-numbers');
  await one.click('#btnNumbersClose');
  await Promise.all([one, other].map((seat) => toldOfLoss(seat, false)));
  await until('the picture again', () => one.look(`() => !document.getElementById('remoteFrame').classList.contains('empty')`));
  for (const key of ['m', 'v']) await other.press(key);
  await until('their switches', () => one.look(`() => !document.getElementById('theirMic').hidden`));
  await one.press('v');
  await visit(one, 'call-off');

  const third = await stage.person('chromium', { flags });
  await third.open(url);
  await third.join();
  await third.errs('room-full');
  await visit(third, 'door-full');
  await third.close();

  await other.close();
  await one.sees('reconnecting');
  await visit(one, 'call-dropped');
  await one.leave();
  await one.sees(AFTER);
  await visit(one, 'after');
  await one.close();
}
