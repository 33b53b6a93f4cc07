// Chat: what the two have written to each other in this call, over whichever data channel there is now.
//
//   {"from": PAGE, "n": 7, "text": "…"}   the seventh message of that page
//   {"got": 7}                            everything up to the seventh is here
//
// What has no answer yet is said again on the next channel, and what came twice is shown once; so nothing is
// lost with a connection, though a reload forgets it all. What comes is a stranger's word: what is
// malformed, too long or too fast is dropped. Nothing here looks at the page.

export const LONGEST = 4000;
const KEPT = 400;
/** So many may wait for an answer; fewer than come at once from the other side without being dropped. */
const MOST_WAITING = 20;
const BURST = 40;
const REFILL_MS = 250;
/** Every character escaped, and something around it. */
const LONGEST_FRAME = LONGEST * 6 + 200;

/**
 * @typedef {object} Message
 * @property {boolean} mine
 * @property {number} n counts the messages of its page
 * @property {string} text
 * @property {number} at when it was written or came here, in ms since 1970
 * @property {'sent' | 'waiting' | 'lost'} state `lost`: the other went before it was there
 *
 * @typedef {Pick<RTCDataChannel, 'send' | 'readyState' | 'onopen' | 'onmessage'>} Channel
 *
 * @typedef {object} Chat
 * @property {Message[]} messages the oldest first
 * @property {() => number} unread
 * @property {(text: string) => 'too-long' | 'too-many' | null} say null where it is taken
 * @property {(channel: Channel, peer: string) => void} use the channel to this person, from now on
 * @property {() => void} seen
 * @property {() => void} forget
 */

/**
 * @param {object} parts
 * @param {() => void} parts.changed
 * @param {() => number} [parts.now] ms since 1970, for people to read
 * @param {() => number} [parts.elapsed] ms by a clock that nobody sets
 * @param {() => string} [parts.newId]
 * @returns {Chat}
 */
export function makeChat({ changed, now = Date.now, elapsed = () => performance.now(), newId = () => crypto.getRandomValues(new Uint32Array(2)).join('-') }) {
  const page = newId();
  /** @type {Message[]} */
  const messages = [];
  let counted = 0;
  let unread = 0;
  /** @type {Channel | null} */
  let channel = null;
  let peer = '';
  let theirPage = '';
  let theirLast = 0;
  let credit = BURST;
  let creditAt = elapsed();

  const waiting = () => messages.filter(({ state }) => state === 'waiting');

  /** @param {object} frame */
  function send(frame) {
    if (channel?.readyState !== 'open') return;
    try {
      channel.send(JSON.stringify(frame));
    } catch {
      // Closed between two lines: what is not answered is said again.
    }
  }

  /** @param {Message} message */
  const put = ({ n, text }) => send({ from: page, n, text });

  /** @param {Message} message */
  function keep(message) {
    messages.push(message);
    if (messages.length > KEPT) messages.shift();
    changed();
  }

  /** @param {unknown} data */
  function hear(data) {
    const said = readFrame(data);
    if (!said || !affords()) return;
    const { from, n, got } = said;
    if (typeof got === 'number') return answered(got);
    const text = typeof said.text === 'string' ? readable(said.text) : '';
    if (typeof from !== 'string' || from.length > 40 || !Number.isSafeInteger(n) || !text || text.length > LONGEST) return;
    if (from !== theirPage) [theirPage, theirLast] = [from, 0];
    const fresh = Number(n) > theirLast;
    theirLast = Math.max(theirLast, Number(n));
    send({ got: theirLast });
    if (!fresh) return;
    unread += 1;
    keep({ mine: false, n: theirLast, text, at: now(), state: 'sent' });
  }

  /** @param {number} upTo */
  function answered(upTo) {
    for (const message of waiting()) if (message.n <= upTo) message.state = 'sent';
    changed();
  }

  function affords() {
    const time = elapsed();
    credit = Math.min(BURST, credit + (time - creditAt) / REFILL_MS);
    creditAt = time;
    if (credit < 1) return false;
    credit -= 1;
    return true;
  }

  function giveUp() {
    for (const message of waiting()) message.state = 'lost';
  }

  return {
    messages,
    unread: () => unread,
    say(typed) {
      const text = readable(typed);
      if (text.length > LONGEST) return 'too-long';
      if (waiting().length >= MOST_WAITING) return 'too-many';
      if (!text) return null;
      counted += 1;
      /** @type {Message} */
      const message = { mine: true, n: counted, text, at: now(), state: 'waiting' };
      keep(message);
      put(message);
      return null;
    },
    use(next, who) {
      // What was meant for one person is not said to another.
      if (who !== peer) giveUp();
      peer = who;
      channel = next;
      next.onopen = () => { if (next === channel) waiting().forEach(put); };
      next.onmessage = ({ data }) => { if (next === channel) hear(data); };
    },
    seen() {
      unread = 0;
    },
    forget() {
      messages.length = 0;
      unread = 0;
      channel = null;
    },
  };
}

/**
 * A text in pieces, those that are links with where they lead: only http and https, and no name before the host
 * that would pass for one.
 * @param {string} text
 * @returns {{text: string, href?: string}[]}
 */
export function pieces(text) {
  const found = [];
  let from = 0;
  for (const { 0: whole, index } of text.matchAll(/\bhttps?:\/\/[^\s<>"'“”‘’，。！？；：、（）【】《》「」]+/gi)) {
    const link = unpunctuated(whole);
    const href = addressOf(link);
    if (href === null) continue;
    if (index > from) found.push({ text: text.slice(from, index) });
    found.push({ text: link, href });
    from = index + link.length;
  }
  if (from < text.length) found.push({ text: text.slice(from) });
  return found;
}

/** A sentence's end is not the link's, nor is a bracket that was opened before it. @param {string} link */
function unpunctuated(link) {
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
function addressOf(link) {
  try {
    const { href, protocol, username, password } = new URL(link);
    return /^https?:$/.test(protocol) && !username && !password ? href : null;
  } catch {
    return null;
  }
}

/**
 * Without what a reader cannot see: controls, and marks that turn the order of letters around.
 * @param {string} text
 */
function readable(text) {
  return text.replace(/\r\n?/g, '\n').replace(/[\p{Cc}\u202A-\u202E\u2066-\u2069]/gu, (each) => (/[\n\t]/.test(each) ? each : ''))
    .replace(/\n{3,}/g, '\n\n').trim();
}

/**
 * @param {unknown} data
 * @returns {Record<string, unknown> | null}
 */
function readFrame(data) {
  if (typeof data !== 'string' || data.length > LONGEST_FRAME) return null;
  try {
    const said = JSON.parse(data);
    return typeof said === 'object' ? said : null;
  } catch {
    return null;
  }
}
