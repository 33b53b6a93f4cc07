import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PollingSocket } from '../../../public/signaling/polling-socket.js';
import { isOwnHost } from '../../../public/signaling/redirect.js';
import { makeClock, settle } from '../harness/fakes.js';

/** Requests wait until the test answers or loses them. */
async function makeHarness({ opens = true, host, node } = {}) {
  const clock = makeClock();
  const requests = [];
  const socket = new PollingSocket({
    clock, host, isOwnHost: (node) => isOwnHost(node, 'call.example'),
    fetch: (path, { body, signal, keepalive, headers }) => new Promise((resolve, reject) => {
      const request = {
        path, type: headers['Content-Type'], body: JSON.parse(body), keepalive, aborted: false,
        answers: (status, value) => { resolve({ status, json: async () => value }); return settle(); },
        fails: () => { reject(new TypeError('network')); return settle(); },
      };
      signal.addEventListener('abort', () => {
        request.aborted = true;
        reject(new Error('aborted'));
      });
      requests.push(request);
    }),
  });
  const seen = [];
  socket.onopen = () => seen.push('open');
  socket.onmessage = ({ data }) => seen.push(JSON.parse(data));
  socket.onclose = ({ code, wasClean, reason }) => seen.push({ code, wasClean, reason });
  if (opens) await requests[0].answers(200, { session: 'S', node });
  const last = (key) => requests.filter(({ body }) => key in body).at(-1);
  return { clock, socket, requests, seen, last, sent: () => requests.filter(({ body }) => body.frames).map(({ body }) => [body.seq, body.frames]) };
}

test('it opens a session and waits for messages', async () => {
  const { socket, requests, seen } = await makeHarness();
  assert.deepEqual(requests.map(({ body }) => body), [{}, { session: 'S', after: 0 }]);
  assert.deepEqual(seen, ['open']);
  assert.equal(socket.readyState, 1);
});

test('a session stays with the server that names itself in the first answer', async () => {
  const { socket, requests } = await makeHarness({ node: 'b1.call.example:8443' });
  socket.send('{"n":1}');
  const json = 'application/json';
  assert.deepEqual(requests.map(({ path, type }) => [path, type]), [
    ['/poll', json],
    ['https://b1.call.example:8443/poll', 'text/plain'],
    ['https://b1.call.example:8443/poll', 'text/plain'],
  ], 'no preflight request');
  const single = await makeHarness();
  assert.deepEqual(single.requests.map(({ path, type }) => [path, type]), [['/poll', json], ['/poll', json]]);
});

test('a foreign name in the first answer is ignored', async () => {
  for (const node of ['evil.example', 'call.example.evil.example', 'b1.call.example/x', 7, null]) {
    const { requests } = await makeHarness({ node });
    assert.deepEqual(requests.map(({ path }) => path), ['/poll', '/poll']);
  }
});

test('a session may begin at the server that a redirect named', async () => {
  const { requests } = await makeHarness({ host: 'b2.call.example' });
  assert.deepEqual(requests.map(({ path }) => path), ['https://b2.call.example/poll', 'https://b2.call.example/poll']);
});

test('a server that refuses a session closes the socket with a code', async () => {
  for (const [status, value, code] of [[429, {}, 1013], [503, {}, 1006], [404, {}, 1006], [200, { other: 1 }, 1006]]) {
    const { requests, seen, socket } = await makeHarness({ opens: false });
    await requests[0].answers(status, value);
    assert.deepEqual(seen, [{ code, wasClean: false, reason: '' }]);
    assert.equal(socket.readyState, 3);
  }
});

test('messages are sent in order, one request at a time', async () => {
  const { socket, sent, last } = await makeHarness();
  for (const n of [1, 2, 3]) socket.send(`{"n":${n}}`);
  assert.deepEqual(sent(), [[1, [{ n: 1 }]]]);
  await last('frames').answers(204);
  assert.deepEqual(sent().at(-1), [2, [{ n: 2 }, { n: 3 }]]);
  await last('frames').answers(204);
  socket.send('{"n":4}');
  assert.deepEqual(sent().at(-1), [4, [{ n: 4 }]]);
});

test('a request without a reply is repeated with its number', async () => {
  const { socket, sent, last, clock } = await makeHarness();
  socket.send('{"n":1}');
  await last('frames').fails();
  socket.send('{"n":2}');
  await clock.advance(250);
  await last('frames').answers(502);
  await clock.advance(500);
  await last('frames').answers(408);
  await clock.advance(1000);
  assert.deepEqual(sent(), Array(4).fill([1, [{ n: 1 }]]));
  await last('frames').answers(204);
  assert.deepEqual(sent().at(-1), [2, [{ n: 2 }]]);
});

