// Chat: the messages of both sides in this call, over whichever data channel is current.
//
//   {"from": PAGE, "n": 7, "text": "…"}   the seventh message of that page
//   {"got": 7}                            acknowledges all messages up to the seventh
//
// Unacknowledged messages are sent again on the next channel and duplicates are dropped, so that nothing is lost with a
// connection; a reload forgets everything. Incoming messages are untrusted: what is malformed, too long or too fast is
// dropped.

export const MAX_LENGTH = 4000;
const KEPT = 400;
/** Unacknowledged messages; less than the burst the other side accepts. */
const MAX_WAITING = 20;
const BURST = 40;
const REFILL_MS = 250;
/** Every character escaped, plus the other fields. */
const MAX_FRAME = MAX_LENGTH * 6 + 200;

/**
 * @typedef {object} Message
 * @property {boolean} mine
 * @property {number} n counts the messages of its page
 * @property {string} text
 * @property {number} at when it was written or received, in ms since 1970
 * @property {'sent' | 'waiting' | 'lost'} state `lost`: the peer left before it arrived
 *
 * @typedef {Pick<RTCDataChannel, 'send' | 'readyState' | 'onopen' | 'onmessage'>} ChatChannel
 *
 * @typedef {object} ChatParts
 * @property {() => void} changed
 * @property {() => number} [now] wall clock, ms since 1970
 * @property {() => number} [elapsed] monotonic clock, ms
 * @property {() => string} [newId]
 */

export class Chat {
  /** Oldest first. @type {Message[]} */
  messages = [];
  /** Whether the client of the peer has one, as far as is known. */
  isAvailable = true;
  #unread = 0;
  /** @type {Required<Omit<ChatParts, 'newId'>>} */
  #parts;
  /** @type {string} */
  #page;
  #sent = 0;
  /** @type {ChatChannel | null} */
  #channel = null;
  #peer = '';
  #peerPage = '';
  /** Number of the peer's last message. */
  #received = 0;
  #limiter;

  /** @param {ChatParts} parts */
  constructor({ changed, now = Date.now, elapsed = () => performance.now(), newId = () => crypto.getRandomValues(new Uint32Array(2)).join('-') }) {
    this.#parts = { changed, now, elapsed };
    this.#page = newId();
    this.#limiter = { credit: BURST, at: elapsed() };
  }

  unread() {
    return this.#unread;
  }

  markRead() {
    this.#unread = 0;
  }

