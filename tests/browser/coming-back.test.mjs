// Coming back to a room: one that took a host key, after a restart of the box or when the room is gone or full; from a
// tab that was closed, by "Call again" after a farewell nobody heard; and in a browser that keeps nothing.

import assert from 'node:assert/strict';
import { after, afterEach } from 'node:test';
import { AFTER, setStage } from './lib/stage.mjs';
import { makeWire } from './lib/wire.mjs';
import { until } from './lib/work.mjs';

const KEY = 'open sesame';
const wire = await makeWire();
after(() => wire.end());
afterEach(() => wire.shut(false));
const ORIGIN = `https://localhost:${wire.port}`;
const stage = await setStage('coming-back', { box: { flags: ['--allowed-origin', ORIGIN, '--room-grace', '4', '--host-key', KEY] } });
wire.lead(Number(new URL(stage.box.origin).port));
const wired = (url) => url.replace(stage.box.origin, ORIGIN);

/** Gives the key at the door that asks for it. */
async function opens(host, url) {
  await host.open(url);
  await host.join();
  await host.errs('key-required');
  await until('the field', () => host.look(`() => document.activeElement?.id === 'key'`));
  await host.type(KEY);
  await host.press('Enter');
  await host.sees('waiting');
}

/** A host, who gave the key, and a guest, in a call. */
async function couple(kinds, url, [hostUrl, guestUrl] = [url, url], made = {}) {
  const two = await Promise.all(kinds.map((kind) => stage.person(kind, made)));
  await opens(two[0], hostUrl);
  await two[1].open(guestUrl);
  await two[1].join();
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
  return two;
}

/** Runs in a page of the box: sits down in this room by a socket of its own, as somebody who says nothing else. */
const sitsDown = (url, key) => `() => new Promise((done, failed) => {
  const socket = new WebSocket('wss://' + location.host + '/ws');
  socket.onmessage = ({ data }) => JSON.parse(data).type === 'resp-join' ? done(true) : failed(new Error(data));
  socket.onopen = () => socket.send(JSON.stringify({ type: 'join', room: '${url.split('/').at(-1)}'${key ? `, key: '${key}'` : ''} }));
  (globalThis.__sockets ??= []).push(socket);
})`;

stage.scene('after a restart of the box a guest is back in a room that took a key, before the host is, and the call goes on', async () => {
  const url = stage.room();
  const [host, guest] = await couple(['chromium', 'firefox'], url, [wired(url), url]);
  wire.shut(true);
  const began = Date.now();
  await stage.box.crash();
  await stage.box.start();
  await guest.hasSaid('go on talking', 'Connected', began);
  assert.equal(await host.state(), 'connected');
  wire.shut(false);
  await host.saysNow('Connected');
  await Promise.all([host, guest].map((seat) => seat.hearsAndSees()));
  await guest.leave();
  await host.sees(AFTER);
});

stage.scene('after a restart of the box a relayed call in a room that took a key comes back by itself', async () => {
  const two = await couple(['chromium', 'firefox'], stage.room('?relay=1'));
  await stage.box.crash();
  await stage.box.start();
  await Promise.all(two.map((seat) => seat.sees('connected')));
  await Promise.all(two.map((seat) => seat.hearsAndSees()));
});

stage.scene('a call whose room others have taken goes on as it is, which is said, and ends where its link does', async () => {
  const url = stage.room();
  const two = await couple(['chromium', 'chromium'], url, [wired(url), wired(url)]);
  const others = await stage.person('chromium');
  await others.open(`${stage.box.origin}/test`);
  wire.shut(true);
  wire.cut();
  await until('the seats to be given away', () => others.look(sitsDown(url, KEY)).catch(() => false));
  await until('both', () => others.look(sitsDown(url)).catch(() => false));
  wire.shut(false);
  await Promise.all(two.map((seat) => seat.saysNow('has lost its room')));
  for (const seat of two) {
    assert.equal(await seat.look(`() => document.getElementById('error').hidden`), true, 'nothing to enter, nothing to press');
    await seat.hearsAndSees();
  }
  // Not a farewell: whoever goes like this says nothing.
  await two[1].look('() => globalThis.__seen.connections.at(-1).close()');
  await until('the end', () => two[0].look(`() => document.getElementById('afterWhy').textContent.includes('could not be brought back')`), 60_000);
  await two[0].sees('idle');
});

