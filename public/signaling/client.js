// Signaling: one seat's conversation with the server over one WebSocket at a time.
//
// The only file that knows WebSocket. A lost socket is replaced quietly and the seat taken back with the
// resume token; what we wanted to say meanwhile waits. It never reads an offer, an answer or a candidate.
// At the door it looks who is inside, ourselves not counted, and the socket that looked is the one that joins.

const PING_EVERY_MS = 5000;
/** Shorter than the time between pings, or each ping would put the verdict off. */
const PONG_WITHIN_MS = 2500;
/** Where there is a reason to doubt the socket: packets have stopped, or the machine woke up. */
const PONG_IN_DOUBT_MS = 1000;
const OPEN_WITHIN_MS = 10_000;
/** On the way back into a call; a first try may have been made while the old network was just going. */
const BACK_WITHIN_MS = 3000;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_LONGEST_MS = 15_000;
/** On the way back into a call, while nobody answers: for a minute, or two or three where each try hangs. */
const BACKOFF_BACK_MS = 4000;
const BACK_TRIES = 16;
const OUTBOX_LONGEST = 256;
/** The first name is looked up at once, another when nobody has typed for a while: looks are dear. */
const LOOK_FIRST_MS = 300;
const LOOK_AFTER_MS = 1000;
const LOOK_EVERY_MS = 5000;
/** After a look was refused: many behind our address have looked at many rooms. */
const LOOK_REFUSED_MS = 60_000;
const REPLACED = 4001;
/** Close codes of a server that has had enough of us, and of one that has too much to do. */
const FULL = new Set([1008, 1013]);
/** On the way back into a room that is gone and takes a key, the host may bring it: tries, which take about a minute. */
const HOST_TRIES = 8;
const TOKEN_TRIES = 3;
/** Errors after which asking again with the same words is pointless. */
const FINAL = new Set(['room-full', 'bad-room', 'key-required', 'rate-limited']);

/**
 * @typedef {{type: string, [field: string]: any}} Frame
 * @typedef {Pick<WebSocket, 'send' | 'close' | 'readyState'> & {
 *   onopen: any, onmessage: any, onclose: any, onerror: any}} Socket
 *
 * What comes out, besides the server's own frames: `socket` with `open: bool`, `refused` with the `code` of
 * a final error, `replaced` when another tab took the seat.
 * @typedef {(event: Frame) => void} Listener
 *
 * @typedef {object} Signaling
 * @property {(room: string, options?: {key?: string}) => void} join
 * @property {(room: string | null) => void} look from the door, until a join or a look at nothing; answered by `room`
 *   frames, the first with `seats: null` while nothing is known of the new name
 * @property {(frame: Frame) => void} send waits for the socket where it is away
 * @property {() => void} askIceServers
 * @property {() => void} leave gives the seat up
 * @property {() => void} wake the network or the machine came back: look at once
 * @property {() => void} closing the page is being closed or left, which the browser says by closing an open socket
 */

/**
 * @param {object} parts
 * @param {string} parts.url
 * @param {Listener} parts.tell
 * @param {import('./resume-token.js').Seat} parts.seat
 * @param {import('../lib/clock.js').Clock} parts.clock
 * @param {() => number} [parts.random]
 * @param {(url: string) => Socket} [parts.open]
 * @param {(path: string, body: string) => void} [parts.beacon]
 * @returns {Signaling}
 */