  /** @param {string} typed @returns {'too-long' | 'too-many' | null} null if accepted */
  send(typed) {
    const text = clean(typed);
    if (text.length > MAX_LENGTH) return 'too-long';
    if (this.#waiting().length >= MAX_WAITING) return 'too-many';
    if (!text) return null;
    this.#sent += 1;
    /** @type {Message} */
    const message = { mine: true, n: this.#sent, text, at: this.#parts.now(), state: 'waiting' };
    this.#add(message);
    this.#sendMessage(message);
    return null;
  }

  /** @param {ChatChannel | null} channel null: the client of the peer has no chat @param {string} peer at its other end */
  setChannel(channel, peer) {
    // Messages for one person are not sent to another.
    if (peer !== this.#peer) for (const message of this.#waiting()) message.state = 'lost';
    this.#peer = peer;
    this.#channel = channel;
    this.isAvailable = channel !== null;
    if (!channel) return;
    channel.onopen = () => { if (channel === this.#channel) for (const message of this.#waiting()) this.#sendMessage(message); };
    channel.onmessage = ({ data }) => { if (channel === this.#channel) this.#handle(data); };
  }

  clear() {
    this.messages.length = 0;
    this.#unread = 0;
    this.#channel = null;
    this.isAvailable = true;
  }

  #waiting() {
    return this.messages.filter(({ state }) => state === 'waiting');
  }

  /** @param {Message} message */
  #sendMessage({ n, text }) {
    this.#write({ from: this.#page, n, text });
  }

  /** @param {object} frame */
  #write(frame) {
    if (this.#channel?.readyState !== 'open') return;
    try {
      this.#channel.send(JSON.stringify(frame));
    } catch {
      // The channel has just closed: unacknowledged messages are sent again.
    }
  }

  /** @param {Message} message */
  #add(message) {
    this.messages.push(message);
    if (this.messages.length > KEPT) this.messages.shift();
    this.#parts.changed();
  }

  /** @param {unknown} data */
  #handle(data) {
    const frame = parse(data);
    if (!frame || !this.#isWithinRate()) return;
    const { from, n, got } = frame;
    if (typeof got === 'number') return this.#acknowledged(got);
    const text = typeof frame.text === 'string' ? clean(frame.text) : '';
    if (typeof from !== 'string' || from.length > 40 || !Number.isSafeInteger(n) || !text || text.length > MAX_LENGTH) return;
    if (from !== this.#peerPage) {
      this.#peerPage = from;
      this.#received = 0;
    }
    const isNew = Number(n) > this.#received;
    this.#received = Math.max(this.#received, Number(n));
    this.#write({ got: this.#received });
    if (!isNew) return;
    this.#unread += 1;
    this.#add({ mine: false, n: this.#received, text, at: this.#parts.now(), state: 'sent' });
  }

  /** @param {number} upTo */
  #acknowledged(upTo) {
    for (const message of this.#waiting()) if (message.n <= upTo) message.state = 'sent';
    this.#parts.changed();
  }

  #isWithinRate() {
    const time = this.#parts.elapsed();
    const { credit, at } = this.#limiter;
    this.#limiter = { credit: Math.min(BURST, credit + (time - at) / REFILL_MS), at: time };
    if (this.#limiter.credit < 1) return false;
    this.#limiter.credit -= 1;
    return true;
  }
}

/**
 * Splits a text at its links: http and https only, and without user information, which could imitate a host.
 * @param {string} text
 * @returns {{text: string, href?: string}[]}
 */
export function splitLinks(text) {
  const parts = [];
  let from = 0;
  for (const { 0: whole, index } of text.matchAll(/\bhttps?:\/\/[^\s<>"'“”‘’，。！？；：、（）【】《》「」]+/gi)) {
    const link = withoutPunctuation(whole);
    const href = hrefOf(link);
    if (href === null) continue;
    if (index > from) parts.push({ text: text.slice(from, index) });
    parts.push({ text: link, href });
    from = index + link.length;
  }
  if (from < text.length) parts.push({ text: text.slice(from) });
  return parts;
}

/** Without the end of the sentence and a closing bracket that was opened before the link. @param {string} link */
function withoutPunctuation(link) {
  const opened = link.split('(').length;
  let closed = link.split(')').length;
  let end = link.length;
  while (/[.,;:!?*_~\])}]/.test(link[end - 1])) {
    if (link[end - 1] === ')' && closed <= opened) break;
    if (link[end - 1] === ')') closed -= 1;
    end -= 1;
  }
  return link.slice(0, end);
}

/** @param {string} link */
function hrefOf(link) {
  try {
    const { href, protocol, username, password } = new URL(link);
    return /^https?:$/.test(protocol) && !username && !password ? href : null;
  } catch {
    return null;
  }
}

/**
 * Removes control characters and bidirectional marks, and surrounding white space.
 * @param {string} text
 */
function clean(text) {
  return text.replace(/\r\n?/g, '\n').replace(/[\p{Cc}\u202A-\u202E\u2066-\u2069]/gu, (each) => (/[\n\t]/.test(each) ? each : ''))
    .replace(/\n{3,}/g, '\n\n').trim();
}

/**
 * @param {unknown} data
 * @returns {Record<string, unknown> | null}
 */
function parse(data) {
  if (typeof data !== 'string' || data.length > MAX_FRAME) return null;
  try {
    const frame = JSON.parse(data);
    return typeof frame === 'object' ? frame : null;
  } catch {
    return null;
  }
}