for (const kind of ['chromium', 'firefox']) {
  stage.scene(`${kind}: who closed the tab, or went elsewhere in it, and opens the link again is not shut out by their own seat`, async () => {
    const url = stage.room();
    const [host, guest] = await couple(['chromium', kind], url);
    for (const goes of [() => guest.anotherTab(), () => guest.open('about:blank')]) {
      await goes();
      await guest.open(url);
      const inside = await until('the first look', () => guest.look(`() => document.getElementById('inside').dataset.seats`));
      assert.equal(inside, '1', 'the host, and not oneself');
      await guest.join();
      await Promise.all([host, guest].map((seat) => seat.hearsAndSees()));
    }
  });
}

stage.scene('who left while the network was mute calls again with the seat that the box still keeps', async () => {
  const url = stage.room();
  const [one, other] = [await stage.person('chromium'), await stage.person('chromium')];
  await other.open(`${stage.box.origin}/test`);
  await other.look(sitsDown(url, KEY));
  await one.open(wired(url));
  await one.join();
  await one.sees('connecting');
  wire.mute();
  await one.leave();
  await one.sees('idle');
  await one.click('#btnAgain');
  await one.sees('connecting');
});

stage.scene('who met a full room sees when a seat is free, and goes in without a reload', async () => {
  const url = stage.room();
  const [third, others] = [await stage.person('chromium'), await stage.person('chromium')];
  await others.open(`${stage.box.origin}/test`);
  await others.look(sitsDown(url, KEY));
  await others.look(sitsDown(url));
  await third.open(url);
  await third.join();
  await third.errs('room-full');
  await others.look(`() => globalThis.__sockets[0].send('{"type":"leave"}')`);
  await third.findsInside(1);
  assert.equal(await third.look(`() => document.getElementById('error').hidden`), true);
  await third.join();
  await third.sees('connecting');
});

stage.scene('another try where no way was found is one for the call, and asks nobody for a camera they do not have', async () => {
  const url = stage.room();
  const [one, mute] = [await stage.person('chromium', { devices: 'none' }), await stage.person('chromium')];
  await mute.open(`${stage.box.origin}/test`);
  await mute.look(sitsDown(url, KEY));
  await one.open(url);
  await one.join();
  await one.sees('failed', 60_000);
  await one.errs('no-path');
  await one.look(`() => {
    globalThis.__asked = 0;
    navigator.mediaDevices.getUserMedia = async () => { globalThis.__asked += 1; throw new DOMException('none', 'NotFoundError'); };
  }`);
  await one.click('#btnRetry');
  await one.sees('connecting');
  assert.equal(await one.look('() => globalThis.__asked'), 0);
});

for (const kind of ['chromium', 'firefox']) {
  stage.scene(`${kind}: a browser that refuses to keep anything talks all the same, and is back after a cut`, async () => {
    const url = stage.room();
    const before = `() => {
      for (const name of ['sessionStorage', 'localStorage']) {
        Object.defineProperty(globalThis, name, { get() { throw new DOMException('The operation is insecure.', 'SecurityError'); } });
      }
    }`;
    const two = await couple([kind, 'chromium'], url, [wired(url), url], { before });
    const began = Date.now();
    wire.cut();
    await two[0].hasSaid('go on talking', 'Connected', began);
    await two[0].click('[data-act=mic]');
    await Promise.all(two.map((seat) => seat.sees('connected')));
    await two[0].leave();
    for (const seat of two) await seat.sees(AFTER);
  });
}

stage.scene('the screen stays lit during the call alone: not where it has become waiting, nor after it', async () => {
  const lit = `() => [...globalThis.__locks].filter((one) => !one.released).length`;
  const before = `() => {
    globalThis.__locks = new Set();
    const request = async () => {
      const lock = { released: false, async release() { this.released = true; } };
      globalThis.__locks.add(lock);
      return lock;
    };
    Object.defineProperty(navigator, 'wakeLock', { value: { request } });
  }`;
  const [one, other] = await couple(['chromium', 'chromium'], stage.room(), undefined, { before });
  assert.equal(await one.look(lit), 1);
  await stage.box.crash();
  await other.close();
  await stage.box.start();
  await one.sees('waiting', 60_000);
  assert.equal(await one.look(lit), 0);
  await one.leave();
  await one.sees('preview');
});