export function makeSignaling({ url, tell, seat, clock, random = Math.random, open = (to) => new WebSocket(to),
  beacon = (path, body) => navigator.sendBeacon?.(path, body) }) {
  /** @type {{room: string, key?: string, id?: string, resume?: string} | null} the seat we want or have */
  let want = null;
  let keyless = 0;
  /** Refusals of joins with a token, one after the other. */
  let refusals = 0;
  /** @type {string | null} the room looked into from the door */
  let looked = null;
  /** @type {Socket | null} */
  let socket = null;
  let joined = false;
  /** Looks may have used up what this socket may ask for: another has not. */
  let hasLooked = false;
  let failures = 0;
  /** @type {Frame[]} */
  let outbox = [];
  /** @type {Record<string, any>} */
  const timers = {};

  /** @param {string} name @param {() => void} fn @param {number} ms */
  function later(name, fn, ms) {
    clock.cancel(timers[name]);
    timers[name] = clock.after(fn, ms);
  }

  function connect() {
    clock.cancel(timers.again);
    hasLooked = false;
    const mine = (socket = open(url));
    /** @param {(event: any) => void} fn */
    const ifCurrent = (fn) => (/** @type {any} */ event) => { if (mine === socket) fn(event); };
    mine.onopen = ifCurrent(() => want ? sayJoin() : ask());
    mine.onmessage = ifCurrent((event) => hear(event.data));
    mine.onclose = ifCurrent((event) => lose(event.code));
    mine.onerror = () => {};
    // A slow network gets more with each try.
    later('silence', () => drop(), want?.id ? Math.min(OPEN_WITHIN_MS, BACK_WITHIN_MS * 2 ** (failures - 1)) : OPEN_WITHIN_MS);
  }

  async function sayJoin() {
    const mine = socket;
    if (!want) return;
    const kept = await seat.take(want.room);
    if (!want || mine !== socket) return;
    const resume = (want.resume = kept?.token);
    const { room, key = kept?.key } = want;
    want.key = key;
    say({ type: 'join', room, ...(resume && { resume }), ...(key && { key }) });
    schedulePing();
  }

  /** Looks again and again: who is inside may change while somebody stands at the door. */
  async function ask() {
    if (want || !looked) return;
    if (!socket) return connect();
    const [mine, room] = [socket, looked];
    const resume = await seat.peek(room);
    if (want || mine !== socket || room !== looked || mine.readyState !== 1) return;
    hasLooked = true;
    say({ type: 'look', room, ...(resume && { resume }) });
    later('silence', () => drop(), PONG_WITHIN_MS);
    later('look', ask, LOOK_EVERY_MS);
  }

  /** @param {Frame} frame */
  function say(frame) {
    if (socket?.readyState === 1) socket.send(JSON.stringify(frame));
  }

  function schedulePing() {
    later('ping', () => ping(), PING_EVERY_MS);
  }

  function ping(patience = PONG_WITHIN_MS) {
    say({ type: 'ping' });
    later('silence', fallSilent, patience);
    schedulePing();
  }

  /** @param {unknown} data */
  function hear(data) {
    clock.cancel(timers.silence);
    const frame = parse(data);
    if (!frame || frame.type === 'pong') return;
    if (frame.type === 'ping') return say({ type: 'pong' });
    if (!want) {
      if (frame.type === 'error' && frame.code === 'rate-limited') later('look', ask, LOOK_REFUSED_MS);
      return void (frame.type === 'room' && frame.room === looked && tell(frame));
    }
    if (frame.type === 'resp-join') return sit(frame);
    if (frame.type === 'error') return hearError(frame);
    tell(frame);
  }

  /** @param {Frame} frame */
  function sit(frame) {
    if (!want || typeof frame.id !== 'string') return;
    // Another id is another seat: what waited was addressed as the old one.
    if (want.id !== frame.id) outbox = [];
    want.id = frame.id;
    joined = true;
    failures = keyless = refusals = 0;
    want.resume = frame.resume;
    if (typeof frame.resume === 'string') seat.keep(want.room, frame.resume, want.key);
    tell({ type: 'socket', open: true });
    tell(frame);
    const waiting = outbox;
    outbox = [];
    waiting.forEach(say);
  }

  /** @param {Frame} frame */
  function hearError(frame) {
    const code = String(frame.code);
    if (code === 'bad-resume' && want) {
      seat.forget(want.room);
      tell(frame);
      return void sayJoin();
    }
    // The token may be what is refused, of a box that has forgotten its key. A genuine one is never counted.
    if (code === 'rate-limited' && !joined && want?.resume && (refusals += 1) >= (want.id || hasLooked ? TOKEN_TRIES : 1)) {
      refusals = 0;
      seat.forget(want.room);
      return void sayJoin();
    }
    const comingBack = code === 'shutting-down' || (code === 'rate-limited' && (want?.id || hasLooked))
      || (code === 'key-required' && want?.id && (keyless += 1) < HOST_TRIES);
    if (!joined && comingBack) {
      tell(frame);
      return drop(true);
    }
    if (!joined && FINAL.has(code)) {
      if (want) seat.leave(want.room);
      return stop({ type: 'refused', code });
    }
    tell(frame);
  }

  /** @param {number} code @param {boolean} [turnedAway] the server was there, and wants nobody just now */
  function lose(code, turnedAway = FULL.has(code)) {
    release();
    if (!want) return void (looked && later('look', ask, BACKOFF_LONGEST_MS));
    if (code === REPLACED) {
      seat.forget(want.room);
      return stop({ type: 'replaced' });
    }
    tell({ type: 'socket', open: false });
    const longest = want.id && !turnedAway && failures < BACK_TRIES ? BACKOFF_BACK_MS : BACKOFF_LONGEST_MS;
    const ceiling = Math.min(longest, BACKOFF_FIRST_MS * 2 ** failures++);
    later('again', connect, ceiling * (0.5 + random() / 2));
  }

  /** Nothing was heard for too long: the socket may look open for minutes yet. */
  function fallSilent() {
    const seated = joined;
    drop();
    // The network was mute, the server did not turn us away: no reason to wait.
    if (seated) connect();
  }

  function drop(turnedAway = false) {
    const dead = socket;
    lose(1006, turnedAway);
    dead?.close();
  }

  function release() {
    socket = null;
    joined = false;
    clock.cancel(timers.silence);
    clock.cancel(timers.ping);
  }

  /** @param {Frame} [last] */
  function stop(last) {
    const old = socket;
    want = looked = null;
    outbox = [];
    release();
    clock.cancel(timers.again);
    clock.cancel(timers.look);
    old?.close(1000);
    if (last) tell(last);
  }

  return {
    join(room, { key } = {}) {
      const atTheDoor = !want && socket?.readyState === 1;
      if (!atTheDoor) stop();
      clock.cancel(timers.look);
      looked = null;
      failures = keyless = refusals = 0;
      want = { room, key };
      if (!atTheDoor) return connect();
      later('silence', () => drop(), BACK_WITHIN_MS);
      sayJoin();
    },
    look(room) {
      if (want || looked === room) return;
      if (room === null) return stop();
      later('look', ask, looked === null ? LOOK_FIRST_MS : LOOK_AFTER_MS);
      looked = room;
      tell({ type: 'room', room, seats: null });
    },
    send(frame) {
      if (joined) return say(frame);
      if (want && outbox.length < OUTBOX_LONGEST) outbox.push(frame);
    },
    askIceServers: () => say({ type: 'ice-servers' }),
    leave() {
      const [room, said] = [want?.room, joined ? socket : null];
      if (room) seat.leave(room);
      say({ type: 'leave' });
      stop();
      // Closed in good order, the server has heard it. Else the seat may be kept for us: who calls again takes it back.
      if (room && said) said.onclose = (/** @type {CloseEvent} */ { wasClean }) => { if (wasClean && want?.room !== room) seat.forget(room); };
    },
    wake() {
      if (!want) return;
      if (!socket) return connect();
      if (joined) ping(PONG_IN_DOUBT_MS);
    },
    closing() {
      if (want?.resume && !joined) beacon('/leave', want.resume);
    },
  };
}

/**
 * @param {unknown} data
 * @returns {Frame | null} null for anything that is not one of our frames
 */
function parse(data) {
  if (typeof data !== 'string') return null;
  try {
    const frame = JSON.parse(data);
    return frame && typeof frame.type === 'string' ? frame : null;
  } catch {
    return null;
  }
}