test('repeating ends with code 1006 after about 12 s', async () => {
  const { socket, seen, last, clock, requests } = await makeHarness();
  socket.send('{}');
  const startedAt = clock.now();
  for (let n = 0; n < 9; n += 1) {
    await last('frames').fails();
    await clock.advance(2000);
  }
  assert.deepEqual(seen.at(-1), { code: 1006, wasClean: false, reason: '' });
  assert.ok(clock.now() - startedAt <= 18_000);
  const { length } = requests;
  await clock.advance(60_000);
  assert.equal(requests.length, length, 'nothing is requested after the end');
});

test('large messages get requests of their own, and many are split', async () => {
  const { socket, sent, last } = await makeHarness();
  socket.send('1');
  for (let n = 0; n < 100; n += 1) socket.send('2');
  const large = JSON.stringify('x'.repeat(40_000));
  for (let n = 0; n < 2; n += 1) socket.send(large);
  for (let n = 0; n < 5; n += 1) await last('frames').answers(204);
  assert.deepEqual(sent().map(([seq, frames]) => [seq, frames.length]), [[1, 1], [2, 64], [66, 36], [102, 1], [103, 1]]);
});

test('messages arrive once and in order, also where a reply was lost', async () => {
  const { seen, last, clock } = await makeHarness();
  await last('after').answers(200, { seq: 1, frames: [{ n: 1 }, { n: 2 }] });
  assert.equal(last('after').body.after, 2);
  await last('after').fails();
  await clock.advance(250);
  assert.equal(last('after').body.after, 2);
  await last('after').answers(200, { seq: 2, frames: [{ n: 2 }, { n: 3 }] });
  assert.deepEqual(seen, ['open', { n: 1 }, { n: 2 }, { n: 3 }]);
  await last('after').answers(200, { seq: 4, frames: [] });
  assert.equal(last('after').body.after, 3);
});

test('a reply with a gap, or of something else, does not reach the client', async () => {
  for (const value of [{ seq: 2, frames: [{}] }, { frames: [{}] }, { seq: 1, frames: {} }]) {
    const { seen, last } = await makeHarness();
    await last('after').answers(200, value);
    assert.deepEqual(seen, ['open', { code: 1006, wasClean: false, reason: '' }]);
  }
});

test('the end of the session follows its last messages', async () => {
  const { seen, last, requests } = await makeHarness();
  await last('after').answers(200, { seq: 1, frames: [{ n: 1 }], close: { code: 4001, reason: 'replaced' } });
  assert.deepEqual(seen.slice(1), [{ n: 1 }, { code: 4001, wasClean: true, reason: 'replaced' }]);
  assert.equal(requests.length, 2);
});

test('a session that the server does not know, or a message that is too big, ends the socket', async () => {
  for (const [status, code] of [[404, 1006], [409, 1006], [413, 1009]]) {
    const { socket, seen, last } = await makeHarness();
    socket.send('{}');
    await last('frames').answers(status);
    assert.equal(seen.at(-1).code, code);
    assert.ok(last('after').aborted);
  }
});

test('a request that hangs is aborted and repeated', async () => {
  const { last, requests, clock } = await makeHarness();
  await clock.advance(30_000 + 250);
  assert.ok(requests[1].aborted);
  assert.equal(last('after').body.after, 0);
  assert.equal(requests.length, 3);
});

test('closing sends what is left first, and tells whether the server knows', async () => {
  for (const [status, wasClean] of [[204, true], [404, true], [500, false]]) {
    const { socket, seen, last, requests } = await makeHarness();
    socket.send('{"type":"report"}');
    socket.send('{"type":"leave"}');
    socket.close();
    assert.equal(socket.readyState, 2);
    assert.ok(requests[1].aborted, 'no longer waits for messages');
    await last('frames').answers(204);
    await last('frames').answers(204);
    assert.deepEqual(requests.slice(-2).map(({ body, keepalive }) => [body, keepalive]), [
      [{ session: 'S', seq: 2, frames: [{ type: 'leave' }] }, true], [{ session: 'S', close: 1000 }, true],
    ]);
    await last('close').answers(status);
    assert.deepEqual(seen.slice(1), [{ code: wasClean ? 1000 : 1006, wasClean, reason: '' }]);
  }
});

test('a socket closed before it has opened ends its session', async () => {
  const { socket, requests, seen } = await makeHarness({ opens: false });
  socket.close();
  await requests[0].answers(200, { session: 'S' });
  assert.deepEqual(requests[1].body, { session: 'S', close: 1000 });
  assert.deepEqual(seen.map((each) => each.code), [1006]);
});

test('a page that is closed tells the server by a request that outlives it', async () => {
  const { socket, last, seen, clock } = await makeHarness();
  socket.pageClosing();
  assert.deepEqual([last('close').body, last('close').keepalive], [{ session: 'S', close: 1001 }, true]);
  // The page is shown again.
  await last('after').fails();
  await clock.advance(250);
  await last('after').answers(404);
  assert.equal(seen.at(-1).code, 1006);
});
